//! An operator who watches: lines as things happen, until he hangs up (contract rule S8).

use super::{
    conversation::{Conversation, cut_off, not_taken},
    failure, push_line,
};
use crate::{
    command::{Command, Declined, Told},
    server::{commands::Refused, limits},
    signal::Identity,
};
use std::io;
use tether_api::{
    operator::{End, Entry, Event, EventKind, Payload, Response, WatchFilter, Watching},
    v1::WatchRequest,
};
use tokio::{
    io::AsyncBufReadExt as _,
    sync::{mpsc, oneshot},
};

impl Conversation {
    /// Tells what happens until the operator hangs up, or asks for something else.
    pub(super) async fn watch(&mut self, filter: WatchFilter) -> io::Result<()> {
        let (events, told) = mpsc::channel(limits::EVENTS_AHEAD);
        match self.begin_to_watch(filter, events).await {
            Ok(Ok(())) => {
                let ahead = limits::EVENTS_AHEAD as u64;
                let watching = Response::Ok(Payload::Watching(Watching { ahead }));
                self.say(&watching).await?;
                self.tell(told).await
            }
            Ok(Err(declined)) => {
                let hint = "`tetherctl backend list` shows what there is";
                self.say(&failure(declined.to_string(), hint)).await
            }
            Err(refused) => self.say(&not_taken(refused)).await,
        }
    }

    async fn begin_to_watch(
        &self,
        filter: WatchFilter,
        events: mpsc::Sender<Told>,
    ) -> Result<Result<(), Declined>, Refused> {
        let (reply, begun) = oneshot::channel();
        let command = Command::Watch {
            identity: Identity::Operator { uid: self.uid },
            request: WatchRequest {
                service: filter.service.unwrap_or_default(),
                backend: filter.backend.unwrap_or_default(),
            },
            events,
            reply,
        };
        let sent = self.commands.send_within(limits::COMMAND_WAIT, command);
        sent.await?;
        begun.await.map_err(|_| Refused::Stopped)
    }

    /// Writes events as they come, as many at once as there are. A connection that is closed, if
    /// only by half, ends the watch; another request ends it with the last line of a list.
    async fn tell(&mut self, mut told: mpsc::Receiver<Told>) -> io::Result<()> {
        let mut entries = 0;
        loop {
            let first = tokio::select! {
                told = told.recv() => told,
                said = self.requests.fill_buf() => {
                    let is_closed = said?.is_empty();
                    return if is_closed { Ok(()) } else { self.say(&end(entries)).await };
                }
            };
            let Some(first) = first else {
                return self.say(&cut_off()).await;
            };
            let mut lines = Vec::new();
            let mut next = Some(first);
            while let Some(event) = next {
                push_line(&mut lines, &line(event))?;
                entries += 1;
                let has_room = lines.len() < limits::LINES_BYTES;
                next = has_room.then(|| told.try_recv().ok()).flatten();
            }
            self.write(&lines).await?;
        }
    }
}

fn end(entries: u64) -> Response {
    Response::End(End { entries })
}

fn line(told: Told) -> Response {
    Response::Entry(Entry::Event(match told {
        Told::Event { sequence, event } => Event {
            event: EventKind::from(event.kind()),
            sequence,
            epoch: event.epoch,
            affinity: event.affinity.as_ref().map(Into::into),
            new_owner: some(&event.new_owner),
            reason: some(&event.reason),
            lost: None,
        },
        Told::Gap {
            sequence,
            lost,
            epoch,
        } => Event {
            event: EventKind::Gap,
            sequence,
            epoch,
            lost: Some(lost),
            ..Event::default()
        },
    }))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
