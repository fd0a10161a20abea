//! The operator socket: a request line out, answer lines in.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use tether_api::operator::{
    CaptureEnd, CaptureRequest, CapturedFrame, Capturing, Entry, Event, Payload, Request, Response,
};

use crate::error::Error;

/// A daemon that is silent for so long does not answer any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A connection to the daemon.
pub(crate) struct Connection {
    lines: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to the daemon's socket.
    pub(crate) fn open(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket)
            .and_then(|stream| stream.set_read_timeout(Some(SILENCE_MAX)).map(|()| stream))
            .map_err(|error| Error::Connect(socket.to_owned(), error))?;
        Ok(Self {
            lines: BufReader::new(stream),
        })
    }

    /// Asks for something that is answered by one line.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Payload, Error> {
        self.send(request)?;
        match self.receive()? {
            Response::Ok(payload) => Ok(payload),
            Response::Error(failure) => Err(Error::Refused(failure)),
            Response::Entry(_) | Response::End(_) => {
                Err(Error::Protocol("a list where one answer was due".into()))
            }
        }
    }

    /// Asks for a list and hands over its entries as they come.
    pub(crate) fn list(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.send(request)?;
        loop {
            match self.receive()? {
                Response::Entry(entry) => take(entry)?,
                Response::End(_) => return Ok(()),
                Response::Error(failure) => return Err(Error::Refused(failure)),
                Response::Ok(_) => {
                    return Err(Error::Protocol("one answer where a list was due".into()));
                }
            }
        }
    }

    /// Watches, and hands over the events as they come; between them there may be silence. Goes on
    /// until the daemon stops or `take` has had enough.
    pub(crate) fn watch(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Event) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.ask(request)? {
            Payload::Watching(_) => {}
            _ => return Err(Error::Protocol("an answer where events were due".into())),
        }
        let stream = self.lines.get_ref();
        stream.set_read_timeout(None).map_err(Error::Lost)?;
        loop {
            match self.receive()? {
                Response::Entry(Entry::Event(event)) => take(event)?,
                Response::Error(failure) => return Err(Error::Refused(failure)),
                Response::Ok(_) | Response::Entry(_) | Response::End(_) => {
                    return Err(Error::Protocol(
                        "something else where events were due".into(),
                    ));
                }
            }
        }
    }

    /// The connection itself, to close half of.
    pub(crate) fn stream(&self) -> Result<UnixStream, Error> {
        self.lines.get_ref().try_clone().map_err(Error::Lost)
    }

    /// Asks for a capture, and returns when it has begun.
    pub(crate) fn begin_capture(&mut self, request: &CaptureRequest) -> Result<Capturing, Error> {
        let Payload::Capturing(begun) = self.ask(&Request::Capture(request.clone()))? else {
            return Err(Error::Protocol("an answer where frames were due".into()));
        };
        let stream = self.lines.get_ref();
        stream.set_read_timeout(None).map_err(Error::Lost)?;
        Ok(begun)
    }

    /// Hands over frames as they come, and says of each whether no other has come yet. Goes on until the
    /// daemon has told all.
    pub(crate) fn capture(
        &mut self,
        mut take: impl FnMut(CapturedFrame, bool) -> Result<(), Error>,
    ) -> Result<CaptureEnd, Error> {
        let mut ended = CaptureEnd::default();
        loop {
            match self.receive()? {
                Response::Entry(Entry::Captured(frame)) => {
                    let is_last_for_now = !self.lines.buffer().contains(&b'\n');
                    take(frame, is_last_for_now)?;
                }
                Response::Entry(Entry::CaptureEnd(end)) => ended = end,
                Response::End(_) => return Ok(ended),
                Response::Error(failure) => return Err(Error::Refused(failure)),
                Response::Ok(_) | Response::Entry(_) => {
                    return Err(Error::Protocol(
                        "something else where frames were due".into(),
                    ));
                }
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(|error| Error::Lost(error.into()))?;
        line.push(b'\n');
        self.lines.get_mut().write_all(&line).map_err(Error::Lost)
    }

    fn receive(&mut self) -> Result<Response, Error> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Err(Error::Lost(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(Error::Lost(silence(error))),
        }
        serde_json::from_str(&line)
            .map_err(|error| Error::Protocol(format!("{error} in {}", line.trim())))
    }
}

fn silence(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("not a word for {} s", SILENCE_MAX.as_secs()),
        ),
        _ => error,
    }
}
