//! `tetherctl top`, on a terminal that `script` makes.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use tether_api::operator::{BackendState, Payload, Request, Response};

use crate::{
    backend,
    daemon::{Daemon, finished, tetherctl},
    reading, service,
};

#[test]
fn it_refuses_what_is_no_terminal() {
    let run = finished(&tetherctl("/nonexistent".as_ref(), "top"));
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("stats --interval 1"), "{}", run.stderr);
    let run = finished(&tetherctl("/nonexistent".as_ref(), "top --json"));
    assert!(run.stderr.contains("has no JSON"), "{}", run.stderr);
    let run = finished(&tetherctl("/nonexistent".as_ref(), "top --interval 0"));
    assert_eq!(run.exit, 2);
}

#[test]
fn it_shows_what_happens_until_q() {
    let services = || {
        let mut shop = service();
        shop.backends = vec![backend("shop-7", BackendState::Draining)];
        vec![Response::Ok(Payload::Services(vec![shop]))]
    };
    let mut answers = vec![vec![reading(1_000, 0)]];
    for second in 2..100 {
        answers.extend([vec![reading(second * 1_000, second * 50)], services()]);
    }
    let daemon = Daemon::answering(answers);
    let line = format!(
        "stty rows 40 cols 120; {} --socket {} top --interval 0.05; echo exit $?",
        env!("CARGO_BIN_EXE_tetherctl"),
        daemon.socket().display()
    );
    let mut script = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of bsdutils");
    let (mut stdin, mut stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut seen, mut some) = (String::new(), [0; 4096]);
    let mut read_until = |word: &str| {
        while !seen.contains(word) {
            let bytes = stdout.read(&mut some).unwrap();
            assert!(bytes > 0, "no {word:?} before the end: {seen}");
            seen.push_str(&String::from_utf8_lossy(&some[..bytes]));
        }
    };
    read_until("shop-7");
    stdin.write_all(b"q").unwrap();
    read_until("exit 0");
    drop(stdin);
    script.wait().unwrap();
    for word in [
        "CYCLES/PACKET",
        "DROPPED BECAUSE OF",
        "draining",
        "\u{1b}[?1049l",
    ] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    let requests = daemon.requests();
    assert_eq!(
        requests[..3],
        [Request::Stats, Request::Stats, Request::ServiceList]
    );
}
