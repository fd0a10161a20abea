//! Contract rule S8: who is told what, in order, and what becomes of slow readers.

use super::{listing::starts, *};
use crate::command::{Declined, Told};
use tether_api::operator::{AdminState, AffinityFilter};
use tether_api::v1::{AffinityEntry, Event, WatchRequest, affinity_entry::State, event::Kind};
use tokio::sync::mpsc::Receiver;

type Events = Receiver<Told>;

fn ask(
    bench: &mut Bench,
    identity: Identity,
    (service, backend): (&str, &str),
    room: usize,
) -> (Result<(), Declined>, Events) {
    let (events, told) = mpsc::channel(room);
    let (reply, mut begun) = oneshot::channel();
    let request = WatchRequest {
        service: service.to_owned(),
        backend: backend.to_owned(),
    };
    bench.turn(vec![Command::Watch {
        identity,
        request,
        events,
        reply,
    }]);
    (begun.try_recv().unwrap(), told)
}

fn watch_of(bench: &mut Bench, identity: Identity, names: (&str, &str)) -> Events {
    let (begun, told) = ask(bench, identity, names, 100_000);
    assert_eq!(begun, Ok(()));
    told
}

fn watch(bench: &mut Bench, identity: Identity) -> Events {
    watch_of(bench, identity, ("", ""))
}

fn operator() -> Identity {
    Identity::Operator { uid: 0 }
}

/// The events that have come; there is no gap among them.
fn events(told: &mut Events) -> Vec<(u64, Event)> {
    let told = std::iter::from_fn(|| told.try_recv().ok());
    told.map(|it| match it {
        Told::Event { sequence, event } => (sequence, (*event).clone()),
        gap @ Told::Gap { .. } => panic!("{gap:?}"),
    })
    .collect()
}

/// What has happened to which source.
fn said(told: &mut Events) -> Vec<(Kind, String)> {
    let events = events(told).into_iter();
    events
        .map(|(_, it)| (it.kind(), it.affinity.unwrap().source))
        .collect()
}

fn is(kind: Kind, source: &str) -> (Kind, String) {
    (kind, source.to_owned())
}

#[test]
fn s8_a_watcher_is_told_all_that_signals_and_time_do_in_order() {
    let mut bench = Bench::with_rule("on_conflict = \"replace\"");
    let mut told = watch(&mut bench, from(ONE));
    bench.start_for(ONE, CLIENT, Asked::Milliseconds(5_000));
    bench.after(1_000).start(ONE, CLIENT);
    bench.extend(ONE, CLIENT, Asked::Milliseconds(90_000));
    bench.end(ONE, CLIENT);
    bench.start_for(ONE, "192.0.2.8", Asked::Milliseconds(1_000));
    bench.after(2_000).turn(vec![]);
    bench.start(ONE, "192.0.2.9");
    bench.start(TWO, "192.0.2.9");
    let events = events(&mut told);
    let kinds: Vec<_> = events.iter().map(|(_, it)| it.kind()).collect();
    let expected = [
        Kind::Started,
        Kind::Refreshed,
        Kind::Extended,
        Kind::Ended,
        Kind::Started,
        Kind::Expired,
        Kind::Started,
        Kind::Replaced,
    ];
    assert_eq!(kinds, expected);
    let sequences: Vec<_> = events.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7, 8]);
    let epoch = bench.control.master.epoch;
    assert!(events.iter().all(|(_, it)| it.epoch == epoch));

    let affinity = |place: usize| events[place].1.affinity.clone().unwrap();
    let expected = AffinityEntry {
        service: "shop".into(),
        source: CLIENT.into(),
        owner: "shop-1".into(),
        state: State::Active.into(),
        duration_ms: 60_000,
        remaining_ms: 90_000,
        created_ms_ago: 1_000,
        generation: 1,
        cursor: affinity(2).cursor,
        ..AffinityEntry::default()
    };
    assert_eq!(affinity(2), expected, "as it was left by the extension");
    assert_eq!(affinity(3), expected, "as it was before it was ended");
    assert_eq!(events[3].1.reason, "owner");
    assert_eq!(affinity(5).remaining_ms, 0);
    assert_eq!(
        (affinity(7).owner, &*events[7].1.new_owner),
        ("shop-1".to_owned(), "shop-2")
    );
}

#[test]
fn s8_a_backend_is_told_of_its_own_and_an_operator_of_all() {
    let mut bench = Bench::new();
    let mut one = watch(&mut bench, from(ONE));
    let mut two = watch(&mut bench, Identity::Certificate(vec!["two.shop".into()]));
    let mut all = watch(&mut bench, operator());
    let mut shop = watch_of(&mut bench, operator(), ("shop", "shop-2"));
    let mut mail = watch_of(&mut bench, from(ONE), ("mail", ""));
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    let mut of_mail = signal("mail", "192.0.2.3", start_of(Asked::Default));
    of_mail.backend = Some("mail-2".into());
    bench.say(ONE, of_mail);
    let [first, second, third] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|it| is(Kind::Started, it));
    assert_eq!(said(&mut one), [first.clone(), third.clone()]);
    assert_eq!(said(&mut two), std::slice::from_ref(&second));
    assert_eq!(said(&mut all), [first, second.clone(), third.clone()]);
    assert_eq!(said(&mut shop), [second]);
    assert_eq!(said(&mut mail), [third]);
}

#[test]
fn s8_the_loser_of_a_key_is_told_who_has_it_and_nobody_else_is() {
    let mut bench = Bench::with_rule("on_conflict = \"replace\"");
    bench.start(ONE, CLIENT);
    let mut one = watch(&mut bench, from(ONE));
    let mut two = watch(&mut bench, from(TWO));
    bench.start(TWO, CLIENT);
    assert_eq!(said(&mut one), [is(Kind::Replaced, CLIENT)]);
    assert_eq!(said(&mut two), [is(Kind::Started, CLIENT)]);
}

#[test]
fn s8_an_end_says_by_whom_or_what() {
    let mut bench = Bench::new();
    let mut told = watch(&mut bench, operator());
    let session = Some(4);
    let bound = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session,
    };
    bench.say(ONE, signal("shop", "192.0.2.1", bound));
    bench.turn(vec![Command::SessionClosed(4)]);
    bench.start(ONE, "192.0.2.2");
    bench.ask(Request::AffinityFlush(AffinityFilter::default()));
    for boot_id in [1, 2] {
        let signal = signal("shop", "192.0.2.3", start_of(Asked::Default));
        bench.say(ONE, Signal { boot_id, ..signal });
    }
    bench.end(ONE, "192.0.2.3");
    bench.start(TWO, "192.0.2.4");
    bench.reload(&without_shop_2());
    let ends = events(&mut told).into_iter();
    let ends = ends.filter(|(_, it)| it.kind() == Kind::Ended);
    let reasons: Vec<_> = ends.map(|(_, it)| it.reason).collect();
    let expected = ["session", "operator", "reboot", "owner", "backend_removed"];
    assert_eq!(reasons, expected);
}

fn without_shop_2() -> String {
    let from = CONFIG
        .find("[[service.backend]]\nname = \"shop-2\"")
        .unwrap();
    let to = from + CONFIG[from..].find("\n\n").unwrap();
    format!("{}{}", &CONFIG[..from], &CONFIG[to..])
}

#[test]
fn s8_a_removed_backend_is_told_its_ends_and_others_go_on() {
    let mut bench = Bench::new();
    let mut one = watch(&mut bench, from(ONE));
    let mut two = watch(&mut bench, from(TWO));
    bench.start(TWO, "192.0.2.2");
    bench.reload(&without_shop_2());
    bench.start(ONE, "192.0.2.1");
    let ended = events(&mut two).pop().unwrap().1;
    assert_eq!(
        (ended.kind(), &*ended.reason),
        (Kind::Ended, "backend_removed")
    );
    let affinity = ended.affinity.unwrap();
    assert_eq!((&*affinity.service, &*affinity.owner), ("shop", "shop-2"));
    assert_eq!(said(&mut one), [is(Kind::Started, "192.0.2.1")]);
    assert!(!one.is_closed() && !two.is_closed());

    bench.reload(CONFIG);
    bench.start(TWO, "192.0.2.3");
    assert_eq!(
        said(&mut two),
        [is(Kind::Started, "192.0.2.3")],
        "it is back"
    );
    assert_eq!(said(&mut one), []);
}

#[test]
fn s8_a_watch_of_what_is_not_there_or_not_ones_own_is_refused_with_a_sentence() {
    let mut bench = Bench::new();
    for (identity, names, expected) in [
        (operator(), ("shed", ""), "service \"shed\""),
        (operator(), ("", "shop-9"), "backend \"shop-9\""),
        (
            operator(),
            ("shop", "mail-1"),
            "backend \"mail-1\": service shop",
        ),
        (from(ONE), ("shop", "shop-2"), "this identity"),
        (from(TWO), ("mail", ""), "this identity"),
        (from("10.8.0.99"), ("", ""), "this identity"),
    ] {
        let (begun, told) = ask(&mut bench, identity, names, 1);
        let why = begun.unwrap_err();
        assert!(why.to_string().starts_with(expected), "{why}");
        let is_denied = matches!(why, Declined::Denied(_));
        assert_eq!(is_denied, expected == "this identity");
        assert!(told.is_closed());
    }
}

#[test]
fn s8_a_slow_reader_learns_how_many_it_has_missed_and_holds_nobody_up() {
    let mut bench = Bench::new();
    let (_, mut slow) = ask(&mut bench, operator(), ("", ""), 4);
    let mut quick = watch(&mut bench, operator());
    for number in 1..=10 {
        bench.start(ONE, &format!("192.0.2.{number}"));
    }
    assert_eq!(said(&mut quick).len(), 10);
    let first: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
    let sequences: Vec<_> = first.iter().map(sequence).collect();
    assert_eq!(sequences, [(1, 0), (2, 0), (3, 0), (4, 0)]);
    bench.start(ONE, "192.0.2.11");
    bench.start(ONE, "192.0.2.12");
    let then: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
    let sequences: Vec<_> = then.iter().map(sequence).collect();
    assert_eq!(sequences, [(10, 6), (11, 0), (12, 0)]);
    assert_eq!(bench.control.watchers.counts(), (2, 18, 6));
}

/// The sequence, and how many are missing.
fn sequence(told: &Told) -> (u64, u64) {
    match told {
        Told::Event { sequence, .. } => (*sequence, 0),
        Told::Gap { sequence, lost, .. } => (*sequence, *lost),
    }
}

#[test]
fn s8_nothing_is_told_between_what_was_lost_and_its_gap() {
    let mut bench = Bench::new();
    let (_, mut slow) = ask(&mut bench, operator(), ("", ""), 8);
    for number in 1..=10 {
        bench.start(ONE, &format!("192.0.2.{number}"));
    }
    assert_eq!(slow.try_recv().map(|it| sequence(&it)), Ok((1, 0)));
    bench.start(ONE, "192.0.2.11");
    assert_eq!(
        slow.len(),
        7,
        "there is room for one, but not for a gap and what follows it"
    );
    assert_eq!(slow.try_recv().map(|it| sequence(&it)), Ok((2, 0)));
    bench.start(ONE, "192.0.2.12");
    let rest: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
    let rest: Vec<_> = rest.iter().map(sequence).collect();
    assert_eq!(rest[5..], [(8, 0), (11, 3), (12, 0)]);
}

#[test]
fn s8_what_has_expired_is_not_told_suspended() {
    let mut bench = Bench::new();
    let mut told = watch(&mut bench, from(ONE));
    bench.start_for(ONE, CLIENT, Asked::Milliseconds(1));
    bench.after(1).health("shop-1", false);
    bench.after(1_000).turn(vec![]);
    let expected = [is(Kind::Started, CLIENT), is(Kind::Expired, CLIENT)];
    assert_eq!(said(&mut told), expected);
}

#[test]
fn s8_a_gap_is_told_also_when_nothing_happens_after_it() {
    let mut bench = Bench::new();
    let (_, mut slow) = ask(&mut bench, operator(), ("", ""), 1);
    bench.start(ONE, "192.0.2.1");
    bench.start(ONE, "192.0.2.2");
    assert_eq!(slow.try_recv().map(|it| sequence(&it)), Ok((1, 0)));
    bench.after(20).turn(vec![]);
    assert_eq!(slow.try_recv().map(|it| sequence(&it)), Ok((2, 1)));
}

#[test]
fn s8_watchers_are_limited_and_make_room_when_they_go() {
    let mut bench = Bench::new();
    let mut watchers: Vec<_> = (0..1024).map(|_| watch(&mut bench, operator())).collect();
    let (begun, _) = ask(&mut bench, operator(), ("", ""), 1);
    assert!(matches!(begun, Err(Declined::Exhausted(_))), "{begun:?}");
    watchers.truncate(1000);
    bench.after(20).turn(vec![]);
    assert_eq!(bench.control.watchers.counts().0, 1000);
    watch(&mut bench, operator());
}

#[test]
fn s8_one_server_cannot_take_every_place() {
    let mut bench = Bench::new();
    let _watchers: Vec<_> = (0..64).map(|_| watch(&mut bench, from(ONE))).collect();
    let (begun, _) = ask(&mut bench, from(ONE), ("", ""), 1);
    assert!(matches!(begun, Err(Declined::Exhausted(_))), "{begun:?}");
    watch(&mut bench, from(TWO));
}

#[test]
fn s8_of_a_flood_a_slow_reader_is_told_how_many_there_were() {
    let mut bench = Bench::new();
    let (_, mut slow) = ask(&mut bench, operator(), ("", ""), 16);
    bench.send(from(ONE), starts(0..5_000));
    bench.ask(Request::AffinityFlush(AffinityFilter::default()));
    let first: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
    assert_eq!(first.len(), 16);
    bench.after(20).turn(vec![]);
    assert_eq!(slow.try_recv().map(|it| sequence(&it)), Ok((10_000, 9_984)));
}

#[test]
fn s8_an_owner_that_goes_down_suspends_and_one_that_comes_back_resumes() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    let mut one = watch(&mut bench, from(ONE));
    let mut all = watch(&mut bench, operator());
    bench.health("shop-1", false);
    let suspended = events(&mut one).pop().unwrap().1;
    assert_eq!(suspended.kind(), Kind::Suspended);
    assert_eq!(suspended.affinity.unwrap().state(), State::Suspended);
    disable(&mut bench, "shop-1");
    bench.health("shop-1", true);
    assert_eq!(said(&mut one), [], "it stays suspended: it is disabled now");
    let enable = admin("shop-1", AdminState::Enable);
    bench.ask(enable);
    assert_eq!(said(&mut one), [is(Kind::Resumed, "192.0.2.1")]);
    bench.ask(admin("shop-2", AdminState::Drain));
    let expected = [
        is(Kind::Suspended, "192.0.2.1"),
        is(Kind::Resumed, "192.0.2.1"),
    ];
    assert_eq!(said(&mut all), expected, "a drain suspends nothing");
}

fn admin(backend: &str, state: AdminState) -> Request {
    Request::BackendSet {
        service: "shop".into(),
        backend: backend.into(),
        state,
    }
}

fn disable(bench: &mut Bench, backend: &str) {
    bench.ask(admin(backend, AdminState::Disable));
}

#[test]
fn s8_what_ends_before_its_suspension_is_told_is_not_told_suspended_after_it() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (1..=200).map(|it| format!("192.0.2.{it}")).collect();
    let more = (1..=200).map(|it| format!("192.0.3.{it}"));
    let clients: Vec<_> = clients.into_iter().chain(more).collect();
    for client in &clients {
        bench.start(ONE, client);
    }
    let mut told = watch(&mut bench, from(ONE));
    bench.health("shop-1", false);
    let first = said(&mut told);
    assert!(
        !first.is_empty() && first.len() < clients.len(),
        "{}",
        first.len()
    );
    for client in &clients {
        bench.end(ONE, client);
    }
    let rest = said(&mut told);
    for client in &clients {
        let of = |told: &[(Kind, String)]| -> Vec<Kind> {
            let of = told.iter().filter(|(_, source)| source == client);
            of.map(|(kind, _)| *kind).collect()
        };
        let kinds = [of(&first), of(&rest)].concat();
        let is_in_order = kinds == [Kind::Ended] || kinds == [Kind::Suspended, Kind::Ended];
        assert!(is_in_order, "{client}: {kinds:?}");
    }
}

#[test]
fn s8_a_backend_that_flaps_leaves_each_affinity_told_as_it_is() {
    let mut bench = Bench::new();
    let start = |bench: &mut Bench, thousand: u32| {
        let numbers = thousand * 1_000..(thousand + 1) * 1_000;
        bench.send(from(ONE), starts(numbers));
    };
    start(&mut bench, 0);
    start(&mut bench, 1);
    let mut told = watch(&mut bench, from(ONE));
    let flaps = [
        (false, 0),
        (true, 2),
        (false, 0),
        (true, 3),
        (false, 0),
        (true, 4),
        (false, 0),
    ];
    for (up, thousand) in flaps {
        bench.health("shop-1", up);
        if up {
            start(&mut bench, thousand);
        }
    }
    for _ in 0..100 {
        bench.after(1).turn(vec![]);
    }
    assert!(!bench.control.watchers.is_telling());
    let mut last: hashbrown::HashMap<String, Kind> = hashbrown::HashMap::new();
    for (kind, source) in said(&mut told) {
        let before = last.insert(source.clone(), kind);
        let fits = match kind {
            Kind::Started => before.is_none(),
            Kind::Suspended => before != Some(Kind::Suspended),
            Kind::Resumed => before == Some(Kind::Suspended),
            _ => false,
        };
        assert!(fits, "{source}: {kind:?} after {before:?}");
    }
    assert_eq!(last.len(), 5_000);
    let other: Vec<_> = last
        .iter()
        .filter(|(_, it)| **it != Kind::Suspended)
        .take(3)
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn s8_where_nobody_watches_nothing_is_walked() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let mut two = watch(&mut bench, from(TWO));
    bench.health("shop-1", false);
    assert!(!bench.control.watchers.is_telling());
    let mut one = watch(&mut bench, from(ONE));
    bench.health("shop-1", true);
    assert_eq!(said(&mut one), [is(Kind::Resumed, CLIENT)]);
    assert_eq!(said(&mut two), []);
}
