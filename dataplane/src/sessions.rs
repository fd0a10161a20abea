//! Sessions: what full NAT remembers of a flow, by the local address and port that it has.
//!
//! ```text
//! reply to 10.9.0.200:1031 ─▶ slab of the address ─▶ (1031 − first) ÷ workers ─▶ session
//! ```
//!
//! Every worker has each n-th port of every local address, so a port says whose it is and nobody
//! shares a session. A reply costs half a cache line and no hash. Ports that are free wait in a
//! queue, shuffled at the start (RFC 6056), so that one that was freed comes last.

#[cfg(test)]
mod model;
mod session;
mod slab;

pub(crate) use session::{Ends, Session, SessionId, Stream};
pub(crate) use slab::Slab;

use crate::{limits, simd::prefetch, tables::id::LocalId};

/// The sessions of one worker.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// By the place of their addresses; there are [`limits::LOCAL_ADDRESSES`].
    slabs: Box<[Option<Slab>]>,
    /// Which of the workers this one is, and how many there are.
    place: u8,
    workers: u16,
    /// Whose turn it is among a pool's addresses.
    turn: usize,
    open: u64,
    ports: u64,
    /// How many have a stream: where none has, nobody looks for it.
    streams: u64,
}

impl Sessions {
    /// None yet, of a worker of so many.
    pub(crate) fn new(place: usize, workers: usize) -> Self {
        let mut slabs = Vec::new();
        slabs.resize_with(limits::LOCAL_ADDRESSES, || None);
        Self {
            slabs: slabs.into_boxed_slice(),
            place: u8::try_from(place).unwrap_or(u8::MAX),
            workers: u16::try_from(workers).unwrap_or(u16::MAX),
            turn: place,
            open: 0,
            ports: 0,
            streams: 0,
        }
    }

    /// Which of the workers this one is.
    pub(crate) fn place(&self) -> u8 {
        self.place
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> u16 {
        self.workers
    }

    /// Local ports that are in use.
    pub(crate) fn len(&self) -> u64 {
        self.open
    }

    /// Local ports that there are for this worker.
    pub(crate) fn capacity(&self) -> u64 {
        self.ports
    }

    /// Takes the ports of another local address.
    pub(crate) fn adopt(&mut self, local: LocalId, slab: Slab) {
        self.ports += slab.len() as u64;
        self.slabs[local.index()] = Some(slab);
    }

    /// Gives a flow a local port of one of these addresses, each in its turn: one that suits, by what
    /// `suits` says of an address, else any. `None` where none is free.
    pub(crate) fn open<S: Fn(u16) -> bool>(
        &mut self,
        locals: &[LocalId],
        ends: &Ends,
        suits: impl Fn(LocalId) -> S,
    ) -> Option<SessionId> {
        self.turn = self.turn.wrapping_add(1);
        for step in 0..locals.len() {
            let local = locals[self.turn.wrapping_add(step) % locals.len()];
            let slab = self.slabs[local.index()].as_mut();
            if let Some(id) = slab.and_then(|it| it.open(local, ends, suits(local))) {
                self.open += 1;
                return Some(id);
            }
        }
        None
    }

    /// Ends a session, if it is not over yet.
    pub(crate) fn close(&mut self, id: SessionId) {
        self.set_stream(id, Stream::default());
        let slab = self.slabs[id.local().index()].as_mut();
        if slab.is_some_and(|it| it.close(id)) {
            self.open -= 1;
        }
    }

    /// Whether any session has a stream.
    #[inline]
    pub(crate) fn have_streams(&self) -> bool {
        self.streams > 0
    }

    /// Keeps how the stream of a session stands.
    pub(crate) fn set_stream(&mut self, id: SessionId, stream: Stream) {
        let Some(session) = self.get_mut(id) else {
            return;
        };
        let had = std::mem::replace(&mut session.stream, stream) != Stream::default();
        let has = stream != Stream::default();
        self.streams = self.streams + u64::from(has) - u64::from(had);
    }

    /// Asks for the memory of a session ahead of its use.
    #[inline]
    pub(crate) fn prefetch(&self, local: LocalId, port: u16) {
        let slab = self.slabs[local.index()].as_ref();
        if let Some(session) = slab.and_then(|it| it.at(port)) {
            prefetch(&raw const *session);
        }
    }

    /// The session that has a port, with its name.
    #[inline]
    pub(crate) fn find(&self, local: LocalId, port: u16) -> Option<(SessionId, &Session)> {
        let session = self.slabs[local.index()].as_ref()?.at(port)?;
        Some((session.id(local, port)?, session))
    }

    /// A session that is not over yet.
    #[inline]
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        let (found, session) = self.find(id.local(), id.port())?;
        (found == id).then_some(session)
    }

    /// The same, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get(id)?;
        self.slabs[id.local().index()].as_mut()?.at_mut(id.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow_table::Tick,
        key::Protocol,
        tables::id::{BackendId, LocalId},
    };

    #[test]
    fn streams_are_looked_for_while_there_are_any() {
        let mut sessions = Sessions::new(0, 1);
        sessions.adopt(LocalId(0), Slab::new((2000, 2003), 0, 1));
        let ends = Ends {
            protocol: Protocol::Tcp,
            client: "192.0.2.1:4000".parse().unwrap(),
            vip_port: 80,
            backend: BackendId(1),
            now: Tick(0),
        };
        let [one, other] = [(); 2].map(|()| {
            let opened = sessions.open(&[LocalId(0)], &ends, |_| |_| true);
            opened.unwrap()
        });
        let stream = Stream {
            start: 7,
            shift: 28,
        };
        assert!(!sessions.have_streams());
        for id in [one, other, one] {
            sessions.set_stream(id, stream);
        }
        assert_eq!(sessions.get(one).unwrap().stream, stream);
        sessions.set_stream(one, Stream::default());
        assert!(sessions.have_streams());
        sessions.close(other);
        sessions.close(other);
        assert!(!sessions.have_streams());
    }
}
