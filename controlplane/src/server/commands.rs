//! The way from async code to the control thread: a bounded queue that is never waited for by
//! blocking. Where it is full, the sender pauses and tries again (contract rule S10).

use super::limits::BACK_OFF;
use crate::command::Command;
use crossbeam_channel::{Sender, TrySendError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Sends commands to the control thread. Clones send to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    queue: Sender<Command>,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The queue stayed full.
    #[error("the forwarder has more to decide than it can: send again later")]
    Overloaded,
    /// The control thread is gone.
    #[error("the forwarder stops: connect again, to its successor")]
    Stopped,
}

impl Commands {
    pub(crate) fn new(queue: Sender<Command>) -> Self {
        Self { queue }
    }

    /// Sends as soon as there is room.
    pub(crate) async fn send(&self, mut command: Command) -> Result<(), Refused> {
        let (mut pause, longest) = BACK_OFF;
        loop {
            match self.queue.try_send(command) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Refused::Stopped),
                Err(TrySendError::Full(back)) => command = back,
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Sends if there is room within `wait`.
    pub(crate) async fn send_within(
        &self,
        wait: Duration,
        command: Command,
    ) -> Result<(), Refused> {
        let sent = timeout(wait, self.send(command)).await;
        sent.unwrap_or(Err(Refused::Overloaded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_pushes_back_and_loses_nothing() {
        let (queue, commands) = crossbeam_channel::bounded(1);
        let sender = Commands::new(queue);
        sender.send(Command::SessionClosed(1)).await.unwrap();
        let wait = Duration::from_secs(1);
        let refused = sender.send_within(wait, Command::SessionClosed(2)).await;
        assert_eq!(refused, Err(Refused::Overloaded));

        let waiting = tokio::spawn(async move { sender.send(Command::SessionClosed(3)).await });
        tokio::time::sleep(wait).await;
        let taken = [commands.recv(), {
            waiting.await.unwrap().unwrap();
            commands.recv()
        }];
        let sessions = taken.map(|command| match command {
            Ok(Command::SessionClosed(session)) => session,
            other => panic!("{other:?}"),
        });
        assert_eq!(sessions, [1, 3]);
    }

    #[tokio::test]
    async fn a_control_thread_that_is_gone_is_no_overload() {
        let sender = Commands::new(crossbeam_channel::bounded(1).0);
        let refused = sender.send(Command::Stop).await;
        assert_eq!(refused, Err(Refused::Stopped));
    }
}
