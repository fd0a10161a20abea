//! The gRPC service as a server's client library sees it.

use crate::bench::{EPOCH, Edge, decide, outcome};
use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
};
use tether_api::{
    BATCH_SIGNALS_MAX,
    v1::{
        self, AffinityEntry, EndRequest, ExtendRequest, ListRequest, OutcomeCode, SignalBatch,
        StartRequest, WatchRequest,
    },
};
use tether_controlplane::{
    command::{Command, NotAcknowledged, Outcomes},
    journal::NotRecorded,
    signal::{Identity, Operation},
};
use tokio::sync::mpsc as async_mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Code;

fn request() -> StartRequest {
    StartRequest {
        service: "shop".into(),
        source: "10.1.2.3/16".into(),
        ..Default::default()
    }
}

fn batch(sequence: u64, sources: &[&str]) -> SignalBatch {
    let signal = |source: &&str| {
        let mut signal = v1::Signal {
            operation: v1::signal::Operation::Start.into(),
            service_index: 1,
            ..Default::default()
        };
        signal.set_source(&source.parse().unwrap());
        signal
    };
    SignalBatch {
        sequence,
        services: vec!["shop".into()],
        signals: sources.iter().map(signal).collect(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_unary_signal_is_answered_by_its_outcome() {
    let edge = Edge::start(decide);
    let outcome = edge
        .client()
        .await
        .start(request())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Created);
    assert_eq!(
        (outcome.key.as_str(), outcome.epoch),
        ("10.1.0.0/16", EPOCH)
    );
    assert_eq!(
        (outcome.owner.as_str(), outcome.granted_ms),
        ("shop-1", 1000)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_cannot_be_read_is_an_outcome_and_no_error() {
    let edge = Edge::start(decide);
    let request = StartRequest {
        source: "10.1.2".into(),
        ..request()
    };
    let outcome = edge
        .client()
        .await
        .start(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Invalid);
    assert!(outcome.detail.contains("write 10.1.2.3"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_the_sender_is_the_address_of_its_connection() {
    let (seen, identities) = mpsc::channel();
    let edge = Edge::start(move |command| {
        if let Command::Signals { identity, .. } = &command {
            seen.send(identity.clone()).unwrap();
        }
        decide(command);
    });
    edge.client().await.start(request()).await.unwrap();
    let loopback = Identity::Address("127.0.0.1".parse().unwrap());
    assert_eq!(identities.recv().unwrap(), loopback);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn extend_and_end_carry_their_generation() {
    let (seen, operations) = mpsc::channel();
    let edge = Edge::start(move |command| {
        if let Command::Signals { signals, .. } = &command {
            seen.send(signals[0].operation).unwrap();
        }
        decide(command);
    });
    let mut client = edge.client().await;
    let extend = ExtendRequest {
        generation: Some(4),
        ..Default::default()
    };
    client.extend(extend).await.unwrap();
    client.end(EndRequest::default()).await.unwrap();
    let extend = operations.recv().unwrap();
    let generation = Some(4);
    assert!(matches!(extend, Operation::Extend { generation: it, .. } if it == generation));
    let end = operations.recv().unwrap();
    assert_eq!(end, Operation::End { generation: None });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s3_batches_are_answered_in_order_signal_by_signal() {
    let edge = Edge::start(decide);
    let (sender, batches) = async_mpsc::channel(8);
    let sent = ReceiverStream::new(batches);
    let mut answers = edge
        .client()
        .await
        .signals(sent)
        .await
        .unwrap()
        .into_inner();
    for sequence in [5, 6] {
        sender
            .send(batch(sequence, &["10.1.2.3", "10.1.2.4:99"]))
            .await
            .unwrap();
    }
    sender.send(batch(7, &[])).await.unwrap();
    for (sequence, count) in [(5, 2), (6, 2), (7, 0)] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.sequence, answer.epoch), (sequence, EPOCH));
        assert_eq!(answer.outcomes.len(), count);
        assert!(
            answer
                .outcomes
                .iter()
                .all(|it| it.code() == OutcomeCode::Created)
        );
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_batch_beyond_the_limit_ends_the_stream_after_the_answers_before_it() {
    let edge = Edge::start(decide);
    let mut long = batch(2, &["10.1.2.3"]);
    long.signals = vec![long.signals[0].clone(); BATCH_SIGNALS_MAX + 1];
    let sent = tokio_stream::iter([batch(1, &["10.1.2.3"]), long]);
    let mut answers = edge
        .client()
        .await
        .signals(sent)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 1);
    let error = answers.message().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("at most 4096"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_longest_batch_fits() {
    let edge = Edge::start(decide);
    let mut long = batch(1, &["[fd00::1]:5000"]);
    long.signals = vec![long.signals[0].clone(); BATCH_SIGNALS_MAX];
    let sent = tokio_stream::iter([long]);
    let mut answers = edge
        .client()
        .await
        .signals(sent)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.outcomes.len(), BATCH_SIGNALS_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s6_the_end_of_a_stream_is_told_only_if_something_is_bound_to_it() {
    let (seen, sessions) = mpsc::channel();
    let edge = Edge::start(move |command| {
        match &command {
            Command::Signals { signals, .. } => seen.send(session(&signals[0].operation)).unwrap(),
            Command::SessionClosed(session) => seen.send(Some(*session)).unwrap(),
            _ => {}
        }
        decide(command);
    });
    let mut client = edge.client().await;
    for bound in [false, true] {
        let mut batch = batch(1, &["10.1.2.3"]);
        batch.signals[0].bound_to_session = bound;
        let sent = tokio_stream::iter([batch]);
        let mut answers = client.signals(sent).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
    }
    assert_eq!(sessions.recv().unwrap(), None);
    let bound = sessions.recv().unwrap();
    assert!(bound.is_some());
    assert_eq!(sessions.recv().unwrap(), bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s7_a_batch_of_nothing_tells_of_its_sender() {
    let (seen, begun) = mpsc::channel();
    let edge = Edge::start(move |command| {
        if let Command::SessionBegun {
            backend, boot_id, ..
        } = &command
        {
            seen.send((backend.clone(), *boot_id)).unwrap();
        }
        decide(command);
    });
    let hello = |boot_id| SignalBatch {
        boot_id,
        backend: "shop-1".into(),
        ..batch(1, &[])
    };
    // Nothing is told by who has no boot id, nor by batches of signals, which each carry it.
    let with_signals = SignalBatch {
        boot_id: 8,
        ..batch(1, &["10.1.2.3"])
    };
    let sent = tokio_stream::iter([hello(0), with_signals, hello(9)]);
    let answers = edge.client().await.signals(sent).await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    assert_eq!(answers.len(), 3);
    assert_eq!(begun.try_iter().collect::<Vec<_>>(), [("shop-1".into(), 9)]);
}

fn session(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Start { session, .. } => *session,
        _ => None,
    }
}

/// The control thread takes nothing until it is let go. A stream waits; a call is refused after a
/// while; all that was sent is answered in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_a_full_queue_pushes_back_and_loses_nothing() {
    const CALLS: u64 = 400;
    let (go, gate) = mpsc::channel::<()>();
    let mut held = Some(gate);
    let edge = Edge::start(move |command| {
        if let Some(gate) = held.take() {
            gate.recv().unwrap();
        }
        decide(command);
    });
    let mut client = edge.client().await;
    let mut streams = VecDeque::new();
    for _ in 0..CALLS / 8 {
        let sent = tokio_stream::iter((0..8).map(|sequence| batch(sequence, &["10.1.2.3"])));
        streams.push_back(client.signals(sent).await.unwrap().into_inner());
    }
    let refused = loop {
        // The streams fill the queue at their own pace.
        let patience = std::time::Duration::from_millis(1500);
        let answer = tokio::time::timeout(patience, client.start(request())).await;
        if let Ok(answer) = answer {
            break answer.unwrap_err();
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    go.send(()).unwrap();
    for stream in streams {
        let answers: Vec<_> = stream
            .map(|answer| answer.unwrap().sequence)
            .collect()
            .await;
        assert_eq!(answers, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s9_a_listing_is_streamed_at_the_pace_of_its_reader() {
    let edge = Edge::start(|command| {
        if let Command::List { entries, reply, .. } = command {
            reply.send(Ok(())).unwrap();
            // A thread of its own, as a control thread would not wait here.
            std::thread::spawn(move || {
                for number in 0..5000 {
                    let entry = AffinityEntry {
                        generation: number,
                        ..Default::default()
                    };
                    entries.blocking_send(entry).unwrap();
                }
            });
        }
    });
    let listed = edge
        .client()
        .await
        .list(ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    let listed: Vec<_> = listed
        .map(|entry| entry.unwrap().generation)
        .collect()
        .await;
    assert_eq!(listed, (0..5000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reflection_names_the_service_in_both_versions() {
    let edge = Edge::start(decide);
    let channel = edge.endpoint().connect().await.unwrap();
    macro_rules! services {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(channel.clone());
            let answers = client
                .server_reflection_info(tokio_stream::iter([request]))
                .await;
            let answer = answers
                .unwrap()
                .into_inner()
                .message()
                .await
                .unwrap()
                .unwrap();
            match answer.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => list.service,
                other => panic!("{other:?}"),
            }
        }};
    }
    let name = "tether.v1.Affinity";
    assert!(services!(v1).iter().any(|service| service.name == name));
    assert!(
        services!(v1alpha)
            .iter()
            .any(|service| service.name == name)
    );
}

/// What was taken before the stop is answered; what comes after learns that the forwarder stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stop_answers_what_is_under_way() {
    let (taken, wait) = async_mpsc::channel(1);
    let (go, gate) = mpsc::channel::<()>();
    let mut edge = Edge::start(move |command| {
        if let Command::Signals { signals, reply, .. } = command {
            taken.blocking_send(()).unwrap();
            gate.recv().unwrap();
            let outcomes = signals.iter().map(outcome).collect();
            reply
                .send(Ok(Outcomes {
                    epoch: EPOCH,
                    outcomes,
                    names: Arc::default(),
                }))
                .unwrap();
        }
    });
    let (sender, batches) = async_mpsc::channel(1);
    let sent = ReceiverStream::new(batches);
    let mut answers = edge
        .client()
        .await
        .signals(sent)
        .await
        .unwrap()
        .into_inner();
    sender.send(batch(1, &["10.1.2.3"])).await.unwrap();
    let mut wait = wait;
    wait.recv().await.unwrap();
    let server = edge.server.take().unwrap();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    go.send(()).unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 1);
    let error = answers.message().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    stopping.await.unwrap();
}

fn full_disk() -> NotAcknowledged {
    NotAcknowledged {
        epoch: EPOCH,
        why: NotRecorded {
            directory: "/var/lib/tether".into(),
            why: "No space left on device".into(),
        },
    }
}

/// Both ways to signal say that nothing is acknowledged, why, and that forwarding goes on. A batch
/// has an outcome for each signal all the same, and the epoch, be it empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l1_what_is_not_recorded_is_unavailable() {
    let edge = Edge::start(move |command| {
        if let Command::Signals { reply, .. } = command {
            reply.send(Err(full_disk())).unwrap();
        }
    });
    let says_why = |text: &str| {
        let says = ["/var/lib/tether", "No space left", "forwarding goes on"];
        assert!(says.iter().all(|it| text.contains(it)), "{text}");
    };
    let mut client = edge.client().await;
    let request = StartRequest {
        service: "shop".into(),
        source: "10.1.2.3".into(),
        ..Default::default()
    };
    let unary = client.start(request).await.unwrap_err();
    assert_eq!(unary.code(), Code::Unavailable);
    says_why(unary.message());

    let sources: [&[&str]; 3] = [&[], &["10.1.2.3", "10.1.2.4"], &["10.1.2.5"]];
    let batches = sources.map(|it| batch(it.len() as u64, it));
    let sent = tokio_stream::iter(batches);
    let mut answers = client.signals(sent).await.unwrap().into_inner();
    for count in [0, 2, 1] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.sequence, answer.epoch), (count, EPOCH));
        assert_eq!(answer.outcomes.len() as u64, count);
        for outcome in answer.outcomes {
            assert_eq!(outcome.code(), OutcomeCode::Unavailable);
            says_why(&outcome.detail);
        }
    }
}

/// A full disk refuses signals; it ends nothing (`docs/restart.md`: "Forwarding goes on, with all
/// affinities"), so a session that has something bound to it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s6_a_journal_that_fails_ends_no_session() {
    let (seen, closed) = mpsc::channel();
    let mut taken = 0;
    let edge = Edge::start(move |command| match command {
        Command::SessionClosed(session) => seen.send(session).unwrap(),
        Command::Signals { reply, .. } if taken == 1 => {
            reply.send(Err(full_disk())).unwrap();
        }
        command => {
            taken += 1;
            decide(command);
        }
    });
    let (sender, batches) = async_mpsc::channel(4);
    let sent = ReceiverStream::new(batches);
    let mut client = edge.client().await;
    let mut answers = client.signals(sent).await.unwrap().into_inner();
    let mut bound = batch(1, &["10.1.2.3"]);
    bound.signals[0].bound_to_session = true;
    sender.send(bound).await.unwrap();
    answers.message().await.unwrap().unwrap();
    sender.send(batch(2, &["10.1.2.4"])).await.unwrap();
    let refused = answers.message().await.unwrap().unwrap();
    assert_eq!(refused.outcomes[0].code(), OutcomeCode::Unavailable);
    let patience = std::time::Duration::from_secs(2);
    assert!(
        closed.recv_timeout(patience).is_err(),
        "what is bound to the session has ended"
    );
}

/// Each of 4096 signals gets a copy of the names: of a megabyte they would be gigabytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_a_batch_has_no_longer_names_than_there_are() {
    let edge = Edge::start(decide);
    let mut client = edge.client().await;
    let name = |bytes| "x".repeat(bytes);
    for (backend, service, is_taken) in [(64, 64, true), (65, 1, false), (1, 65, false)] {
        let batch = SignalBatch {
            backend: name(backend),
            services: vec![name(service)],
            ..batch(1, &["10.1.2.3"])
        };
        let sent = tokio_stream::iter([batch]);
        let mut answers = client.signals(sent).await.unwrap().into_inner();
        let answer = answers.message().await;
        let code = answer.map_or_else(|error| error.code(), |_| Code::Ok);
        let expected = if is_taken {
            Code::Ok
        } else {
            Code::InvalidArgument
        };
        assert_eq!(code, expected, "{backend} {service}");
    }
}

/// A megabyte in a field is neither decided nor repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_calls_have_no_longer_fields_than_there_are() {
    let edge = Edge::start(decide);
    let mut client = edge.client().await;
    let long = || "x".repeat(1 << 19);
    let list = ListRequest {
        backend: long(),
        ..Default::default()
    };
    let watch = WatchRequest {
        service: long(),
        ..Default::default()
    };
    for (refused, field) in [
        (client.list(list).await.unwrap_err(), "backend"),
        (client.watch(watch).await.unwrap_err(), "service"),
    ] {
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        let says = refused.message();
        assert!(says.starts_with(field) && says.len() < 100, "{says}");
    }
}
