//! Whose new flows a service takes: a list of prefixes that it allows and one of those that it
//! denies. The longest prefix of both that a client is in decides; without one, a service with an
//! allow list refuses.
//!
//! Built when the tables are: the prefixes cut the addresses into ranges, each with its answer, and a
//! lookup is a binary search. Costs 17 bytes for each range, of which there are at most two per prefix.

use super::prefix::{Prefix, number};
use std::net::IpAddr;

/// The lists of a service, as the control plane says them: prefixes of the VIP's family. None in
/// either: everybody is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLists {
    /// Whose flows it takes; empty: everybody's.
    pub allow: Vec<Prefix>,
    /// Whose it does not take.
    pub deny: Vec<Prefix>,
}

/// The lists of a service, as workers read them. Its clients are of one family, so that addresses as
/// numbers do not meet those of the other.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Where each range begins, ascending, the first at 0.
    begins: Box<[u128]>,
    takes: Box<[bool]>,
}

impl Clients {
    /// Cuts the addresses into ranges.
    pub(crate) fn new(lists: &ClientLists) -> Self {
        let (begins, takes) = ranges(lists);
        Self {
            begins: begins.into_boxed_slice(),
            takes: takes.into_boxed_slice(),
        }
    }

    /// Whether this client is taken.
    #[inline]
    pub(crate) fn take(&self, client: IpAddr) -> bool {
        let client = number(client);
        let range = self.begins.partition_point(|begin| *begin <= client);
        self.takes[range - 1]
    }
}

/// The ranges in order, with the answer of each: those of shorter prefixes go on behind the longer
/// ones within.
fn ranges(lists: &ClientLists) -> (Vec<u128>, Vec<bool>) {
    let allow = lists.allow.iter().map(|prefix| (prefix, true));
    let deny = lists.deny.iter().map(|prefix| (prefix, false));
    let mut prefixes: Vec<_> = allow.chain(deny).collect();
    prefixes.sort_by_key(|(prefix, _)| (number(prefix.address()), prefix.length()));
    let otherwise = lists.allow.is_empty();
    let mut cut = Cut::default();
    cut.at(0, otherwise);
    // The prefixes around, the innermost last, each with its last address.
    let mut around: Vec<(u128, bool)> = Vec::new();
    for (prefix, takes) in prefixes {
        let (first, last) = prefix.range();
        cut.close(&mut around, otherwise, |ends| ends < first);
        cut.at(first, takes);
        around.push((last, takes));
    }
    cut.close(&mut around, otherwise, |_| true);
    (cut.begins, cut.takes)
}

#[derive(Default)]
struct Cut {
    begins: Vec<u128>,
    takes: Vec<bool>,
}

impl Cut {
    /// A range begins here; where another began here too, this one is further within.
    fn at(&mut self, begin: u128, takes: bool) {
        if self.begins.last() == Some(&begin) {
            self.begins.pop();
            self.takes.pop();
        }
        self.begins.push(begin);
        self.takes.push(takes);
    }

    /// Leaves the prefixes that are over: what is around them goes on.
    fn close(
        &mut self,
        around: &mut Vec<(u128, bool)>,
        otherwise: bool,
        is_over: impl Fn(u128) -> bool,
    ) {
        while let Some((last, _)) = around.pop_if(|(last, _)| is_over(*last)) {
            let outer = around.last().map_or(otherwise, |(_, takes)| *takes);
            if let Some(next) = last.checked_add(1) {
                self.at(next, outer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    fn clients(allow: &[&str], deny: &[&str]) -> Clients {
        let list = |texts: &[&str]| texts.iter().map(|text| prefix(text)).collect();
        Clients::new(&ClientLists {
            allow: list(allow),
            deny: list(deny),
        })
    }

    fn taken<'a>(clients: &Clients, addresses: &[&'a str]) -> Vec<&'a str> {
        let addresses = addresses.iter().copied();
        addresses
            .filter(|it| clients.take(it.parse().unwrap()))
            .collect()
    }

    const FOUR: [&str; 4] = ["0.0.0.0", "10.0.0.1", "10.1.2.3", "255.255.255.255"];

    #[test]
    fn without_lists_everybody_is_taken() {
        assert_eq!(taken(&clients(&[], &[]), &FOUR), FOUR);
    }

    #[test]
    fn the_longest_prefix_decides() {
        let all = clients(&["10.0.0.0/8"], &[]);
        assert_eq!(taken(&all, &FOUR), ["10.0.0.1", "10.1.2.3"]);
        let all = clients(&[], &["10.0.0.0/8"]);
        assert_eq!(taken(&all, &FOUR), ["0.0.0.0", "255.255.255.255"]);
        let all = clients(&["10.1.2.3/32"], &["10.1.0.0/16"]);
        assert_eq!(taken(&all, &FOUR), ["10.1.2.3"]);
        let all = clients(&["0.0.0.0/0"], &["10.0.0.0/8", "255.255.255.255/32"]);
        assert_eq!(taken(&all, &FOUR), ["0.0.0.0"]);
    }

    #[test]
    fn ipv6_to_its_ends() {
        let all = clients(&["2001:db8::/32", "ffff::/16"], &["2001:db8:1::/48"]);
        let six = [
            "::",
            "2001:db8::1",
            "2001:db8:1::1",
            "2001:db8:2::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        assert_eq!(taken(&all, &six), [six[1], six[3], six[4]]);
        let nobody = clients(&[], &["::/0"]);
        assert!(taken(&nobody, &six).is_empty());
    }

    /// Addresses and prefixes close together, so that they often meet.
    fn address() -> impl Strategy<Value = IpAddr> {
        (0_u32..4, 0_u32..40).prop_map(|(net, host)| Ipv4Addr::from_bits(net << 30 | host).into())
    }

    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        let lengths = prop_oneof![0_u8..4, 24_u8..=32];
        let prefix = (address(), lengths)
            .prop_map(|(address, length)| Prefix::new(address, length).unwrap());
        prop::collection::vec(prefix, 0..12)
    }

    /// The answer of the longest prefix, by looking at all.
    fn oracle(lists: &ClientLists, client: IpAddr) -> bool {
        let holds = |it: &&Prefix| Prefix::new(client, it.length()) == Some(**it);
        let longest = |list: &[Prefix]| list.iter().filter(holds).map(|it| it.length()).max();
        match (longest(&lists.allow), longest(&lists.deny)) {
            (None, None) => lists.allow.is_empty(),
            (allow, deny) => allow > deny,
        }
    }

    proptest! {
        #![proptest_config(crate::models::cases(512))]
        #[test]
        fn it_answers_as_the_longest_prefix(
            allow in prefixes(),
            deny in prefixes(),
            asked in prop::collection::vec(address(), 40),
        ) {
            let deny: Vec<_> = deny.into_iter().filter(|it| !allow.contains(it)).collect();
            let lists = ClientLists { allow, deny };
            let clients = Clients::new(&lists);
            prop_assert!(clients.begins.is_sorted());
            for client in asked {
                prop_assert_eq!(clients.take(client), oracle(&lists, client), "{}", client);
            }
        }
    }
}
