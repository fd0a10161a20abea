//! Described frames and their answers, written out by `etherparse`.

mod arp;
mod echo;
mod neighbour;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::*;
use crate::parse::{Parsed, parse};
use crate::port::memory::{MemoryFrame, Pool};
use crate::samples::*;

/// Has [`OURS4`], [`OURS6`] and [`LINK_LOCAL`].
struct Us;

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

impl Station for Us {
    fn mac(&self) -> Mac {
        OUR_MAC
    }

    fn is_own_mac(&self, mac: Mac) -> bool {
        mac == OUR_MAC
    }

    fn may_send(&self, address: IpAddr) -> bool {
        let is_of_one = match address {
            IpAddr::V4(v4) => crate::wire::ipv4::can_send(v4),
            IpAddr::V6(v6) => crate::wire::ipv6::can_send(v6),
        };
        is_of_one && !self.is_ours(address)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        let ours: [IpAddr; 3] = [OURS4.into(), OURS6.into(), LINK_LOCAL.into()];
        ours.contains(&address)
    }
}

/// What becomes of a frame, and the frame.
fn answered(frame: &[u8], vlan: Option<u16>) -> (Result<Answer, Fate>, Vec<u8>) {
    let mut held = MemoryFrame::copied(&Arc::new(Pool::new(1)), frame).unwrap();
    let answer = match parse(frame, vlan) {
        Ok(Parsed::Arp { offset }) => answer_arp(&mut held, offset, &Us),
        Ok(Parsed::Icmp4(message)) => answer_icmp4(&mut held, message, &Us),
        Ok(Parsed::Icmp6(message)) => answer_icmp6(&mut held, message, &Us),
        other => panic!("not for us: {other:?}"),
    };
    (answer, held.bytes().to_vec())
}

fn refused(fate: Fate, cases: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    for (what, frame) in cases {
        let (answer, after) = answered(&frame, None);
        assert_eq!(answer, Err(fate), "{what}: {frame:02x?}");
        assert_eq!(after, frame, "{what}: a refused frame stays as it is");
    }
}

fn learned(address: impl Into<IpAddr>, is_answer: bool) -> Learned {
    Learned {
        address: address.into(),
        mac: NEIGHBOUR_MAC,
        is_answer,
        replaces: true,
    }
}
