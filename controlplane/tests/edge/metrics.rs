//! The metrics listener as Prometheus and an orchestrator see it.

use crate::bench::Edge;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};
use tether_api::operator::{Payload, Response, Status, Worker};
use tether_controlplane::command::Command;

pub(crate) fn get(edge: &Edge, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(edge.metrics.unwrap()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

fn edge(reporting: bool) -> Edge {
    Edge::start(move |command| match command {
        Command::Metrics(reply) => reply.send("tether_up 1\n".into()).unwrap(),
        Command::Operator { lines, .. } => {
            let status = Status {
                ready: true,
                workers: vec![Worker {
                    reporting,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = Response::Ok(Payload::Status(status));
            lines.blocking_send(answer).unwrap();
        }
        _ => {}
    })
}

#[test]
fn counters_are_read_when_they_are_asked_for() {
    assert_eq!(get(&edge(true), "/metrics"), (200, "tether_up 1\n".into()));
}

#[test]
fn healthy_is_not_ready() {
    let edge = edge(false);
    assert_eq!(get(&edge, "/healthz").0, 200);
    let (status, body) = get(&edge, "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("does not report"), "{body}");
}

#[test]
fn ready_says_so_and_unknown_pages_say_what_there_is() {
    let edge = edge(true);
    assert_eq!(get(&edge, "/readyz").0, 200);
    let (status, body) = get(&edge, "/");
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
}
