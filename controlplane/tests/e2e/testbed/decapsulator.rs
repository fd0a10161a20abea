//! The server's end of a tunnel: takes the outer headers off what comes for its host and hands the
//! packets to the kernel.
//!
//! ```text
//! data ─ packet socket ─ outer headers off ─ tunnel-out ══ tunnel-in ─ the host's kernel
//! ```
//!
//! Kernels can do it with `ipip`, `sit`, `ip6_tunnel`, `gre` or `fou`; not every one has those drivers.
//! IPv6 alone most can take off, as the end of a segment route ([`kernel_takes_off`]).

use std::{
    io::Read as _,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use socket2::Socket;

use super::{frames::Card, namespace::Namespace, vip::Family};

/// How often it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Room for what comes while others have the machine.
const ROOM: usize = 8 << 20;

/// The longest packet that it hands over.
const JUMBO: usize = 9000;

const IPIP: u8 = 4;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const GUE_PORT: [u8; 2] = 6080_u16.to_be_bytes();

/// A running decapsulator, until it is dropped.
#[derive(Debug)]
pub struct Decapsulator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    packets: AtomicU64,
}

impl Decapsulator {
    /// For server `number` on its host.
    pub fn start(host: &Namespace, number: usize) -> Self {
        host.ip("link add tunnel-in type veth peer name tunnel-out");
        for end in ["tunnel-in", "tunnel-out"] {
            host.finish_frames_of(end);
            // Clients are reached by another interface than they come from.
            host.set(&format!("ipv4/conf/{end}/rp_filter"), "0");
            host.ip(&format!("link set {end} mtu {JUMBO} up"));
        }
        host.set("ipv4/conf/all/rp_filter", "0");
        let of = |it: Family| [it.server_address(number), it.far_address(number)];
        let own = [Family::V4, Family::V6].into_iter().flat_map(of);
        let own: Vec<IpAddr> = own.map(|it| it.parse().unwrap()).collect();
        let (to, from) = (Card::of(host, "tunnel-in"), Card::of(host, "tunnel-out"));
        let frames = listen(host);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let life = move || pass_on(frames, &own, to.mac(), &from, &of_thread);
        Self {
            shared,
            thread: Some(std::thread::spawn(life)),
        }
    }

    /// How many packets it has handed over.
    pub fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Decapsulator {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Has the kernel of a host take off outer IPv6 headers to the server's far address from packets of one
/// family (RFC 8986, sections 4.5 and 4.6, without a segment routing header).
pub fn kernel_takes_off(host: &Namespace, number: usize, inner: Family) {
    let action = match inner {
        Family::V4 => "End.DX4 nh4 0.0.0.0",
        Family::V6 => "End.DT6 table local",
    };
    let end = Family::V6.far_address(number);
    host.ip(&format!(
        "route replace {end}/128 encap seg6local action {action} dev data"
    ));
}

/// A socket that gets every frame of the host.
fn listen(host: &Namespace) -> Socket {
    let every = || -> nix::Result<OwnedFd> {
        let (family, kind) = (AddressFamily::Packet, SockType::Raw);
        let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        setsockopt(&fd, sockopt::RcvBufForce, &ROOM)?;
        Ok(fd)
    };
    let socket = Socket::from(host.inside(every).unwrap());
    socket.set_read_timeout(Some(LOOK)).unwrap();
    socket
}

fn pass_on(mut frames: Socket, own: &[IpAddr], to: [u8; 6], card: &Card, shared: &Shared) {
    let mut buffer = [0; JUMBO + 100];
    while !shared.stopped.load(Ordering::Acquire) {
        let Ok(bytes) = frames.read(&mut buffer) else {
            continue;
        };
        if let Some(packet) = decapsulate(&buffer[..bytes], own) {
            let ethertype: [u8; 2] = match packet[0] >> 4 {
                4 => [0x08, 0x00],
                _ => [0x86, 0xdd],
            };
            card.send(&[&to, &card.mac()[..], &ethertype, packet].concat());
            shared.packets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The packet in a tunnel to one of these addresses.
fn decapsulate<'a>(frame: &'a [u8], own: &[IpAddr]) -> Option<&'a [u8]> {
    let (link, outer) = frame.split_at_checked(14)?;
    let (destination, protocol, rest) = match link[12..] {
        [0x08, 0x00] => {
            let (header, rest) = outer.split_at_checked(20)?;
            let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let destination = <[u8; 4]>::try_from(&header[16..]).ok()?;
            (destination.into(), header[9], rest.get(..len - 20)?)
        }
        [0x86, 0xdd] => {
            let (header, rest) = outer.split_at_checked(40)?;
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let destination = <[u8; 16]>::try_from(&header[24..]).ok()?;
            (destination.into(), header[6], rest.get(..len)?)
        }
        _ => return None,
    };
    let packet = match protocol {
        _ if !own.contains(&destination) => return None,
        IPIP | IPV6 => rest,
        GRE => rest.get(4..)?,
        UDP if *rest.get(2..4)? == GUE_PORT => {
            let after = rest.get(8..)?;
            // Variant 1 starts with the version of IP, variant 0 with a header of its own.
            if after.first()? >> 6 == 1 {
                after
            } else {
                after.get(4..)?
            }
        }
        _ => return None,
    };
    (!packet.is_empty()).then_some(packet)
}
