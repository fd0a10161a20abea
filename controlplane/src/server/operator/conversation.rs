//! One operator: a request line, its answer lines, the next request.

use super::{failure, push_line};
use crate::{
    command::Command,
    server::{
        commands::{Commands, Refused},
        limits,
        reload::{Asked, Question},
    },
};
use std::io;
use tether_api::operator::{
    CONFIG_REQUEST, CONFIG_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, Request, Response,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::timeout,
};

/// A connection of an operator.
pub(super) struct Conversation {
    pub(super) requests: BufReader<OwnedReadHalf>,
    answers: OwnedWriteHalf,
    pub(super) uid: u32,
    pub(super) commands: Commands,
    questions: mpsc::Sender<Asked>,
}

/// What stands on the line.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    /// The operator has hung up.
    End,
}

impl Conversation {
    pub(super) fn new(
        stream: UnixStream,
        commands: Commands,
        questions: mpsc::Sender<Asked>,
    ) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        let (requests, answers) = stream.into_split();
        Ok(Self {
            requests: BufReader::new(requests),
            answers,
            uid,
            commands,
            questions,
        })
    }

    /// Answers until the operator hangs up, or has to be hung up on.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            match self.read(&mut line).await? {
                Line::End => return Ok(()),
                Line::TooLong => return self.say(&too_long(&line)).await,
                Line::Whole if line.trim_ascii().is_empty() => {}
                Line::Whole => self.answer(&line).await?,
            }
        }
    }

    /// The next line; the last one may lack its newline.
    async fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        line.shrink_to(REQUEST_BYTES_MAX);
        let read = self.read_to(REQUEST_BYTES_MAX, line).await?;
        if read == Line::TooLong && line.starts_with(CONFIG_REQUEST.as_bytes()) {
            return self.read_to(CONFIG_REQUEST_BYTES_MAX, line).await;
        }
        Ok(read)
    }

    /// Goes on with the line to at most so many bytes and its newline.
    async fn read_to(&mut self, most: usize, line: &mut Vec<u8>) -> io::Result<Line> {
        let rest = most + 1 - line.len();
        let mut limited = (&mut self.requests).take(rest as u64);
        limited.read_until(b'\n', line).await?;
        Ok(match line.last() {
            None => Line::End,
            Some(b'\n') => Line::Whole,
            Some(_) if line.len() > most => Line::TooLong,
            Some(_) => Line::Whole,
        })
    }

    async fn answer(&mut self, line: &[u8]) -> io::Result<()> {
        match serde_json::from_slice(line) {
            Ok(Request::AffinityWatch(filter)) => self.watch(filter).await,
            Ok(Request::Capture(request)) => self.capture(request).await,
            Ok(request) => match Question::of(request) {
                Ok(question) => self.ask_of_config(question).await,
                Err(request) => self.ask(request).await,
            },
            Err(error) => self.say(&unreadable(&error)).await,
        }
    }

    async fn ask(&mut self, request: Request) -> io::Result<()> {
        let (lines, answers) = mpsc::channel(limits::LINES_AHEAD);
        let command = Command::Operator {
            uid: self.uid,
            request,
            lines,
        };
        let sent = self.commands.send_within(limits::COMMAND_WAIT, command);
        match sent.await {
            Ok(()) => self.pass_on(answers).await,
            Err(refused) => self.say(&not_taken(refused)).await,
        }
    }

    /// Questions about the configuration are answered one after another.
    async fn ask_of_config(&mut self, question: Question) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            uid: self.uid,
            question,
            reply,
        };
        // Err: the daemon stops, and so says the missing answer.
        let _ = self.questions.send(asked).await;
        let answer = answer.await.unwrap_or_else(|_| cut_off());
        self.say(&answer).await
    }

    /// Writes the lines of an answer, as many at once as there are.
    async fn pass_on(&mut self, mut answers: mpsc::Receiver<Response>) -> io::Result<()> {
        let mut lines = Vec::new();
        loop {
            let Some(response) = answers.recv().await else {
                push_line(&mut lines, &cut_off())?;
                return self.write(&lines).await;
            };
            let is_last = push(&mut lines, &response)?;
            if is_last || push_waiting(&mut lines, &mut answers)? {
                return self.write(&lines).await;
            }
            self.write(&lines).await?;
            lines.clear();
        }
    }

    pub(super) async fn say(&mut self, response: &Response) -> io::Result<()> {
        let mut line = Vec::new();
        push_line(&mut line, response)?;
        self.write(&line).await
    }

    pub(super) async fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = timeout(limits::WRITE_WAIT, self.answers.write_all(lines)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Appends the line; says whether it ends the answer.
fn push(lines: &mut Vec<u8>, response: &Response) -> io::Result<bool> {
    push_line(lines, response)?;
    Ok(!matches!(response, Response::Entry(_)))
}

/// Appends what waits, to the size of one write; says whether that ends the answer.
fn push_waiting(lines: &mut Vec<u8>, answers: &mut mpsc::Receiver<Response>) -> io::Result<bool> {
    while lines.len() < limits::LINES_BYTES {
        let Ok(response) = answers.try_recv() else {
            return Ok(false);
        };
        if push(lines, &response)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The control thread has not taken the question.
pub(super) fn not_taken(refused: Refused) -> Response {
    let hint = "`tetherctl status` says how the forwarder does";
    failure(refused.to_string(), hint)
}

fn too_long(line: &[u8]) -> Response {
    let most = line.len() - 1;
    let message = format!("a request of more than {most} bytes");
    failure(
        message,
        "send one JSON document per line; only those that begin with the verb of a configuration may be longer",
    )
}

fn unreadable(error: &serde_json::Error) -> Response {
    failure(
        format!("no request of this daemon: {error}"),
        "tetherctl and tetherd may be of different versions: `tetherctl --version`, `tetherd --version`",
    )
}

pub(super) fn cut_off() -> Response {
    failure(
        "the daemon stopped before the answer was whole",
        "ask again once it runs",
    )
}
