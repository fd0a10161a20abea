//! One session, in half a cache line, and its name.

use crate::{
    flow_table::Tick,
    key::Protocol,
    tables::id::{BackendId, LocalId},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
};

/// Which session: its local port and address, and which of those that have them one after another.
///
/// Never zero, since no port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(NonZeroU32);

impl SessionId {
    fn new(local: LocalId, port: u16, generation: u8) -> Option<Self> {
        let [high, low] = port.to_be_bytes();
        let bits = u32::from_be_bytes([high, low, local.0, generation]);
        NonZeroU32::new(bits).map(Self)
    }

    /// As it is kept beside flows: 0 is none.
    pub(crate) fn bits(id: Option<Self>) -> u32 {
        id.map_or(0, |it| it.0.get())
    }

    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    pub(crate) fn port(self) -> u16 {
        let [high, low, ..] = self.0.get().to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    pub(crate) fn local(self) -> LocalId {
        LocalId(self.0.get().to_be_bytes()[2])
    }

    #[cfg(test)]
    fn generation(self) -> u8 {
        self.0.get().to_be_bytes()[3]
    }
}

/// What a flow is to the session that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) protocol: Protocol,
    pub(crate) client: SocketAddr,
    /// The port that the client addressed.
    pub(crate) vip_port: u16,
    pub(crate) backend: BackendId,
    pub(crate) now: Tick,
}

/// The place is free.
const FREE: u8 = 0;
/// Bits of what it is taken by: always, UDP, a client over IPv6.
const TAKEN: u8 = 1;
const IS_UDP: u8 = 2;
const IS_V6: u8 = 4;

/// A flow of full NAT, or a free place.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Session {
    /// Of a free place the first two bytes say which is free after it.
    client: [u8; 16],
    client_port: u16,
    vip_port: u16,
    backend: BackendId,
    /// When the backend was heard last: a [`Tick`], of 13 bits.
    heard: u16,
    kind: u8,
    generation: u8,
    /// What the client's first segment began with, and how far the stream was shifted since: for
    /// those who write into it.
    pub(crate) stream: Stream,
}

const _: () = assert!(size_of::<Session>() == 32);

/// Room for what has to be known of a TCP stream into which something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(2))]
pub(crate) struct Stream {
    /// The number of the client's first byte.
    pub(crate) start: u32,
    /// How many bytes are put in before it, and in the highest bit whether the backend has them; 0 where
    /// it has not answered.
    pub(crate) shift: u16,
}

impl Session {
    /// A free place before another.
    pub(super) fn free(next: u16) -> Self {
        let mut free = Self {
            client: [0; 16],
            client_port: 0,
            vip_port: 0,
            backend: BackendId(0),
            heard: 0,
            kind: FREE,
            generation: 0,
            stream: Stream::default(),
        };
        free.set_next(next);
        free
    }

    pub(super) fn is_free(&self) -> bool {
        self.kind == FREE
    }

    /// The free place after this one.
    pub(super) fn next(&self) -> u16 {
        u16::from_ne_bytes([self.client[0], self.client[1]])
    }

    pub(super) fn set_next(&mut self, next: u16) {
        self.client[..2].copy_from_slice(&next.to_ne_bytes());
    }

    /// Takes the place.
    pub(super) fn take(&mut self, ends: &Ends) {
        let (client, family) = match ends.client.ip() {
            IpAddr::V4(v4) => {
                let mut wide = [0; 16];
                wide[..4].copy_from_slice(&v4.octets());
                (wide, 0)
            }
            IpAddr::V6(v6) => (v6.octets(), IS_V6),
        };
        let protocol = match ends.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => IS_UDP,
        };
        *self = Self {
            client,
            client_port: ends.client.port(),
            vip_port: ends.vip_port,
            backend: ends.backend,
            heard: 0,
            kind: TAKEN | family | protocol,
            generation: self.generation,
            stream: Stream::default(),
        };
        self.hear(ends.now);
    }

    /// Gives the place free, before another; what was named by it is over.
    pub(super) fn leave(&mut self, next: u16) {
        self.kind = FREE;
        self.generation = self.generation.wrapping_add(1);
        self.set_next(next);
    }

    /// Its name, if it is one.
    #[inline]
    pub(super) fn id(&self, local: LocalId, port: u16) -> Option<SessionId> {
        let id = SessionId::new(local, port, self.generation);
        id.filter(|_| !self.is_free())
    }

    #[inline]
    pub(crate) fn client(&self) -> SocketAddr {
        let [a, b, c, d, ..] = self.client;
        let address = if self.kind & IS_V6 == 0 {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.client))
        };
        SocketAddr::new(address, self.client_port)
    }

    /// The port that the client addressed.
    #[inline]
    pub(crate) fn vip_port(&self) -> u16 {
        self.vip_port
    }

    #[inline]
    pub(crate) fn backend(&self) -> BackendId {
        self.backend
    }

    #[inline]
    pub(crate) fn protocol(&self) -> Protocol {
        if self.kind & IS_UDP == 0 {
            Protocol::Tcp
        } else {
            Protocol::Udp
        }
    }

    /// When the backend was heard last; at the start, when it began.
    pub(crate) fn heard(&self) -> Tick {
        Tick(self.heard.into())
    }

    /// The backend is heard.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a tick has 13 bits")]
    pub(crate) fn hear(&mut self, now: Tick) {
        let now = now.0 as u16;
        if self.heard != now {
            self.heard = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_parts() {
        for (local, port, generation) in [(0, 1, 0), (255, 65_535, 255), (7, 1024, 9)] {
            let id = SessionId::new(LocalId(local), port, generation).unwrap();
            let parts = (id.local().0, id.port(), id.generation());
            assert_eq!(parts, (local, port, generation));
            assert_eq!(SessionId::from_bits(SessionId::bits(Some(id))), Some(id));
        }
        assert_eq!(SessionId::bits(None), 0);
        assert_eq!(SessionId::from_bits(0), None);
    }

    #[test]
    fn it_keeps_the_ends_of_either_family() {
        for (client, protocol) in [
            ("192.0.2.7:4000", Protocol::Tcp),
            ("[2001:db8::7]:4001", Protocol::Udp),
        ] {
            let mut session = Session::free(9);
            assert!(session.is_free() && session.id(LocalId(1), 1024).is_none());
            let ends = Ends {
                protocol,
                client: client.parse().unwrap(),
                vip_port: 80,
                backend: BackendId(16_383),
                now: Tick(8191),
            };
            session.take(&ends);
            assert_eq!(session.client(), ends.client);
            assert_eq!((session.protocol(), session.vip_port()), (protocol, 80));
            assert_eq!(session.backend(), ends.backend);
            assert_eq!(session.heard(), Tick(8191));
            let before = session.id(LocalId(1), 1024);
            session.leave(3);
            assert_eq!((session.is_free(), session.next()), (true, 3));
            session.take(&ends);
            assert_ne!(session.id(LocalId(1), 1024), before);
        }
    }
}
