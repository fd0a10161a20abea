//! The screen before a filter: what its terms say of the keys that were parsed anyway.
//!
//! ```text
//!                        ┌ no key: surely no packet of the lane is wanted
//! term by term, any key? ┤
//!                        └ for each term one ─ which keys? ─ the filter looks at their frames
//! ```
//!
//! A key holds all that terms about headers ask of its packet. Of a lane with none that is wanted, as most
//! are, only that is found out: loops without branches and without a bit for each key, which the compiler
//! makes of vectors, take about a cycle for a packet. A frame without a key is the filter's to judge.

use super::{Term, Test, marked::Marked};
use crate::{
    key::{FlowKey, Key4, Key6, Ports, Protocol},
    tables::affinity::source::{mask4, mask6},
};
use std::net::IpAddr;

/// The prefix length of a single address, of either family.
const WHOLE: u8 = u8::MAX;

/// What a filter's terms say of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    v4: Box<[Check]>,
    v6: Box<[Check]>,
}

/// What a key has to be, or must not be: one of two words has to be the one wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    negated: bool,
    words: Words,
    wanted: [Masked; 2],
}

/// Two words of a key. Those that fewest keys have alike come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Words {
    /// No key has them.
    None,
    /// Four bytes of the source and of the destination: the last ones, or so many words before them.
    Addresses(usize),
    /// Both ports, twice.
    Ports,
    /// The protocol, twice.
    Protocol,
}

/// A word under a mask, as loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masked {
    word: u32,
    mask: u32,
}

/// A key that can be screened.
pub(crate) trait Screened: FlowKey {
    /// Whether its addresses are of IPv4.
    const IS_V4: bool;

    /// A word of its source and of its destination: the last one, or so many before it.
    fn addresses(&self, back: usize) -> [u32; 2];
    /// What is asked of such keys.
    fn checks(screen: &Screen) -> &[Check];
}

/// What is told of keys, given whether each of them is so.
trait Told {
    fn of(keys: impl DoubleEndedIterator<Item = bool>) -> Self;
}

/// Whether any is.
impl Told for bool {
    #[inline]
    fn of(keys: impl DoubleEndedIterator<Item = bool>) -> Self {
        keys.fold(false, |any, is| any | is)
    }
}

/// Which are.
impl Told for Marked {
    #[inline]
    fn of(keys: impl DoubleEndedIterator<Item = bool>) -> Self {
        Marked::each(keys)
    }
}

impl Screen {
    /// The screen of terms about headers.
    pub(super) fn new(terms: &[Term]) -> Self {
        Self {
            v4: checks::<Key4>(terms),
            v6: checks::<Key6>(terms),
        }
    }

    /// Which of these keys may be of packets that all terms hold for; surely not the others.
    #[inline]
    pub(crate) fn pass<'a, K: Screened + 'a>(
        &self,
        keys: &(impl DoubleEndedIterator<Item = &'a K> + ExactSizeIterator + Clone),
    ) -> Marked {
        let checks = K::checks(self).iter();
        if !checks.clone().all(|check| check.tell(keys.clone())) {
            return Marked::NONE;
        }
        let all = Marked::first(keys.len());
        checks.fold(all, |left, check| left.and(check.tell(keys.clone())))
    }
}

impl Check {
    /// What it tells of keys.
    #[inline]
    fn tell<'a, K: Screened + 'a, T: Told>(
        self,
        keys: impl DoubleEndedIterator<Item = &'a K>,
    ) -> T {
        match self.words {
            Words::None => T::of(std::iter::empty()),
            Words::Addresses(back) => T::of(keys.map(|key| self.holds(key.addresses(back)))),
            Words::Ports => T::of(keys.map(|key| self.holds([key.ports().0; 2]))),
            Words::Protocol => T::of(keys.map(|key| self.holds([key.protocol() as u32; 2]))),
        }
    }

    #[inline]
    fn holds(self, [first, second]: [u32; 2]) -> bool {
        let [one, other] = self.wanted;
        (one.is(first) | other.is(second)) != self.negated
    }
}

impl Masked {
    /// What no word is.
    const NEVER: Self = Self { word: 1, mask: 0 };

    #[inline]
    fn is(self, word: u32) -> bool {
        word & self.mask == self.word
    }
}

/// What terms ask of the keys of a family, in the order in which it is asked.
fn checks<K: Screened>(terms: &[Term]) -> Box<[Check]> {
    let mut checks: Vec<_> = terms.iter().flat_map(checks_of::<K>).collect();
    checks.sort_by_key(|it| (it.negated, it.words));
    checks.into()
}

/// What a term asks. One that must not hold is asked where it is one question; else the filter is left to
/// ask it.
fn checks_of<K: Screened>(term: &Term) -> Vec<Check> {
    let mut checks = asked_by::<K>(&term.test);
    if term.negated {
        match &mut checks[..] {
            [it] if it.words != Words::None => it.negated = true,
            _ => checks.clear(),
        }
    }
    checks
}

/// What a test asks; nothing where all keys may be of such packets.
fn asked_by<K: Screened>(test: &Test) -> Vec<Check> {
    match test {
        Test::Tcp => vec![protocol(Protocol::Tcp)],
        Test::Udp => vec![protocol(Protocol::Udp)],
        Test::Icmp | Test::Arp => vec![nothing()],
        Test::Host(it) => addresses::<K>(*it, WHOLE, |word| [word, word]),
        Test::Source(it) => addresses::<K>(*it, WHOLE, |word| [word, Masked::NEVER]),
        Test::Destination(it) => addresses::<K>(*it, WHOLE, |word| [Masked::NEVER, word]),
        Test::Net(it, length) => addresses::<K>(*it, *length, |word| [word, word]),
        Test::Port(it) => vec![port(*it)],
        Test::Service(_)
        | Test::Backend(_)
        | Test::Outcome(_)
        | Test::Dropped
        | Test::Direction(_) => Vec::new(),
    }
}

/// A check for each word of the prefix, the last one first. Where a source has some of the words and a
/// destination the others, the filter finds out.
fn addresses<K: Screened>(
    address: IpAddr,
    length: u8,
    wanted: impl Fn(Masked) -> [Masked; 2],
) -> Vec<Check> {
    let (address, mask, words) = match address {
        IpAddr::V4(it) if K::IS_V4 => (it.to_bits().into(), mask4(length).into(), 1),
        IpAddr::V6(it) if !K::IS_V4 => (it.to_bits(), mask6(length), 4),
        _ => return vec![nothing()],
    };
    let covered = usize::from(length).div_ceil(32).clamp(1, words);
    let checks = (words - covered..words).map(|back| {
        let mask = word(mask, back);
        let word = word(address, back) & mask;
        Check {
            negated: false,
            words: Words::Addresses(back),
            wanted: wanted(Masked { word, mask }),
        }
    });
    checks.collect()
}

/// A word of an address, as loaded: the last one, or so many before it.
fn word(address: u128, back: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the last four bytes")]
    let word = (address >> (32 * back)) as u32;
    word.to_be()
}

fn port(port: u16) -> Check {
    let half = |word: Ports, mask: Ports| Masked {
        word: word.0,
        mask: mask.0,
    };
    Check {
        negated: false,
        words: Words::Ports,
        wanted: [
            half(Ports::new(port, 0), Ports::new(u16::MAX, 0)),
            half(Ports::new(0, port), Ports::new(0, u16::MAX)),
        ],
    }
}

fn protocol(protocol: Protocol) -> Check {
    let word = Masked {
        word: protocol as u32,
        mask: u32::MAX,
    };
    Check {
        negated: false,
        words: Words::Protocol,
        wanted: [word, Masked::NEVER],
    }
}

/// What no key is.
fn nothing() -> Check {
    Check {
        negated: false,
        words: Words::None,
        wanted: [Masked::NEVER; 2],
    }
}

impl Screened for Key4 {
    const IS_V4: bool = true;

    #[inline]
    fn addresses(&self, _back: usize) -> [u32; 2] {
        [self.source, self.destination]
    }

    #[inline]
    fn checks(screen: &Screen) -> &[Check] {
        &screen.v4
    }
}

impl Screened for Key6 {
    const IS_V4: bool = false;

    #[inline]
    fn addresses(&self, back: usize) -> [u32; 2] {
        [&self.source, &self.destination].map(|address| {
            let (words, _) = address.as_chunks::<4>();
            u32::from_ne_bytes(words[3 - back % 4])
        })
    }

    #[inline]
    fn checks(screen: &Screen) -> &[Check] {
        &screen.v6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{
            Filter,
            cases::{ADDRESSES6, Ends, ends, filter},
        },
        parse::{Parsed, parse},
        samples::{patched, tcp4, tcp6, udp4, udp6},
    };
    use proptest::prelude::*;

    fn frame(ends: Ends, is_v4: bool, is_tcp: bool) -> Vec<u8> {
        match (is_v4, is_tcp) {
            (true, true) => ends.write4(tcp4(), Some(34)),
            (true, false) => ends.write4(udp4(), Some(34)),
            (false, true) => ends.write6(tcp6(), Some(54)),
            (false, false) => ends.write6(udp6(), Some(54)),
        }
    }

    fn passes(filter: &Filter, frame: &[u8]) -> bool {
        let passed = match parse(frame, None) {
            Ok(Parsed::V4(packet)) => filter.screen().pass(&[packet.key].iter()),
            Ok(Parsed::V6(packet)) => filter.screen().pass(&[packet.key].iter()),
            other => panic!("{other:?}"),
        };
        !passed.is_empty()
    }

    fn is_from(address: IpAddr) -> Filter {
        let (negated, test) = (false, Test::Source(address));
        Filter::new(vec![Term { negated, test }])
    }

    #[test]
    fn addresses_are_asked_for_whole() {
        for wanted in ADDRESSES6 {
            let filter = is_from(wanted.into());
            for source in ADDRESSES6 {
                let frame = patched(tcp6(), 22, &source);
                assert_eq!(passes(&filter, &frame), source == wanted, "{source:?}");
            }
            assert!(!passes(&filter, &tcp4()));
        }
    }

    proptest! {
        #![proptest_config(crate::models::cases(4096))]

        /// It may let more through of IPv6, but that is looked at again.
        #[test]
        fn what_passes_is_what_the_filter_takes(
            filter in filter(), ends in ends(), is_v4: bool, is_tcp: bool,
        ) {
            let frame = frame(ends, is_v4, is_tcp);
            let passes = passes(&filter, &frame);
            let is_taken = filter.takes_frame(&frame);
            prop_assert!(passes == is_taken || passes && !is_v4);
        }
    }
}
