//! A daemon that answers each request line with the next of its scripted answers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{Command, Output},
    thread::{self, JoinHandle},
};

use tempfile::TempDir;
use tether_api::operator::{Request, Response};

pub(crate) struct Daemon {
    directory: TempDir,
    serving: JoinHandle<Vec<Request>>,
}

/// What the binary did, and what the daemon was asked.
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) requests: Vec<Request>,
}

impl Daemon {
    /// Serves one connection; hangs up when there are no more answers.
    pub(crate) fn answering(answers: Vec<Vec<Response>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(&directory)).unwrap();
        let serving = thread::spawn(move || serve(&listener, answers));
        Self { directory, serving }
    }

    pub(crate) fn run(self, arguments: &str) -> Run {
        let output = tetherctl(&socket(&self.directory), arguments);
        let requests = self.serving.join().unwrap();
        Run {
            requests,
            ..finished(&output)
        }
    }
}

impl Daemon {
    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// What it was asked, once whoever asked has gone.
    pub(crate) fn requests(self) -> Vec<Request> {
        self.serving.join().unwrap()
    }

    /// What the binary writes to standard output, as it is.
    pub(crate) fn run_raw(self, arguments: &str) -> Vec<u8> {
        let output = tetherctl(&socket(&self.directory), arguments);
        self.serving.join().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

pub(crate) fn tetherctl(socket: &std::path::Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetherctl"));
    command
        .arg("--socket")
        .arg(socket)
        .args(arguments.split_whitespace());
    command.output().unwrap()
}

pub(crate) fn finished(output: &Output) -> Run {
    Run {
        exit: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout.clone()).unwrap(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        requests: Vec::new(),
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("operator.sock")
}

fn serve(listener: &UnixListener, answers: Vec<Vec<Response>>) -> Vec<Request> {
    let (stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut requests = Vec::new();
    for answer in answers {
        let Some(line) = lines.next() else { break };
        requests.push(serde_json::from_str(&line.unwrap()).unwrap());
        for response in answer {
            let line = serde_json::to_string(&response).unwrap() + "\n";
            // tetherctl may have seen enough before the last line.
            let _ = (&stream).write_all(line.as_bytes());
        }
    }
    requests
}
