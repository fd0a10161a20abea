//! What can go wrong between an operator and the daemon, with the exit code of each.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use tether_api::operator::{BadFilter, Failure};

/// Refused or failed.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// Wrong usage; clap's own errors exit with it too.
const EXIT_USAGE: u8 = 2;
/// Nobody answers at the socket.
const EXIT_UNREACHABLE: u8 = 3;

/// Why a verb was not done.
#[derive(Debug)]
pub(crate) enum Error {
    /// Nobody listens, or the operator may not connect.
    Connect(PathBuf, io::Error),
    /// As [`Self::Connect`], where this file was to be checked.
    ConnectToCheck(Box<Self>, PathBuf),
    /// A file cannot be read.
    File(String, io::Error),
    /// The daemon hung up or fell silent before it had answered.
    Lost(io::Error),
    /// The daemon says no.
    Refused(Failure),
    /// The daemon speaks another version of the protocol.
    Protocol(String),
    /// A file cannot be written.
    Written(String, io::Error),
    /// A filter is wrong.
    Filter(BadFilter),
    /// The arguments contradict each other.
    Usage(&'static str),
    /// Standard output went away.
    Output(io::Error),
}

impl Error {
    /// Whether the reader of our output has simply had enough, as `head` does.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) | Self::Written(_, error)
            if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Connect(..) | Self::ConnectToCheck(..) | Self::Lost(_) => EXIT_UNREACHABLE,
            Self::Usage(_) | Self::Filter(_) => EXIT_USAGE,
            Self::Refused(_)
            | Self::Protocol(_)
            | Self::File(..)
            | Self::Written(..)
            | Self::Output(_) => EXIT_REFUSED,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(path, error) => write!(
                f,
                "cannot reach tetherd at {}: {error}\n  {}",
                path.display(),
                connect_advice(error)
            ),
            Self::ConnectToCheck(error, file) => write!(
                f,
                "{error}\n  `tetherd --config {} --check` checks it without a daemon",
                file.display()
            ),
            Self::File(name, error) => write!(f, "{name} cannot be read: {error}"),
            Self::Lost(error) => write!(
                f,
                "tetherd did not finish its answer: {error}\n  \
                 see its log; `tetherctl status` tells whether it is back"
            ),
            Self::Refused(failure) => {
                write!(f, "{}", failure.message)?;
                failure
                    .hint
                    .iter()
                    .try_for_each(|hint| write!(f, "\n  {hint}"))
            }
            Self::Protocol(what) => write!(
                f,
                "tetherd answered what this tetherctl does not understand: {what}\n  \
                 use the tetherctl of the daemon's version"
            ),
            Self::Written(name, error) => write!(f, "{name} cannot be written: {error}"),
            Self::Filter(bad) => write!(f, "{bad}"),
            Self::Usage(advice) => f.write_str(advice),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

fn connect_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the socket's file permissions say who is an operator: join its group, or use sudo"
        }
        io::ErrorKind::ConnectionRefused => {
            "the socket is there but nobody listens: tetherd has died; start it again"
        }
        _ => {
            "is tetherd running? Its [control] operator setting names the socket; give it with --socket"
        }
    }
}
