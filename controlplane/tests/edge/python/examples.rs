//! The examples in `controlplane/client/examples/python`.

use super::{BACKEND, Certificates, file, output, python};
use crate::bench::{BY_ADDRESS, Edge, decide};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    sync::mpsc,
};
use tether_controlplane::{
    command::Command,
    signal::{Destination, Operation, Signal},
};

const EXAMPLES: &str = "controlplane/client/examples/python";

/// A shop that runs; killed when dropped.
struct Shop {
    process: Child,
    address: SocketAddr,
}

impl Shop {
    fn open(tether: &str) -> Self {
        let mut process = python(&file(EXAMPLES).join("shop.py"))
            .args(["--listen", "127.0.0.1:0", "--name", "shop-1", "--tether"])
            .arg(tether)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let printed = process.stdout.as_mut().unwrap();
        BufReader::new(printed).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("shop-1 listens on ").unwrap();
        let address = address.parse().unwrap();
        Self { process, address }
    }

    /// What it answers to a request, where the customer came from, and the cookie.
    fn ask(&self, request: &str, cookie: &str) -> (Value, SocketAddr, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let text = format!(
            "{request} HTTP/1.1\r\nHost: shop\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let cookie = head.lines().find_map(|it| it.strip_prefix("Set-Cookie: "));
        let cookie = cookie.unwrap_or_default().split(';').next().unwrap();
        let peer = stream.local_addr().unwrap();
        (serde_json::from_str(body).unwrap(), peer, cookie.to_owned())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn s5_a_server_in_python_signals_by_the_two_addresses_of_its_socket() {
    let (seen, signals) = mpsc::channel::<Signal>();
    let edge = Edge::start(move |command| {
        if let Command::Signals { signals, .. } = &command {
            seen.send(signals[0].clone()).unwrap();
        }
        decide(command);
    });
    let shop = Shop::open(&edge.signals.unwrap().to_string());
    let (login, peer, cookie) = shop.ask("POST /login", "");
    assert_eq!(login["code"], "CREATED", "{login}");
    let start = signals.recv().unwrap();
    assert_eq!(start.destination, Destination::Address(shop.address));
    assert_eq!(start.source, Ok(peer.ip().to_string().parse().unwrap()));
    assert!(matches!(start.operation, Operation::Start { .. }));
    assert_ne!(start.boot_id, 0);

    let (cart, ..) = shop.ask("POST /cart?item=shoes", &cookie);
    assert_eq!(cart, json!({"cart": ["shoes"], "server": "shop-1"}));
    let (_, _, second) = shop.ask("POST /login", "");
    assert_eq!(
        signals.recv().unwrap(),
        start,
        "somebody else at that address"
    );
    let (logout, ..) = shop.ask("POST /logout", &second);
    assert_eq!(logout["code"], Value::Null, "the first goes on");
    let (logout, ..) = shop.ask("POST /logout", &cookie);
    assert_eq!(logout["cart"], json!(["shoes"]));
    let end = signals.recv().unwrap();
    assert_eq!(
        (end.destination, end.source),
        (start.destination, start.source)
    );
    assert!(matches!(end.operation, Operation::End { .. }));
}

#[test]
fn a_server_in_python_serves_while_the_forwarder_is_away() {
    let shop = Shop::open("127.0.0.1:1");
    let (login, _, cookie) = shop.ask("POST /login", "");
    assert_eq!(login["code"], Value::Null);
    assert!(login["detail"].as_str().unwrap().starts_with("UNAVAILABLE"));
    let (cart, ..) = shop.ask("POST /cart?item=shoes", &cookie);
    assert_eq!(cart["cart"], json!(["shoes"]));
}

#[test]
fn every_call_of_the_protocol_works_from_python() {
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    check_every_call(&edge, &[]);
}

#[test]
fn p1_a_server_in_python_is_known_by_its_certificate() {
    let certificates = Certificates::new();
    let edge = certificates.edge();
    let flags = ["--tls-ca", "--tls-certificate", "--tls-key"];
    let files = ["ca.pem", "shop-1.pem", "shop-1.key"].map(|name| certificates.path(name));
    let mut arguments: Vec<_> = flags
        .iter()
        .zip(&files)
        .flat_map(|(flag, file)| [*flag, file.as_str()])
        .collect();
    arguments.extend(["--tls-server-name", "forwarder"]);
    check_every_call(&edge, &arguments);
}

/// `signals.py` starts an affinity of each source, extends the first, lists all and ends all.
#[track_caller]
fn check_every_call(edge: &Edge, tls: &[&str]) {
    let given = ["10.1.2.3", "10.1.2.4:5000", "10.77.5.5/16"];
    let sources = ["10.1.2.3", "10.1.2.4:5000", "10.77.0.0/16"];
    let mut command = python(&file(EXAMPLES).join("signals.py"));
    command
        .arg("--tether")
        .arg(edge.signals.unwrap().to_string());
    let text = output(command.args(["--service", "shop"]).args(tls).args(given));
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let (events, said): (Vec<Value>, _) = lines.partition(|line: &Value| line["what"] == "event");

    let said: Vec<_> = said.iter().map(short).collect();
    let each = |what: &str, rest: &str| {
        let lines = sources.map(|source| format!("{what} {source} {rest}"));
        lines.to_vec()
    };
    let mut expected = vec!["hello".to_owned()];
    expected.extend(each("start", "CREATED"));
    expected.push("extend 10.1.2.3 EXTENDED".to_owned());
    expected.extend(each("entry", "ACTIVE shop-1"));
    expected.extend(each("end", "ENDED"));
    let mut sorted = (said.clone(), expected.clone());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1, "{text}");
    assert_eq!(said[..5], expected[..5], "{text}");
    let extended = text.lines().find(|line| line.contains("\"extend\""));
    assert!(
        extended.unwrap().contains("\"remaining_ms\": 3600000"),
        "{text}"
    );
    check_events(&events);
}

/// The events tell the whole story.
#[track_caller]
fn check_events(events: &[Value]) {
    let kinds: Vec<_> = events.iter().map(|it| it["kind"].as_str()).collect();
    let expected = [
        "STARTED", "STARTED", "STARTED", "EXTENDED", "ENDED", "ENDED", "ENDED",
    ];
    assert_eq!(kinds, expected.map(Some), "{events:?}");
    assert!(events[4..].iter().all(|it| it["reason"] == "owner"));
}

fn short(line: &Value) -> String {
    let words = ["what", "source", "code", "state", "owner"].map(|name| line[name].as_str());
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
