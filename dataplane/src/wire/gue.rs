//! Generic UDP encapsulation (draft-ietf-intarea-gue-09), after its UDP header. Variant 1 has no header
//! of its own: the version of the IP packet that follows begins with the bits 01.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header of variant 0 without flags or extensions, 4 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Gue {
    /// Variant (2 bits), control (1), length of what is optional in 4 bytes (5).
    variant_control_len: u8,
    /// The IP protocol number of what follows.
    protocol: u8,
    flags: [u8; 2],
}

impl Gue {
    /// Before a packet of this protocol.
    pub(crate) fn before(protocol: u8) -> Self {
        Self {
            variant_control_len: 0,
            protocol,
            flags: [0; 2],
        }
    }
}
