//! The operator socket as `tetherctl` and `socat` see it.

use crate::bench::{Edge, decide};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::Duration,
};
use tether_api::operator::{
    Affinity, End, Entry, Failure, Flushed, Payload, REQUEST_BYTES_MAX, Request, Response,
};
use tether_controlplane::command::Command;

/// A connection of an operator.
pub(crate) struct Operator(BufReader<UnixStream>);

impl Operator {
    pub(crate) fn of(edge: &Edge) -> Self {
        let stream = UnixStream::connect(&edge.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request and hears the first line of its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.say(&line);
        self.hear()
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn hear(&mut self) -> Response {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn hear_error(&mut self) -> Failure {
        match self.hear() {
            Response::Error(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

const FLUSHED: Response = Response::Ok(Payload::Flushed(Flushed { ended: 2 }));
const ASK: &[u8] = b"{\"verb\":\"affinity_flush\"}\n";

fn flush(command: Command) {
    if let Command::Operator { lines, .. } = command {
        lines.blocking_send(FLUSHED).unwrap();
    }
}

#[test]
fn p3_the_operator_is_known_by_the_uid_of_his_process() {
    let (seen, requests) = mpsc::channel();
    let edge = Edge::start(move |command| {
        if let Command::Operator { uid, request, .. } = &command {
            seen.send((*uid, request.clone())).unwrap();
        }
        flush(command);
    });
    let mut operator = Operator::of(&edge);
    operator.say(ASK);
    assert_eq!(operator.hear(), FLUSHED);
    let (uid, request) = requests.recv().unwrap();
    assert_eq!(uid, rustix::process::getuid().as_raw());
    assert!(matches!(request, Request::AffinityFlush(_)));
}

#[test]
fn what_is_no_request_gets_an_error_line_and_the_next_request_its_answer() {
    let edge = Edge::start(flush);
    let mut operator = Operator::of(&edge);
    operator.say(b"{\"verb\":\n");
    assert!(operator.hear_error().message.contains("EOF"), "bad JSON");
    operator.say(b"{\"verb\":\"make_coffee\"}\n");
    let unknown = operator.hear_error();
    assert!(unknown.message.contains("make_coffee"), "{unknown:?}");
    assert!(unknown.hint.unwrap().contains("version"));
    operator.say(b"\xff\xfe\n\n");
    operator.hear_error();
    operator.say(ASK);
    assert_eq!(operator.hear(), FLUSHED);
}

#[test]
fn two_requests_at_once_are_answered_in_turn() {
    let edge = Edge::start(flush);
    let mut operator = Operator::of(&edge);
    operator.say(&[ASK, ASK].concat());
    assert_eq!([operator.hear(), operator.hear()], [FLUSHED, FLUSHED]);
}

#[test]
fn a_line_beyond_the_limit_is_refused_and_hung_up_on() {
    let edge = Edge::start(flush);
    let mut operator = Operator::of(&edge);
    operator.say(&vec![b' '; REQUEST_BYTES_MAX + 1]);
    assert!(operator.hear_error().message.contains("65536"));
    let mut rest = String::new();
    let ended = operator.0.read_line(&mut rest);
    assert!(!ended.is_ok_and(|bytes| bytes > 0), "{rest}");
}

#[test]
fn the_longest_line_is_read() {
    let edge = Edge::start(flush);
    let mut operator = Operator::of(&edge);
    let mut line = vec![b' '; REQUEST_BYTES_MAX];
    line[..ASK.len() - 1].copy_from_slice(&ASK[..ASK.len() - 1]);
    line.push(b'\n');
    operator.say(&line);
    assert_eq!(operator.hear(), FLUSHED);
}

#[test]
fn an_answer_that_is_cut_off_says_so() {
    let edge = Edge::start(drop);
    let mut operator = Operator::of(&edge);
    operator.say(ASK);
    assert!(operator.hear_error().message.contains("stopped"));
}

/// One operator asks for much and reads nothing of it; another one is served meanwhile.
#[test]
fn a_slow_reader_blocks_nobody() {
    const ENTRIES: u64 = 20_000;
    let edge = Edge::start(|command| match command {
        Command::Operator {
            request: Request::AffinityList(_),
            lines,
            ..
        } => {
            thread::spawn(move || {
                for _ in 0..ENTRIES {
                    let entry = Response::Entry(Entry::Affinity(Affinity::default()));
                    lines.blocking_send(entry).unwrap();
                }
                let end = End { entries: ENTRIES };
                lines.blocking_send(Response::End(end)).unwrap();
            });
        }
        command => flush(command),
    });
    let mut slow = Operator::of(&edge);
    slow.say(b"{\"verb\":\"affinity_list\"}\n");
    assert!(matches!(slow.hear(), Response::Entry(_)));
    let mut other = Operator::of(&edge);
    other.say(ASK);
    assert_eq!(other.hear(), FLUSHED);
    let entries =
        std::iter::repeat_with(|| slow.hear()).take_while(|it| matches!(it, Response::Entry(_)));
    assert_eq!(entries.count() as u64, ENTRIES - 1);
}

#[test]
fn there_is_a_limit_of_operators_and_it_is_told() {
    let edge = Edge::start(flush);
    let mut operators: Vec<_> = (0..64).map(|_| Operator::of(&edge)).collect();
    for operator in &mut operators {
        operator.say(ASK);
        assert_eq!(operator.hear(), FLUSHED);
    }
    let mut refused = Operator::of(&edge);
    assert!(refused.hear_error().message.contains("64 operators"));
}

#[test]
fn the_socket_goes_with_the_daemon() {
    let mut edge = Edge::start(decide);
    assert!(edge.socket.exists());
    edge.server.take().unwrap().stop();
    assert!(!edge.socket.exists());
}
