//! Contract rule S9: stable pages for readers at any pace.

use super::*;
use crate::command::Declined;
use hashbrown::{HashMap, HashSet};
use tether_api::v1::{AffinityEntry, ListRequest, affinity_entry::State};
use tokio::sync::mpsc::Receiver;

fn source(number: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0b00_0000 + number).to_string()
}

pub(super) fn starts(numbers: std::ops::Range<u32>) -> Vec<Signal> {
    numbers
        .map(|number| signal("shop", &source(number), start_of(Asked::Default)))
        .collect()
}

fn list(
    bench: &mut Bench,
    identity: Identity,
    request: ListRequest,
    room: usize,
) -> Receiver<AffinityEntry> {
    let (begun, received) = ask(bench, identity, request, room);
    assert_eq!(begun, Ok(()));
    received
}

fn ask(
    bench: &mut Bench,
    identity: Identity,
    request: ListRequest,
    room: usize,
) -> (Result<(), Declined>, Receiver<AffinityEntry>) {
    let (entries, received) = mpsc::channel(room);
    let (reply, mut begun) = oneshot::channel();
    bench.turn(vec![Command::List {
        identity,
        request,
        entries,
        reply,
    }]);
    (begun.try_recv().unwrap(), received)
}

fn drain(bench: &mut Bench, received: &mut Receiver<AffinityEntry>) -> Vec<AffinityEntry> {
    let mut all = Vec::new();
    while !(received.is_closed() && received.is_empty()) {
        match received.try_recv() {
            Ok(entry) => all.push(entry),
            Err(_) => bench.turn(vec![]),
        }
    }
    all
}

fn sources(entries: &[AffinityEntry]) -> Vec<&str> {
    entries.iter().map(|it| it.source.as_str()).collect()
}

#[test]
fn s9_each_of_ten_thousand_is_seen_once_while_others_come_and_go() {
    let mut bench = Bench::new();
    bench.send(from(ONE), starts(0..10_000));
    bench.send(from(TWO), starts(20_000..24_000));
    let operator = Identity::Operator { uid: 0 };
    let mut received = list(&mut bench, operator, ListRequest::default(), 100);
    let mut seen: HashMap<String, u32> = HashMap::new();
    let (mut next, mut gone) = (24_000, 20_000);
    while !(received.is_closed() && received.is_empty()) {
        while let Ok(entry) = received.try_recv() {
            *seen.entry(entry.source).or_default() += 1;
        }
        let generation = NO_GENERATION;
        let ends = (gone..gone + 30)
            .map(|number| signal("shop", &source(number), Operation::End { generation }));
        bench.send(from(TWO), ends.chain(starts(next..next + 30)).collect());
        (next, gone) = (next + 30, gone + 30);
    }
    assert!(gone > 22_000, "others went in the meantime");
    for number in 0..10_000 {
        assert_eq!(seen.get(&source(number)), Some(&1), "{number}");
    }
    bench.assert_consistent();
}

#[test]
fn s9_a_backend_sees_its_own_and_an_operator_all() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    for (identity, expected) in [
        (from(ONE), vec!["192.0.2.1"]),
        (from(TWO), vec!["192.0.2.2"]),
        (from("10.8.0.99"), vec![]),
        (
            Identity::Operator { uid: 0 },
            vec!["192.0.2.1", "192.0.2.2"],
        ),
    ] {
        let mut received = list(&mut bench, identity, ListRequest::default(), 10);
        let entries = drain(&mut bench, &mut received);
        assert_eq!(sources(&entries), expected);
    }
}

#[test]
fn s9_a_listing_goes_on_after_its_cursor_up_to_its_limit() {
    let mut bench = Bench::new();
    bench.send(from(ONE), starts(0..10));
    let mut seen = HashSet::new();
    let mut after = String::new();
    for page in 0..5 {
        let request = ListRequest {
            after,
            limit: 2,
            ..ListRequest::default()
        };
        let mut received = list(&mut bench, from(ONE), request, 10);
        let entries = drain(&mut bench, &mut received);
        assert_eq!(entries.len(), 2, "page {page}");
        after = entries[1].cursor.clone();
        seen.extend(entries.into_iter().map(|it| it.source));
    }
    assert_eq!(seen.len(), 10);
}

/// Room for a million affinities, and signals without a limit.
fn million() -> String {
    let limits = "affinities = 1100000\naffinities_per_backend = 1100000\nsignals_per_second_per_backend = 10000000";
    let place = "affinities = 20000\naffinities_per_backend = 15000";
    assert!(CONFIG.contains(place));
    CONFIG.replacen(place, limits, 1)
}

#[test]
fn s9_pages_of_very_many_meet_each_once_while_others_start_and_end_in_between() {
    // A million in an optimised build; in another one that takes more than ten seconds.
    const STAY: u32 = if cfg!(debug_assertions) {
        250_000
    } else {
        1_000_000
    };
    const PAGE: u32 = STAY / 50;
    let mut bench = Bench::of(&million());
    for first in (0..STAY).step_by(PAGE as usize) {
        bench.send(from(ONE), starts(first..first + PAGE));
        let others = STAY + first / 20;
        bench.send(from(TWO), starts(others..others + PAGE / 20));
    }
    let mut seen = vec![0_u8; STAY as usize];
    let (mut after, mut pages) = (String::new(), 0);
    let (mut next, mut gone) = (STAY + STAY / 20, STAY);
    loop {
        let request = ListRequest {
            after,
            limit: PAGE,
            ..ListRequest::default()
        };
        let operator = Identity::Operator { uid: 0 };
        let mut received = list(&mut bench, operator, request, PAGE as usize);
        let entries = drain(&mut bench, &mut received);
        for entry in &entries {
            let address: std::net::Ipv4Addr = entry.source.parse().unwrap();
            if let Some(count) = seen.get_mut((address.to_bits() - 0x0b00_0000) as usize) {
                *count += 1;
            }
        }
        pages += 1;
        // Fewer than were asked for: that was the end.
        let Some(last) = entries.get(PAGE as usize - 1) else {
            break;
        };
        after = last.cursor.clone();
        let generation = NO_GENERATION;
        let ends = (gone..gone + 300)
            .map(|number| signal("shop", &source(number), Operation::End { generation }));
        bench.send(from(TWO), ends.chain(starts(next..next + 300)).collect());
        (next, gone) = (next + 300, gone + 300);
    }
    assert!(pages > STAY / PAGE, "{pages}");
    let wrong = seen.iter().position(|count| *count != 1);
    assert_eq!(wrong, None);
}

#[test]
fn a_listing_is_of_what_is_asked_for_and_never_of_what_has_expired() {
    let mut bench = Bench::new();
    bench.start_for(ONE, "192.0.2.1", Asked::Milliseconds(1_000));
    bench.start(ONE, "192.0.2.0/24");
    bench.start(TWO, "192.0.3.1");
    let request = |source: &str, backend: &str, state: State| ListRequest {
        service: "shop".to_owned(),
        source: source.to_owned(),
        backend: backend.to_owned(),
        state: state.into(),
        ..ListRequest::default()
    };
    let any = State::Unspecified;
    let sees = |bench: &mut Bench, request| {
        let operator = Identity::Operator { uid: 0 };
        let mut received = list(bench, operator, request, 10);
        let entries = drain(bench, &mut received);
        entries.into_iter().map(|it| it.source).collect::<Vec<_>>()
    };
    assert_eq!(sees(&mut bench, request("192.0.2.0/24", "", any)).len(), 2);
    assert_eq!(
        sees(&mut bench, request("192.0.2.1", "", any)),
        ["192.0.2.1"]
    );
    assert_eq!(sees(&mut bench, request("", "shop-2", any)), ["192.0.3.1"]);
    bench.health("shop-2", false);
    assert_eq!(
        sees(&mut bench, request("", "", State::Suspended)),
        ["192.0.3.1"]
    );
    bench.after(1_000);
    assert_eq!(
        sees(&mut bench, request("", "shop-1", any)),
        ["192.0.2.0/24"]
    );
}

#[test]
fn a_reader_that_goes_ends_its_listing_and_a_slow_one_holds_nobody_up() {
    let mut bench = Bench::new();
    bench.send(from(ONE), starts(0..100));
    let operator = || Identity::Operator { uid: 0 };
    let slow = list(&mut bench, operator(), ListRequest::default(), 1);
    let gone = list(&mut bench, operator(), ListRequest::default(), 1);
    drop(gone);
    assert_eq!(bench.start(TWO, "192.0.2.1").code, OutcomeCode::Created);
    assert_eq!(bench.control.answers.len(), 1);
    drop(slow);
    bench.turn(vec![]);
    assert_eq!(bench.control.answers.len(), 0);
}

#[test]
fn s9_what_cannot_be_listed_is_refused_with_a_sentence() {
    type Spoil = fn(&mut ListRequest);
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    let cases: [(&str, Spoil); 8] = [
        ("service \"shed\"", |it| it.service = "shed".into()),
        ("backend \"shop-9\"", |it| it.backend = "shop-9".into()),
        ("backend \"mail-1\"", |it| {
            (it.service, it.backend) = ("shop".into(), "mail-1".into());
        }),
        ("source", |it| it.source = "192.0.2".into()),
        ("state 7", |it| it.state = 7),
        ("after \"next\"", |it| it.after = "next".into()),
        ("after \"0\"", |it| it.after = "0".into()),
        ("after \"0-4294967296\"", |it| {
            it.after = "0-4294967296".into();
        }),
    ];
    for (field, spoil) in cases {
        let mut request = ListRequest::default();
        spoil(&mut request);
        let (begun, received) = ask(&mut bench, Identity::Operator { uid: 0 }, request, 1);
        match begun {
            Err(Declined::Invalid(why)) => assert!(why.starts_with(field), "{field}: {why}"),
            other => panic!("{field}: {other:?}"),
        }
        assert!(received.is_closed(), "{field}");
    }
}

#[test]
fn s9_a_cursor_of_another_life_of_the_forwarder_is_refused() {
    let page = |bench: &mut Bench, after: String| {
        let request = ListRequest {
            after,
            ..ListRequest::default()
        };
        ask(bench, from(ONE), request, 10)
    };
    let mut before = Bench::new();
    before.send(from(ONE), starts(0..2));
    let (_, mut received) = page(&mut before, String::new());
    let cursor = drain(&mut before, &mut received)[0].cursor.clone();
    assert_eq!(page(&mut before, cursor.clone()).0, Ok(()));
    let (begun, _) = page(&mut Bench::new(), cursor);
    let Err(Declined::Invalid(why)) = begun else {
        panic!("{begun:?}");
    };
    assert!(why.contains("list from the start"), "{why}");
}

/// As watchers: each listing may hold its queue full, and takes its part of every turn.
#[test]
fn s10_one_identity_cannot_have_listings_without_bound() {
    let mut bench = Bench::new();
    bench.send(from(ONE), starts(0..10));
    let mut open = Vec::new();
    let refused = loop {
        // Nobody reads.
        let (begun, received) = ask(&mut bench, from(ONE), ListRequest::default(), 1);
        if let Err(refused) = begun {
            break refused;
        }
        open.push(received);
        assert!(open.len() < 5_000, "so many listings are under way");
    };
    assert_eq!(open.len(), 64);
    let Declined::Exhausted(why) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("64 listings"), "{why}");
    let mut another = list(&mut bench, from(TWO), ListRequest::default(), 1);
    assert!(drain(&mut bench, &mut another).is_empty(), "of others");
    open.pop();
    let _one_more = list(&mut bench, from(ONE), ListRequest::default(), 1);
}

#[test]
fn s10_all_listings_have_a_bound() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(ONE, "192.0.2.2");
    let operator = || Identity::Operator { uid: 0 };
    let mut open = Vec::new();
    for _ in 0..1024 {
        let request = ListRequest::default();
        open.push(list(&mut bench, operator(), request, 1));
    }
    for identity in [operator(), from(TWO)] {
        let (begun, _) = ask(&mut bench, identity, ListRequest::default(), 1);
        assert!(matches!(begun, Err(Declined::Exhausted(_))), "{begun:?}");
    }
}

/// However many listings there are, a turn is bounded in what it scans, and each gets its share.
#[test]
fn s10_listings_share_what_a_turn_scans() {
    const ALL: u32 = 20_000;
    let mut bench = Bench::new();
    for (sender, numbers) in [(ONE, 0..10_000), (TWO, 10_000..ALL)] {
        bench.send(from(sender), starts(numbers));
    }
    let rooms = [1, 20_000, 20_000, 20_000];
    let (commands, mut received): (Vec<_>, Vec<_>) = rooms
        .map(|room| {
            let (entries, received) = mpsc::channel(room);
            let list = Command::List {
                identity: Identity::Operator { uid: 0 },
                request: ListRequest::default(),
                entries,
                reply: oneshot::channel().0,
            };
            (list, received)
        })
        .into_iter()
        .unzip();
    let (one_turn, mut before) = (16_384, vec![0; rooms.len()]);
    bench.turn(commands);
    for turn in 0..5 {
        let listed: Vec<_> = received.iter().map(Receiver::len).collect();
        assert_eq!(listed[0], 1, "it waits for its reader");
        let scanned = listed.iter().sum::<usize>() - before.iter().sum::<usize>();
        assert!(scanned <= one_turn, "{turn}: {listed:?} after {before:?}");
        for (now, before) in listed[1..].iter().zip(&before[1..]) {
            let share = (one_turn / rooms.len()).min(ALL as usize - before);
            assert!(now - before >= share, "{turn}: {listed:?}");
        }
        before = listed;
        bench.turn(vec![]);
    }
    assert_eq!(before[1..], [ALL as usize; 3]);
    assert!(received.drain(1..).all(|it| it.is_closed()));
}
