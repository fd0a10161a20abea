//! What is read, what is refused and where, and that nothing else happens.

use super::*;
use proptest::{collection::vec, prelude::*};

fn parse(text: &str) -> Result<CaptureFilter, BadFilter> {
    text.parse()
}

#[test]
fn terms_are_joined_by_and_or_by_nothing() {
    let expected = CaptureFilter(vec![
        CaptureTerm {
            negated: false,
            test: CaptureTest::Tcp,
        },
        CaptureTerm {
            negated: true,
            test: CaptureTest::Port(80),
        },
        CaptureTerm {
            negated: false,
            test: CaptureTest::Net("10.1.0.0".parse().unwrap(), 16),
        },
    ]);
    assert_eq!(parse("tcp not port 80 net 10.1.0.0/16").unwrap(), expected);
    let joined = parse(" tcp and\tnot port 80  and net 10.1.0.0/16 ").unwrap();
    assert_eq!(joined, expected);
    assert_eq!(parse("").unwrap(), CaptureFilter::default());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (filter, place, message) in [
        ("tcp foo 80", (4, 3), "\"foo\" is no word of a filter"),
        ("host shop", (5, 4), "\"shop\" is not an address"),
        ("net 10.0.0.0/33", (4, 11), "not a prefix"),
        ("net 10.0.0.1", (4, 8), "not a prefix"),
        ("port 80000", (5, 5), "from 0 to 65535"),
        (
            "tcp port",
            (9, 1),
            "after \"port\" there must be a port number",
        ),
        ("tcp and  ", (8, 1), "after \"and\" there must be a term"),
        ("not", (4, 1), "after \"not\" there must be a term"),
        ("and tcp", (0, 3), "between two terms"),
        ("tcp or udp", (4, 2), "no \"or\""),
        ("tcp and udp", (8, 3), "both tcp and udp"),
        ("in not in", (7, 2), "both in and not in"),
        ("src ::1 src ::2", (8, 3), "both src ::1 and src ::2"),
    ] {
        let bad = parse(filter).unwrap_err();
        assert_eq!(bad.place(), place, "{bad}");
        assert!(bad.message().contains(message), "{bad}");
    }
    let many = "not port 1 ".repeat(17);
    assert!(parse(&many).unwrap_err().message().contains("16 terms"));
}

#[test]
fn the_caret_stands_under_what_is_wrong() {
    let text = parse("tcp\té foo").unwrap_err().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["\"é\" is no word of a filter", "  tcp é foo", "      ^",]
    );
    assert!(
        lines[3].contains("host ADDRESS") && lines[3].contains("dropped"),
        "{text}"
    );
}

fn test() -> impl Strategy<Value = CaptureTest> {
    let name = || "[a-zA-Z0-9._-]{1,12}";
    prop_oneof![
        Just(CaptureTest::Tcp),
        Just(CaptureTest::In),
        Just(CaptureTest::Dropped),
        any::<std::net::Ipv4Addr>().prop_map(|it| CaptureTest::Host(it.into())),
        any::<std::net::Ipv6Addr>()
            .prop_map(|it| CaptureTest::Src(IpAddr::from(it).to_canonical())),
        (any::<std::net::Ipv6Addr>(), 0..=128_u8)
            .prop_map(|(it, length)| CaptureTest::Net(it.into(), length)),
        any::<u16>().prop_map(CaptureTest::Port),
        name().prop_map(CaptureTest::Service),
        name().prop_map(CaptureTest::Backend),
        name().prop_map(CaptureTest::Fate),
    ]
}

fn term() -> impl Strategy<Value = CaptureTerm> {
    (any::<bool>(), test()).prop_map(|(negated, test)| CaptureTerm { negated, test })
}

proptest! {
    #[test]
    fn what_is_written_is_read(terms in vec(term(), 0..5)) {
        let mut filter = CaptureFilter::default();
        for term in terms {
            if contradiction(&filter.0, &term).is_none() {
                filter.0.push(term);
            }
        }
        prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
    }

    /// Whatever is written, it is read or its place is told within the line.
    #[test]
    fn nothing_panics_and_places_are_places(text in "\\PC{0,60}") {
        if let Err(bad) = parse(&text) {
            let (at, len) = bad.place();
            prop_assert!(len > 0 && at + len <= text.chars().count() + 2, "{bad}");
            prop_assert_eq!(bad.to_string().lines().count(), 4);
        }
    }

    #[test]
    fn nor_do_words(words in vec(prop::sample::select(vec![
        "tcp", "in", "not", "and", "host", "10.0.0.1", "net", "::/0", "port", "80", "fate", "or",
    ]), 0..12)) {
        let text = words.join(" ");
        if let Err(bad) = parse(&text) {
            prop_assert!(bad.place().0 <= text.len() + 1);
        }
    }
}
