//! Pings, whole and hostile.

use etherparse::{Icmpv6Slice, PacketBuilder};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{answered, refused};
use crate::answer::Answer;
use crate::fate::Fate;
use crate::samples::*;
use crate::wire::ipv6::ALL_NODES;

#[test]
fn a_ping_comes_back() {
    let back = PacketBuilder::ethernet2(OUR_MAC.0, NEIGHBOUR_MAC.0).ipv4(OURS4, CLIENT4, 64);
    let reply = written(|out| back.icmpv4_echo_reply(7, 1).write(out, b"abcdefghi"));
    assert_eq!(
        answered(&ping4(), None),
        (Ok(Answer::Reply(None)), reply.clone())
    );
    let after = answered(&tagged(ping4(), VLAN), Some(VLAN)).1;
    assert_eq!(after, tagged(reply, VLAN));

    let back = PacketBuilder::ethernet2(OUR_MAC.0, NEIGHBOUR_MAC.0).ipv6(OURS6, CLIENT6, 64);
    let reply = written(|out| back.icmpv6_echo_reply(7, 1).write(out, b"abcdefghi"));
    assert_eq!(answered(&ping6(), None), (Ok(Answer::Reply(None)), reply));
}

#[test]
fn a_ping_of_zeros_comes_back_whole() {
    let ping = written(|out| ip4().icmpv4_echo_request(0, 0).write(out, &[0; 8]));
    let (answer, after) = answered(&ping, None);
    assert_eq!(answer, Ok(Answer::Reply(None)));
    assert_eq!(rfc1071(&after[34..]), 0, "{after:02x?}");
}

#[test]
fn pings_that_are_refused() {
    let wrong_sum = patched(ping4(), 36, &[0, 0]);
    let coded = patched(ping4(), 35, &[1, 0xf6]);
    let short = summed4(patched(ping4(), 16, &[0, 27]));
    refused(
        Fate::IcmpMalformed,
        [("a wrong checksum", wrong_sum), ("cut short", short)],
    );
    refused(
        Fate::IcmpMalformed,
        [
            ("a wrong checksum, IPv6", patched(ping6(), 56, &[0, 0])),
            ("no message", summed4(patched(ping4(), 16, &[0, 20]))),
        ],
    );
    let to = |address: &[u8]| summed4(patched(ping4(), 30, address));
    let from = |address: &[u8]| summed4(patched(ping4(), 26, address));
    let mut options = ping4();
    options.splice(34..34, [1; 4]);
    refused(
        Fate::IcmpUnhandled,
        [
            ("a code", coded),
            ("an echo reply", patched(ping4(), 34, &[0])),
            ("a redirect", patched(ping4(), 34, &[5])),
            ("to another", to(&[203, 0, 113, 81])),
            ("to everyone", to(&[255; 4])),
            ("to a group", to(&[224, 0, 0, 1])),
            ("to everyone on the link", patched(ping4(), 0, &[0xff; 6])),
            (
                "with options",
                summed4(patched(options, 14, &[0x46, 0, 0, 41])),
            ),
            ("to all nodes", patched(ping6(), 38, &ALL_NODES.octets())),
        ],
    );
    refused(
        Fate::BadSource,
        [
            ("from everyone", from(&[255; 4])),
            ("from a group", from(&[224, 0, 0, 1])),
            ("from a loopback", from(&[127, 0, 0, 1])),
            ("from our address", from(&OURS4)),
            ("from our MAC", patched(ping4(), 6, &OUR_MAC.0)),
            ("from a group's MAC", patched(ping4(), 6, &[1])),
            (
                "from an IPv6 group",
                patched(ping6(), 22, &ALL_NODES.octets()),
            ),
            ("from no IPv6 address", patched(ping6(), 22, &[0; 16])),
        ],
    );
}

proptest! {
    #[test]
    fn any_ping_comes_back_whole(
        tag: (u16, u16), hops: u8, data in vec(prop_oneof![Just(0), any::<u8>()], 0..1400),
    ) {
        let link = || PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0);
        let back = || PacketBuilder::ethernet2(OUR_MAC.0, NEIGHBOUR_MAC.0);
        let ping = link().ipv4(CLIENT4, OURS4, hops).icmpv4_echo_request(tag.0, tag.1);
        let after = answered(&written(|out| ping.write(out, &data)), None).1;
        let pong = back().ipv4(OURS4, CLIENT4, 64).icmpv4_echo_reply(tag.0, tag.1);
        let pong = written(|out| pong.write(out, &data));
        prop_assert_eq!(&after[..36], &pong[..36]);
        prop_assert_eq!(&after[38..], &pong[38..]);
        prop_assert_eq!(rfc1071(&after[34..]), 0);

        let ping = link().ipv6(CLIENT6, OURS6, hops).icmpv6_echo_request(tag.0, tag.1);
        let after = answered(&written(|out| ping.write(out, &data)), None).1;
        let pong = back().ipv6(OURS6, CLIENT6, 64).icmpv6_echo_reply(tag.0, tag.1);
        let pong = written(|out| pong.write(out, &data));
        prop_assert_eq!(&after[..56], &pong[..56]);
        prop_assert_eq!(&after[58..], &pong[58..]);
        let message = Icmpv6Slice::from_slice(&after[54..]).unwrap();
        prop_assert!(message.is_checksum_valid(OURS6, CLIENT6));
    }
}
