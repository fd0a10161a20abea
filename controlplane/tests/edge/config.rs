//! `tetherctl config` over the operator socket, and what follows a configuration.

use crate::{
    bench::{BACKEND, BY_ADDRESS, Edge, decide, text},
    operator::Operator,
};
use std::{sync::mpsc, time::Duration};
use tether_api::operator::{
    CONFIG_REQUEST_BYTES_MAX, ChangeKind, ConfigApplied, ConfigCheck, ConfigDiff, ConfigFile,
    Failure, Payload, Request, Response,
};
use tether_controlplane::{
    command::{Command, Reloaded},
    config::Config,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file with `rest` after the first service.
fn file(edge: &Edge, rest: &str) -> ConfigFile {
    let socket = edge.socket.display().to_string();
    ConfigFile {
        name: "new.toml".into(),
        text: text(&socket, BY_ADDRESS, rest),
    }
}

#[track_caller]
fn payload(edge: &Edge, request: &Request) -> Payload {
    match Operator::of(edge).ask(request) {
        Response::Ok(payload) => payload,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(edge: &Edge, rest: &str) -> ConfigCheck {
    match payload(edge, &Request::ConfigCheck(file(edge, rest))) {
        Payload::ConfigCheck(check) => check,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn diff(edge: &Edge, rest: &str) -> ConfigDiff {
    match payload(edge, &Request::ConfigDiff(file(edge, rest))) {
        Payload::ConfigDiff(diff) => diff,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn apply(edge: &Edge, rest: &str) -> ConfigApplied {
    match payload(edge, &Request::ConfigApply(file(edge, rest))) {
        Payload::ConfigApplied(applied) => applied,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(edge: &Edge, request: &Request) -> Failure {
    match Operator::of(edge).ask(request) {
        Response::Error(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn running(edge: &Edge) -> Config {
    match payload(edge, &Request::ConfigShow) {
        Payload::Config(shown) => Config::parse("shown", &shown.text).unwrap(),
        other => panic!("{other:?}"),
    }
}

const SHOP_2: &str = "
    [[service.backend]]
    name = \"shop-2\"
    address = \"10.9.0.12\"
";

#[test]
fn a_check_says_every_problem_with_its_place_and_what_needs_a_restart() {
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    assert_eq!(
        check(&edge, BACKEND),
        ConfigCheck {
            ok: true,
            ..ConfigCheck::default()
        }
    );
    let wrong = check(&edge, "prot = \"sctp\"\n[service.health]\nrise = 0");
    assert!(!wrong.ok);
    assert_eq!(wrong.problems.len(), 2, "{wrong:?}");
    let has_place = |line: &String| line.starts_with("new.toml:");
    assert!(wrong.problems.iter().all(has_place), "{wrong:?}");
    assert!(wrong.problems[0].contains("did you mean"), "{wrong:?}");

    let mut changed = file(&edge, BACKEND);
    changed.text = changed.text.replace("cores = [0]", "cores = [1]");
    match payload(&edge, &Request::ConfigCheck(changed)) {
        Payload::ConfigCheck(check) => {
            let expected = ["workers.cores changes only by a restart"];
            assert_eq!(check.problems, expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn l2_what_is_applied_is_what_was_compared_and_is_shown() {
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    let before = running(&edge);
    assert_eq!(before, Config::load(&edge.file).unwrap());
    let more = format!("{BACKEND}{SHOP_2}");
    let foretold = diff(&edge, &more);
    let [added] = foretold.changes.as_slice() else {
        panic!("{foretold:?}");
    };
    assert_eq!(added.kind, ChangeKind::Added);
    assert_eq!(added.backend.as_deref(), Some("shop-2"));
    assert_eq!(running(&edge), before, "a comparison changes nothing");

    let applied = apply(&edge, &more);
    assert_eq!(applied.changes, foretold.changes);
    assert_eq!(applied.file, edge.file.display().to_string());
    assert!(!applied.file_agrees);
    assert_eq!(running(&edge).services[0].backends.len(), 2);
    assert_eq!(diff(&edge, &more), ConfigDiff::default());

    std::fs::write(&edge.file, file(&edge, &more).text).unwrap();
    let again = apply(&edge, &more);
    assert!(again.file_agrees && again.changes.is_empty(), "{again:?}");
}

#[test]
fn l2_what_is_refused_changes_nothing_and_says_why() {
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    let before = running(&edge);
    let wrong = file(&edge, "prot = \"sctp\"");
    for request in [
        Request::ConfigApply(wrong.clone()),
        Request::ConfigDiff(wrong),
    ] {
        let failure = refused(&edge, &request);
        assert!(failure.message.starts_with("new.toml:"), "{failure:?}");
        assert_eq!(failure.hint.as_deref(), Some("nothing was changed"));
    }
    let mut restart = file(&edge, SHOP_2);
    restart.text = restart.text.replace("10.9.0.2/24", "10.9.0.3/24");
    let failure = refused(&edge, &Request::ConfigApply(restart));
    assert_eq!(failure.message, "port changes only by a restart");
    assert_eq!(running(&edge), before);
}

/// Thousands of backends are more than other requests may be long.
#[test]
fn a_configuration_may_be_long_and_has_a_limit() {
    const SERVICES: usize = 120;
    const BACKENDS: usize = 80;
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    let backend = |number: usize| {
        let address = 10 + number;
        format!("[[service.backend]]\nname = \"b{number}\"\naddress = \"10.9.0.{address}\"\n")
    };
    let backends: String = (1..=BACKENDS).map(backend).collect();
    let service = |number: usize| {
        let port = 1000 + number;
        format!(
            "[[service]]\nname = \"s{number}\"\naddress = \"10.9.0.100\"\nport = {port}\n{backends}"
        )
    };
    let many: String = (1..=SERVICES).map(service).collect();
    let many = format!("{BACKEND}{many}");
    let applied = apply(&edge, &many);
    assert_eq!(applied.changes.len(), SERVICES * (1 + BACKENDS));
    assert_eq!(running(&edge).services.len(), SERVICES + 1);

    let name = "x".repeat(CONFIG_REQUEST_BYTES_MAX);
    let too_long = ConfigFile {
        name,
        text: String::new(),
    };
    let failure = refused(&edge, &Request::ConfigCheck(too_long));
    let limit = CONFIG_REQUEST_BYTES_MAX.to_string();
    assert!(failure.message.contains(&limit), "{failure:?}");
}

/// What a test's control thread has seen, in order.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Health(bool),
    Reload(bool),
}

/// The control thread refuses the first configuration and accepts the second; neither has probes.
#[test]
fn l2_probes_follow_only_what_was_taken_over() {
    let probed = format!(
        "{}\n{BACKEND}",
        "[service.health]\ncheck = \"http\"\npath = \"/health\"\ninterval = \"100ms\"\ntimeout = \"50ms\"\nfall = 1"
    );
    let (seen, commands) = mpsc::channel();
    let mut accepts = false;
    let edge = Edge::with(BY_ADDRESS, &probed, move |command| match command {
        Command::Health { up, .. } => seen.send(Seen::Health(up)).unwrap(),
        Command::Reload { reply, .. } => {
            seen.send(Seen::Reload(accepts)).unwrap();
            let answer = if accepts {
                Ok(Reloaded::default())
            } else {
                Err(vec!["no".to_owned()])
            };
            reply.send(answer).unwrap();
            accepts = true;
        }
        command => decide(command),
    });
    let next = || commands.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), Seen::Health(false));
    let request = Request::ConfigApply(file(&edge, BACKEND));
    assert_eq!(refused(&edge, &request).message, "no");
    apply(&edge, BACKEND);
    let rest: Vec<_> = (0..3).map(|_| next()).collect();
    let expected = [Seen::Reload(false), Seen::Reload(true), Seen::Health(true)];
    assert_eq!(rest, expected);
}
