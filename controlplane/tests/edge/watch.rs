//! Contract rules S8 and S9 over real connections, with the real control thread.

use crate::{
    bench::{BY_ADDRESS, Edge},
    certificates::{Files, authority, certificate, connect},
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};
use tether_api::{
    operator::{Entry, EventKind, Payload, Response},
    v1::{
        self, Event, ListRequest, SignalBatch, StartRequest, WatchRequest,
        affinity_client::AffinityClient, event::Kind,
    },
};
use tether_controlplane::command::{Command, Declined};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

/// Two backends of two addresses and two certificates.
const BACKENDS: &str = r#"
    [[service.backend]]
    name = "shop-1"
    address = "10.9.0.11"
    signal_from = ["127.0.0.1"]
    [[service.backend]]
    name = "shop-2"
    address = "10.9.0.12"
    signal_from = ["127.0.0.2"]
"#;

/// Nothing takes longer here.
const SOON: Duration = Duration::from_secs(30);

type Client = AffinityClient<Channel>;

async fn client(edge: &Edge, address: &str) -> Client {
    let own = address.parse().unwrap();
    let endpoint = edge.endpoint().local_address(Some(own));
    AffinityClient::new(endpoint.connect().await.unwrap())
}

async fn watch(client: &mut Client) -> Streaming<Event> {
    let watching = client.watch(WatchRequest::default());
    watching.await.unwrap().into_inner()
}

async fn start(client: &mut Client, source: &str) {
    let request = StartRequest {
        service: "shop".into(),
        source: source.into(),
        ..Default::default()
    };
    let outcome = client.start(request).await.unwrap().into_inner();
    assert!(outcome.code().is_positive(), "{outcome:?}");
}

async fn next(events: &mut Streaming<Event>) -> Event {
    let event = tokio::time::timeout(SOON, events.message()).await.unwrap();
    event.unwrap().unwrap()
}

/// Each starts two affinities and is told of just these, the first ones included: a watch is on
/// when its response has come.
async fn assert_apart(one: &mut Client, two: &mut Client) {
    let (mut of_one, mut of_two) = (watch(one).await, watch(two).await);
    for source in ["10.1.0.1", "10.1.0.2"] {
        start(one, source).await;
        start(two, &source.replace("10.1", "10.2")).await;
    }
    for (events, owner, sources) in [
        (&mut of_one, "shop-1", ["10.1.0.1", "10.1.0.2"]),
        (&mut of_two, "shop-2", ["10.2.0.1", "10.2.0.2"]),
    ] {
        for (sequence, source) in (1..).zip(sources) {
            let event = next(events).await;
            assert_eq!((event.kind(), event.sequence), (Kind::Started, sequence));
            let affinity = event.affinity.unwrap();
            assert_eq!((&*affinity.owner, &*affinity.source), (owner, source));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s8_backends_of_two_addresses_see_their_own_only() {
    let edge = Edge::real(BY_ADDRESS, BACKENDS);
    let mut one = client(&edge, "127.0.0.1").await;
    let mut two = client(&edge, "127.0.0.2").await;
    assert_apart(&mut one, &mut two).await;
    let mut stranger = client(&edge, "127.0.0.3").await;
    let refused = stranger.watch(WatchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s8_backends_of_two_certificates_see_their_own_only() {
    let authority = authority();
    let files = Files::of(&authority);
    let edge = Edge::real(&files.keys(), BACKENDS);
    let client = async |name: &str| {
        let own = certificate(&authority, name);
        connect(&edge, &authority, Some(&own)).await.unwrap()
    };
    let (mut one, mut two) = (client("shop-1").await, client("shop-2").await);
    assert_apart(&mut one, &mut two).await;
}

/// A batch that refreshes one affinity again and again.
fn refreshes(sequence: u64) -> SignalBatch {
    let mut signal = v1::Signal {
        operation: v1::signal::Operation::Start.into(),
        service_index: 1,
        ..Default::default()
    };
    signal.set_source(&"10.1.2.3".parse().unwrap());
    SignalBatch {
        sequence,
        services: vec!["shop".into()],
        signals: vec![signal; 4096],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s8_a_reader_that_does_not_read_holds_nobody_up_and_learns_what_it_missed() {
    const BATCHES: u64 = 12;
    let edge = Edge::real(BY_ADDRESS, BACKENDS);
    let mut slow = client(&edge, "127.0.0.1").await;
    let mut events = watch(&mut slow).await;
    let (sender, batches) = tokio::sync::mpsc::channel(1);
    let mut busy = client(&edge, "127.0.0.1").await;
    let answers = busy.signals(ReceiverStream::new(batches)).await;
    let mut answers = answers.unwrap().into_inner();
    for sequence in 1..=BATCHES {
        sender.send(refreshes(sequence)).await.unwrap();
        let answer = tokio::time::timeout(SOON, answers.message()).await.unwrap();
        assert_eq!(answer.unwrap().unwrap().outcomes.len(), 4096);
    }
    let (mut last, mut missing) = (0, 0);
    while last < BATCHES * 4096 {
        let event = next(&mut events).await;
        let expected = match event.kind() {
            Kind::Gap => last + event.lost,
            _ => last + 1,
        };
        assert_eq!(event.sequence, expected);
        last = event.sequence;
        missing += event.lost;
    }
    assert!(missing > 0, "the queue has held everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s8_a_watch_ends_when_the_forwarder_stops() {
    let mut edge = Edge::real(BY_ADDRESS, BACKENDS);
    let mut client = client(&edge, "127.0.0.1").await;
    let mut events = watch(&mut client).await;
    let server = edge.server.take().unwrap();
    let begun = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    let ended = tokio::time::timeout(SOON, events.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    drop((events, client));
    stopping.await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "nothing is cut off"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s8_one_watcher_too_many_is_told_so() {
    let edge = Edge::start(|command| {
        if let Command::Watch { reply, .. } = command {
            let full = Declined::Exhausted("there are enough".into());
            reply.send(Err(full)).unwrap();
        }
    });
    let mut client = edge.client().await;
    let refused = client.watch(WatchRequest::default()).await.unwrap_err();
    let said = (refused.code(), refused.message());
    assert_eq!(said, (Code::ResourceExhausted, "there are enough"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s9_what_cannot_be_listed_is_an_invalid_argument() {
    type Spoil = fn(&mut ListRequest);
    let edge = Edge::real(BY_ADDRESS, BACKENDS);
    let mut client = client(&edge, "127.0.0.1").await;
    let cases: [(&str, Spoil); 4] = [
        ("shed", |it| it.service = "shed".into()),
        ("source", |it| it.source = "10.1.2".into()),
        ("state", |it| it.state = 9),
        ("after", |it| it.after = "x".into()),
    ];
    for (field, spoil) in cases {
        let mut request = ListRequest::default();
        spoil(&mut request);
        let refused = client.list(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused}");
    }
}

fn watchers(edge: &Edge) -> String {
    let mut stream = TcpStream::connect(edge.metrics.unwrap()).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let mut lines = page.lines();
    let line = lines.find(|it| it.starts_with("tether_watchers "));
    line.unwrap().to_owned()
}

fn wait_for_watchers(edge: &Edge, expected: &str) {
    let begun = Instant::now();
    while watchers(edge) != expected {
        assert!(begun.elapsed() < SOON, "{}", watchers(edge));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn s8_an_operator_watches_until_he_hangs_up() {
    let edge = Edge::real(BY_ADDRESS, BACKENDS);
    let connect = || {
        let stream = UnixStream::connect(&edge.socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        BufReader::new(stream)
    };
    let say = |stream: &mut BufReader<UnixStream>, line: &str| {
        stream.get_mut().write_all(line.as_bytes()).unwrap();
    };
    let hear = |stream: &mut BufReader<UnixStream>| -> Response {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let mut watcher = connect();
    say(
        &mut watcher,
        "{\"verb\":\"affinity_watch\",\"service\":\"shed\"}\n",
    );
    assert!(matches!(hear(&mut watcher), Response::Error(_)));
    say(
        &mut watcher,
        "{\"verb\":\"affinity_watch\",\"backend\":\"shop-2\"}\n",
    );
    let begun = hear(&mut watcher);
    assert!(
        matches!(begun, Response::Ok(Payload::Watching(_))),
        "{begun:?}"
    );
    assert_eq!(watchers(&edge), "tether_watchers 1");

    let mut other = connect();
    for (backend, source) in [("shop-1", "10.1.0.1"), ("shop-2", "10.1.0.2")] {
        let start = format!(
            "{{\"verb\":\"affinity_start\",\"service\":\"shop\",\"source\":\"{source}\",\"backend\":\"{backend}\"}}\n"
        );
        say(&mut other, &start);
        assert!(matches!(hear(&mut other), Response::Ok(_)));
    }
    let Response::Entry(Entry::Event(event)) = hear(&mut watcher) else {
        panic!("no event");
    };
    assert_eq!((event.event, event.sequence), (EventKind::Started, 1));
    assert_eq!(event.affinity.unwrap().source, "10.1.0.2");

    say(&mut watcher, "{\"verb\":\"affinity_count\"}\n");
    assert!(matches!(hear(&mut watcher), Response::End(end) if end.entries == 1));
    assert!(matches!(
        hear(&mut watcher),
        Response::Ok(Payload::AffinityCount(_))
    ));
    say(&mut watcher, "{\"verb\":\"affinity_watch\"}\n");
    hear(&mut watcher);
    wait_for_watchers(&edge, "tether_watchers 1");
    drop(watcher);
    wait_for_watchers(&edge, "tether_watchers 0");
}
