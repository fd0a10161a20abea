//! Where a segment is, before or after the header: arithmetic of sequence numbers (RFC 9293, section
//! 3.4).

use crate::{sessions, wire::tcp};

/// The numbers of one connection, once the backend has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The number of the client's first byte.
    pub(super) start: u32,
    /// How long the header is.
    pub(super) len: u16,
    /// Whether the backend has acknowledged it.
    pub(super) taken: bool,
}

/// Where a client's segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is of before the first byte, and stays as it is.
    Before,
    /// It is the first, and gets the header.
    First,
    /// It comes after the header.
    After,
    /// It begins before the header's place and reaches into it: no stack does so, and its payload could
    /// pass for a header.
    Across,
}

/// In what a session keeps: the header is acknowledged.
const TAKEN: u16 = 1 << 15;

impl Stream {
    /// What a session has kept, if anything.
    pub(crate) fn of(kept: sessions::Stream) -> Option<Self> {
        let sessions::Stream { start, shift } = kept;
        (shift != 0).then_some(Self {
            start,
            len: shift & !TAKEN,
            taken: shift & TAKEN != 0,
        })
    }

    /// As a session keeps it.
    pub(crate) fn kept(self) -> sessions::Stream {
        sessions::Stream {
            start: self.start,
            shift: self.len | if self.taken { TAKEN } else { 0 },
        }
    }

    /// After a SYN-ACK that acknowledges the client's SYN by this number. Nothing of one before is kept, not even
    /// at the same number, which the client chooses: what that one's backend has taken is no header of this
    /// one. Where a SYN-ACK only comes again, the next acknowledgment sets it right.
    pub(super) fn begun(start: u32, len: u16) -> Self {
        Self {
            start,
            len,
            taken: false,
        }
    }

    /// After the backend has acknowledged up to this number.
    pub(super) fn acknowledged(self, number: u32) -> Self {
        Self {
            taken: self.taken || self.beyond(number) >= self.len.into(),
            ..self
        }
    }

    /// How far a number is beyond the first.
    fn beyond(self, number: u32) -> i32 {
        number.wrapping_sub(self.start).cast_signed()
    }

    /// The client's number after the header, as the backend has it.
    pub(super) fn forth(self, number: u32) -> u32 {
        number.wrapping_add(self.len.into())
    }

    /// The backend's number, as the client has it; within the header: that of the first byte.
    pub(super) fn back(self, number: u32) -> u32 {
        if self.taken {
            return number.wrapping_sub(self.len.into());
        }
        match self.beyond(number) {
            ..=0 => number,
            beyond if beyond < i32::from(self.len) => self.start,
            _ => number.wrapping_sub(self.len.into()),
        }
    }

    /// Where a segment of the client is that begins at this number. `payload`: how many bytes follow
    /// its header; `None`, where that cannot be known.
    pub(super) fn place(self, number: u32, flags: u8, payload: Option<u16>) -> Place {
        if self.taken {
            return Place::After;
        }
        match self.beyond(number) {
            1.. => Place::After,
            // Who aborts says ACK, and has completed the handshake by a header. Who answers a segment
            // does not (RFC 9293, section 3.10.7): the backend's SYN, as it had not acknowledged more.
            0 if flags & tcp::RST != 0 && flags & tcp::ACK == 0 => Place::Before,
            0 if flags & tcp::RST != 0 => Place::After,
            0 => Place::First,
            beyond => match payload {
                Some(len) if beyond + i32::from(len) <= 0 => Place::Before,
                _ => Place::Across,
            },
        }
    }
}
