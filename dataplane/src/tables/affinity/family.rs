//! What differs between the IPv4 and the IPv6 half of the table: how keys are laid out and hashed.
//!
//! ```text
//! IPv4  [ address:32 | port:16 | service:16 ] [ prefix:8 | value:56 ]
//! IPv6  [ address:128 ] [ 0:32 | port:16 | service:16 ] [ prefix:8 | value:56 ]
//! ```

use super::{
    directory::Entry,
    source::{mask4, mask6},
};
use crate::{hash::HashKeys, tables::id::ServiceId};

/// How specific a key is: 0 is address and port, 1 the whole address, then one bit shorter each.
pub(crate) type Rank = u8;

/// Ranks that occur in a service, lowest bit first: the most specific first (contract rule R5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranks<const WORDS: usize>(pub(crate) [u64; WORDS]);

impl<const WORDS: usize> Ranks<WORDS> {
    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    /// The most specific rank, taken out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Rank> {
        for (word, bits) in (0_u8..).zip(&mut self.0) {
            if *bits != 0 {
                #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
                let bit = bits.trailing_zeros() as u8;
                *bits &= *bits - 1;
                return Some(word * 64 + bit);
            }
        }
        None
    }
}

/// The client's side of a new flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<A> {
    /// The service that it addresses.
    pub(crate) service: ServiceId,
    /// The client's address, in host byte order.
    pub(crate) source: A,
    /// The client's port.
    pub(crate) port: u16,
}

/// An address family with entries of `W` words, and ranks of `R` words.
pub(crate) trait Family<const W: usize, const R: usize> {
    /// An address in host byte order.
    type Address: Copy;

    /// What the keys of one rank keep of a client.
    type Kind: Copy;

    /// The kind of key at one rank.
    fn kind(rank: Rank) -> Self::Kind;

    /// The key of one kind that a query looks for.
    fn key(query: &Query<Self::Address>, kind: Self::Kind) -> Entry<W>;

    /// The hash of a key or of the entry with that key.
    fn hash(keys: &HashKeys, entry: &Entry<W>) -> u64;
}

/// What keys of one rank keep of a client's address, of its port, and their prefix length in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<A> {
    address: A,
    port: u16,
    prefix: u64,
}

/// The rank of a key, in a family of `bits` bits.
pub(crate) fn rank_of(bits: u8, prefix: u8, has_port: bool) -> Rank {
    if has_port { 0 } else { 1 + bits - prefix }
}

/// The prefix length of keys of this rank.
fn prefix_of(bits: u8, rank: Rank) -> u8 {
    bits - rank.saturating_sub(1)
}

/// What keys of this rank keep of a port.
fn port_mask(rank: Rank) -> u16 {
    if rank == 0 { u16::MAX } else { 0 }
}

/// The prefix length in an entry's last word.
fn prefix_bits(prefix: u8) -> u64 {
    u64::from(prefix) << 56
}

/// IPv4.
#[derive(Debug)]
pub(crate) enum V4 {}

impl Family<2, 1> for V4 {
    type Address = u32;
    type Kind = Kind<u32>;

    // Not inlined: it would be worked out for each query again, to spare a register.
    #[inline(never)]
    fn kind(rank: Rank) -> Kind<u32> {
        let prefix = prefix_of(32, rank);
        Kind {
            address: mask4(prefix),
            port: port_mask(rank),
            prefix: prefix_bits(prefix),
        }
    }

    #[inline]
    fn key(query: &Query<u32>, kind: Kind<u32>) -> Entry<2> {
        let address = u64::from(query.source & kind.address);
        let rest = u64::from(query.port & kind.port) << 16 | u64::from(query.service.0);
        [address << 32 | rest, kind.prefix]
    }

    #[inline]
    fn hash(keys: &HashKeys, entry: &Entry<2>) -> u64 {
        keys.hash2(entry[0], entry[1] >> 56)
    }
}

/// IPv6.
#[derive(Debug)]
pub(crate) enum V6 {}

impl Family<4, 3> for V6 {
    type Address = u128;
    type Kind = Kind<u128>;

    #[inline(never)]
    fn kind(rank: Rank) -> Kind<u128> {
        let prefix = prefix_of(128, rank);
        Kind {
            address: mask6(prefix),
            port: port_mask(rank),
            prefix: prefix_bits(prefix),
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
    fn key(query: &Query<u128>, kind: Kind<u128>) -> Entry<4> {
        let address = query.source & kind.address;
        let rest = u64::from(query.port & kind.port) << 16 | u64::from(query.service.0);
        [(address >> 64) as u64, address as u64, rest, kind.prefix]
    }

    #[inline]
    fn hash(keys: &HashKeys, entry: &Entry<4>) -> u64 {
        keys.hash4(entry[0], entry[1], entry[2], entry[3] >> 56)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_most_specific_first() {
        let mut ranks = Ranks([1 << 9 | 1, 1 << 1, 1 << 1]);
        let popped: Vec<_> = std::iter::from_fn(|| ranks.pop()).collect();
        assert_eq!(popped, [0, 9, 65, 129]);
        assert_eq!(rank_of(128, 0, false), 129);
        assert_eq!(rank_of(32, 24, false), 9);
    }

    #[test]
    fn keys_of_all_ranks_differ() {
        let query = Query {
            service: ServiceId(3),
            source: 0xc000_0201,
            port: 9,
        };
        let mut keys: Vec<_> = (0..=33)
            .map(|rank| V4::key(&query, V4::kind(rank)))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 34);
    }
}
