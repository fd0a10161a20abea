//! Direct server return: the frame goes on with other MAC addresses; the packet in it is untouched.

use super::Unfit;
use crate::{
    port::Frame,
    wire::{ethernet::Mac, vlan},
};

const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// The link that a frame leaves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// To the next hop.
    pub(crate) destination: Mac,
    /// From this port.
    pub(crate) source: Mac,
    /// The VLAN of the port that the frame came by.
    pub(crate) vlan_in: Option<u16>,
    /// The VLAN of the port that it leaves by.
    pub(crate) vlan_out: Option<u16>,
}

/// Writes the addresses, and the tag where the ports' VLANs differ.
#[inline]
pub(crate) fn direct<F: Frame>(frame: &mut F, link: &Link) -> Result<(), Unfit> {
    if link.vlan_in != link.vlan_out && !retag(frame, link.vlan_out) {
        return Err(Unfit::NoRoom);
    }
    let addresses = frame.bytes_mut().first_chunk_mut::<ADDRESSES>();
    let addresses = addresses.ok_or(Unfit::NoRoom)?;
    let (destination, source) = addresses.split_at_mut(ADDRESSES / 2);
    destination.copy_from_slice(&link.destination.0);
    source.copy_from_slice(&link.source.0);
    Ok(())
}

/// Takes the tag out, puts one in, or changes its VLAN (IEEE 802.1Q). The frame tells whether it has
/// one: to a port without a VLAN it may come with a priority tag.
#[cold]
fn retag<F: Frame>(frame: &mut F, to: Option<u16>) -> bool {
    let len = frame.bytes().len();
    let ethertype = frame.bytes().get(ADDRESSES..ADDRESSES + 2);
    let is_tagged = ethertype == Some(&vlan::CUSTOMER.to_be_bytes());
    match (is_tagged, to) {
        (true, Some(to)) => set_vlan(frame, to),
        (true, None) => {
            frame.bytes_mut().copy_within(ADDRESSES + TAG.., ADDRESSES);
            frame.resize(len - TAG)
        }
        (false, Some(to)) => {
            if !frame.resize(len + TAG) {
                return false;
            }
            let bytes = frame.bytes_mut();
            bytes.copy_within(ADDRESSES..len, ADDRESSES + TAG);
            bytes[ADDRESSES..][..2].copy_from_slice(&vlan::CUSTOMER.to_be_bytes());
            bytes[ADDRESSES + 2..][..2].fill(0);
            set_vlan(frame, to)
        }
        (false, None) => true,
    }
}

/// The VLAN identifier, with the priority bits left as they are.
fn set_vlan<F: Frame>(frame: &mut F, vlan: u16) -> bool {
    let Some([high, low]) = frame.bytes_mut().get_mut(ADDRESSES + 2..ADDRESSES + TAG) else {
        return false;
    };
    let [vlan_high, vlan_low] = vlan.to_be_bytes();
    *high = *high & 0xf0 | vlan_high;
    *low = vlan_low;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::memory::{MemoryFrame, Pool};
    use std::sync::Arc;

    const LINK: Link = Link {
        destination: Mac([2, 0, 0, 0, 0, 1]),
        source: Mac([2, 0, 0, 0, 0, 2]),
        vlan_in: None,
        vlan_out: None,
    };

    fn rewritten(frame: &[u8], link: Link) -> Vec<u8> {
        let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), frame).unwrap();
        assert_eq!(direct(&mut frame, &link), Ok(()));
        frame.bytes().to_vec()
    }

    #[test]
    fn only_the_addresses_change() {
        let before: Vec<u8> = (0..60).collect();
        let after = rewritten(&before, LINK);
        assert_eq!(after[..12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        assert_eq!(after[12..], before[12..]);
    }

    #[test]
    fn tags_are_taken_out_put_in_and_changed() {
        let plain: Vec<u8> = (0..60).collect();
        let (from, to) = (Some(0x123), Some(0x456));
        let tagged = rewritten(
            &plain,
            Link {
                vlan_out: from,
                ..LINK
            },
        );
        assert_eq!(tagged[12..18], [0x81, 0, 0x01, 0x23, 12, 13]);
        let changed = rewritten(
            &tagged,
            Link {
                vlan_in: from,
                vlan_out: to,
                ..LINK
            },
        );
        assert_eq!(changed[12..18], [0x81, 0, 0x04, 0x56, 12, 13]);
        let untagged = rewritten(
            &changed,
            Link {
                vlan_in: to,
                ..LINK
            },
        );
        assert_eq!(untagged[12..], plain[12..]);
    }
}
