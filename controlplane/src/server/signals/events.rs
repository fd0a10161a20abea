//! One `Watch` stream (contract rule S8): what the control thread tells, as it comes.

use crate::{command::Told, server::stopped};
use std::pin::Pin;
use tether_api::v1::{Event, event::Kind};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;

/// The stream.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

/// The events of a watcher, until it has had enough or the forwarder stops.
pub(super) fn stream(told: mpsc::Receiver<Told>, mut stop: watch::Receiver<bool>) -> Events {
    let told = ReceiverStream::new(told).map(|it| Ok(event(it)));
    let stopping = tokio_stream::once(async move { stopped(&mut stop).await });
    let stopping = stopping.then(|stopped| async {
        stopped.await;
        Err(Status::unavailable("the forwarder stops: connect again"))
    });
    Box::pin(told.merge(stopping))
}

fn event(told: Told) -> Event {
    match told {
        Told::Event { sequence, event } => Event {
            sequence,
            ..(*event).clone()
        },
        Told::Gap {
            sequence,
            lost,
            epoch,
        } => Event {
            kind: Kind::Gap.into(),
            sequence,
            epoch,
            lost,
            ..Event::default()
        },
    }
}
