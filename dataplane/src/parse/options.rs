//! IPv4 options (RFC 791, section 3.1), of which those are refused by which a sender says where others
//! are to send the packet: loose and strict source routes (RFC 7126, sections 4.3 and 4.4).

use crate::wire::ipv4::Ipv4;

/// Option: the list ends.
const END: u8 = 0;
/// Option: nothing, one byte.
const NOTHING: u8 = 1;
/// Option: through these routers, and others between them.
const LOOSE_ROUTE: u8 = 131;
/// Option: through these routers and no others.
const STRICT_ROUTE: u8 = 137;

/// Whether each option of a whole header is whole and none is a route.
pub(super) fn are_taken(header: &[u8]) -> bool {
    let mut options = header.get(usize::from(Ipv4::LEN)..).unwrap_or_default();
    loop {
        options = match *options {
            [] | [END, ..] => return true,
            [NOTHING, ref rest @ ..] => rest,
            [LOOSE_ROUTE | STRICT_ROUTE, ..] => return false,
            [_, len, ..] if len >= 2 && usize::from(len) <= options.len() => {
                &options[usize::from(len)..]
            }
            _ => return false,
        };
    }
}
