//! An operator who captures: lines as frames come and leave, until he says that it is enough.

use super::{
    conversation::{Conversation, cut_off, not_taken},
    push_line,
};
use crate::{command::Command, server::limits};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tether_api::operator::{CaptureRequest, Response};
use tokio::{io::AsyncBufReadExt as _, sync::mpsc};

impl Conversation {
    /// Captures until there is enough, or the operator closes his half or sends another line: what has
    /// come by then is told, and how much was missed.
    pub(super) async fn capture(&mut self, request: CaptureRequest) -> io::Result<()> {
        let (lines, answers) = mpsc::channel(limits::LINES_AHEAD);
        let stop = Arc::new(AtomicBool::new(false));
        let command = Command::Capture {
            uid: self.uid,
            request,
            lines,
            stop: Arc::clone(&stop),
        };
        let sent = self.commands.send_within(limits::COMMAND_WAIT, command);
        match sent.await {
            Ok(()) => self.tell_frames(answers, &stop).await,
            Err(refused) => self.say(&not_taken(refused)).await,
        }
    }

    async fn tell_frames(
        &mut self,
        mut answers: mpsc::Receiver<Response>,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        loop {
            let first = tokio::select! {
                answer = answers.recv() => answer,
                said = self.requests.fill_buf(), if !stop.load(Ordering::Relaxed) => {
                    said?;
                    stop.store(true, Ordering::Relaxed);
                    continue;
                }
            };
            let mut lines = Vec::new();
            let mut next = Some(first.unwrap_or_else(cut_off));
            let mut is_last = false;
            while let Some(response) = next {
                push_line(&mut lines, &response)?;
                is_last = matches!(response, Response::End(_) | Response::Error(_));
                let has_room = lines.len() < limits::LINES_BYTES && !is_last;
                next = has_room.then(|| answers.try_recv().ok()).flatten();
            }
            self.write(&lines).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}
