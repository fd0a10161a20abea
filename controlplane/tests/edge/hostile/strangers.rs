//! Who may not speak, and who may and lies (contract rules P1, P2 and P4).

use super::{HELD, Scene, start};
use crate::certificates::{Own, authority, certificate, connect, dated, of_servers_only};
use crate::metrics::get;
use tether_api::v1::{EndRequest, ExtendRequest, OutcomeCode, SignalBatch, StartRequest, signal};

/// Whether the forwarder hears anything of who has this certificate, if any.
async fn is_heard(scene: &Scene, own: Option<&Own>) -> bool {
    match connect(&scene.edge, &scene.authority, own).await {
        Ok(mut client) => client.start(start("10.3.0.1")).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_nobody_is_heard_without_a_valid_certificate_of_the_authority() {
    let mut scene = Scene::new().await;
    let own = &scene.authority;
    let strangers = [
        ("none", None),
        (
            "of another authority",
            Some(certificate(&authority(), "shop-1")),
        ),
        ("expired", Some(dated(own, "shop-1", 2001, 2002))),
        ("not yet valid", Some(dated(own, "shop-1", 2101, 2102))),
        ("not for clients", Some(of_servers_only(own, "shop-1"))),
    ];
    for (what, certificate) in strangers {
        assert!(!is_heard(&scene, certificate.as_ref()).await, "{what}");
        scene.is_well().await;
    }
    let good = scene.good.clone();
    assert!(is_heard(&scene, Some(&good)).await);
    // P5: each was counted, as often as it tried.
    let (_, page) = tokio::task::block_in_place(|| get(&scene.edge, "/metrics"));
    let (_, counted) = page
        .split_once("\ntether_tls_handshakes_failed_total ")
        .unwrap();
    let counted: u64 = counted.lines().next().unwrap().parse().unwrap();
    assert!(counted >= 5, "{counted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p2_a_certificate_speaks_for_its_own_backend_and_for_no_other() {
    let mut scene = Scene::new().await;
    let mut client = scene.client(&scene.good).await;
    let as_other = StartRequest {
        backend: "shop-2".into(),
        ..start("10.3.0.1")
    };
    let outcome = client.start(as_other).await.unwrap().into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Denied, "{outcome:?}");
    let outcome = client.start(start(HELD)).await.unwrap().into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Conflict, "{outcome:?}");
    let extend = ExtendRequest {
        service: "shop".into(),
        source: HELD.into(),
        duration_ms: 1,
        ..ExtendRequest::default()
    };
    let outcome = client.extend(extend).await.unwrap().into_inner();
    assert_eq!(outcome.code(), OutcomeCode::NotOwner, "{outcome:?}");
    for backend in ["", "shop-2"] {
        let end = EndRequest {
            service: "shop".into(),
            source: HELD.into(),
            backend: backend.into(),
            ..EndRequest::default()
        };
        let outcome = client.end(end).await.unwrap().into_inner();
        let refused = [OutcomeCode::NotOwner, OutcomeCode::Denied];
        assert!(refused.contains(&outcome.code()), "{outcome:?}");
    }
    scene.is_well().await;

    let nobody = certificate(&scene.authority, "shop-3");
    let mut client = scene.client(&nobody).await;
    let outcome = client.start(start("10.3.0.1")).await.unwrap().into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Denied, "{outcome:?}");
    scene.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p4_a_backend_that_floods_is_held_to_its_rate_and_no_other_is() {
    const RATE: usize = 100;
    let limits = format!("[limits]\nsignals_per_second_per_backend = {RATE}\n");
    let mut scene = Scene::with(&limits).await;
    let mut flood = SignalBatch {
        services: vec!["shop".into()],
        ..SignalBatch::default()
    };
    for number in 0..tether_api::BATCH_SIGNALS_MAX {
        let mut start = tether_api::v1::Signal {
            operation: signal::Operation::Start.into(),
            service_index: 1,
            ..Default::default()
        };
        let source = format!("10.4.{}.{}", number / 250, number % 250 + 1);
        start.set_source(&source.parse().unwrap());
        flood.signals.push(start);
    }
    // The flood is the other backend's; the good one is served.
    let mut client = scene.client(&scene.other).await;
    let answers = client.signals(tokio_stream::iter([flood])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let quota = answer.outcomes.iter();
    let quota = quota.filter(|it| it.code() == OutcomeCode::Quota).count();
    assert!(quota >= answer.outcomes.len() - 2 * RATE, "{quota} refused");
    let mut client = scene.client(&scene.good).await;
    let started = client.start(start("10.1.9.9")).await.unwrap().into_inner();
    assert_eq!(started.code(), OutcomeCode::Created, "{started:?}");
    scene.starts += 1;
}
