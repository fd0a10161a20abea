//! Frames as no kernel would send them.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};

use super::namespace::Namespace;

/// A host's network card, for frames as they are given.
#[derive(Debug)]
pub struct Card {
    socket: OwnedFd,
    address: LinkAddr,
}

impl Card {
    /// An interface of this host.
    pub fn of(host: &Namespace, interface: &str) -> Self {
        host.inside(|| {
            let kind = SockType::Raw;
            let socket = socket(AddressFamily::Packet, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
            let mut interfaces = getifaddrs()
                .unwrap()
                .filter(|it| it.interface_name == interface);
            let address = interfaces.find_map(|it| it.address?.as_link_addr().copied());
            Self {
                socket,
                address: address.unwrap(),
            }
        })
    }

    pub fn mac(&self) -> [u8; 6] {
        self.address.addr().unwrap()
    }

    /// Sends a frame: Ethernet header and all, at least 14 bytes.
    pub fn send(&self, frame: &[u8]) {
        let socket = self.socket.as_fd().as_raw_fd();
        let sent = sendto(socket, frame, &self.address, MsgFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }
}
