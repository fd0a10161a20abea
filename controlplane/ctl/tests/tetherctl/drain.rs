//! `tetherctl backend drain --wait` (contract rule B3).

use tether_api::operator::{AdminState, Backend, BackendState, Payload, Request, Response};

use crate::{backend, daemon::Daemon};

fn left(flows: u64, affinities: u64) -> Backend {
    Backend {
        flows,
        affinities,
        drained: (flows, affinities) == (0, 0),
        ..backend("shop-1", BackendState::Draining)
    }
}

/// A daemon that says so at the drain, and then whenever it is asked.
fn draining(first: Backend, then: Vec<Vec<Backend>>) -> Daemon {
    let first = vec![Response::Ok(Payload::Backend(first))];
    let then = then.into_iter();
    let then = then.map(|backends| vec![Response::Ok(Payload::Backends(backends))]);
    Daemon::answering([first].into_iter().chain(then).collect())
}

fn others() -> Backend {
    backend("shop-2", BackendState::Up)
}

#[test]
fn b3_a_drain_that_is_waited_for_says_what_is_left_until_nothing_is() {
    let then = [left(12, 3), left(2, 0), left(0, 0)].map(|it| vec![others(), it]);
    let run = draining(left(12, 3), then.to_vec()).run("backend drain shop shop-1 --wait");
    assert_eq!(run.exit, 0, "{}", run.stderr);
    let expected = "\
shop/shop-1 drains: 12 flows, 3 affinities left
shop/shop-1 drains: 2 flows, 0 affinities left
shop/shop-1 is drained: 0 flows, 0 affinities left
";
    assert_eq!(run.stdout, expected);
    let drain = Request::BackendSet {
        service: "shop".into(),
        backend: "shop-1".into(),
        state: AdminState::Drain,
    };
    assert_eq!(run.requests[0], drain);
    assert_eq!(run.requests.len(), 4);
}

#[test]
fn b3_in_json_the_end_of_a_drain_is_told() {
    let run =
        draining(left(1, 0), vec![vec![left(0, 0)]]).run("--json backend drain shop shop-1 --wait");
    let backend: Backend = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.exit, backend), (0, left(0, 0)));
}

#[test]
fn b3_a_drain_that_somebody_takes_back_is_exit_1() {
    let up = backend("shop-1", BackendState::Up);
    for (then, why) in [(vec![up], "is up again"), (vec![others()], "was removed")] {
        let run = draining(left(1, 0), vec![then]).run("backend drain shop shop-1 --wait");
        assert_eq!(run.exit, 1);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

#[test]
fn b3_a_drain_that_is_not_waited_for_shows_whether_it_is_complete() {
    for (left, word) in [(left(2, 0), "no"), (left(0, 0), "yes")] {
        let run = draining(left, vec![]).run("backend drain shop shop-1");
        let row = run.stdout.lines().nth(1).unwrap();
        assert!(row.ends_with(word), "{}", run.stdout);
    }
}
