//! The operator socket (contract rule P3): JSON lines over a Unix socket, one request after another
//! on each connection. What they mean stands in [`tether_api::operator`].
//!
//! Who may connect is decided by the permissions of the file, 0660; who it was, by the peer's
//! credentials. An operator who reads slowly fills a bounded channel of his own and waits there.

mod capturing;
mod conversation;
mod socket;
mod watching;

pub(super) use socket::Socket;

use super::{commands::Commands, limits, reload::Asked, stopped};
use conversation::Conversation;
use std::{io, sync::Arc, time::Duration};
use tether_api::operator::{Failure, Response};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};

/// How long to pause where the process has no file descriptor left.
const STARVED: Duration = Duration::from_millis(100);

/// Serves operators until `stop`.
pub(super) async fn serve(
    listener: UnixListener,
    commands: Commands,
    questions: mpsc::Sender<Asked>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits::OPERATORS));
    loop {
        let incoming = tokio::select! {
            () = stopped(&mut stop) => return,
            incoming = listener.accept() => incoming,
        };
        match incoming {
            Ok((stream, _)) => admit(stream, &places, &commands, &questions),
            Err(error) => {
                log::warn!("cannot accept an operator: {error}; `ulimit -n` may be too low");
                tokio::time::sleep(STARVED).await;
            }
        }
    }
}

fn admit(
    stream: UnixStream,
    places: &Arc<Semaphore>,
    commands: &Commands,
    questions: &mpsc::Sender<Asked>,
) {
    match Arc::clone(places).try_acquire_owned() {
        Ok(place) => {
            let conversation = Conversation::new(stream, commands.clone(), questions.clone());
            tokio::spawn(converse(conversation, place));
        }
        Err(_) => refuse(&stream),
    }
}

/// One line fits the empty buffer of a fresh socket; where it does not, the hang-up says it.
fn refuse(stream: &UnixStream) {
    let message = format!("{} operators are connected already", limits::OPERATORS);
    let hint = "close a `tetherctl` that is still open";
    let mut line = Vec::new();
    if push_line(&mut line, &failure(message, hint)).is_ok() {
        let _ = stream.try_write(&line);
    }
}

async fn converse(conversation: io::Result<Conversation>, place: OwnedSemaphorePermit) {
    let ended = match conversation {
        Ok(conversation) => conversation.run().await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        log::debug!("an operator's connection broke: {error}");
    }
    drop(place);
}

/// An error line.
fn failure(message: impl Into<String>, hint: &str) -> Response {
    Response::Error(Failure {
        message: message.into(),
        hint: Some(hint.to_owned()),
    })
}

fn push_line(lines: &mut Vec<u8>, response: &Response) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, response)?;
    lines.push(b'\n');
    Ok(())
}
