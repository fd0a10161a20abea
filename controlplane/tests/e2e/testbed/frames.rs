//! Frames as no kernel would send them.

use std::{
    io::Read as _,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, sendto, socket,
    },
};
use socket2::Socket;

use super::{namespace::Namespace, wait::SOON};

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

/// Sees every frame that passes a host's interfaces.
#[derive(Debug)]
pub struct Sniffer(Socket);

impl Sniffer {
    pub fn new(host: &Namespace) -> Self {
        let every = || {
            let (family, kind) = (AddressFamily::Packet, SockType::Raw);
            socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap()
        };
        let socket = Socket::from(host.inside(every));
        let look = Duration::from_millis(100);
        socket.set_read_timeout(Some(look)).unwrap();
        Self(socket)
    }

    /// Waits for a frame.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let (mut buffer, begun) = ([0; 2048], Instant::now());
        while begun.elapsed() < SOON {
            // Err: nothing has come for a while.
            let bytes = (&self.0).read(&mut buffer).unwrap_or_default();
            if bytes >= 14 && is_it(&buffer[..bytes]) {
                return buffer[..bytes].to_vec();
            }
        }
        panic!("waited in vain for {what}")
    }
}
