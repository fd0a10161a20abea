//! `tetherd` as a process, and `tetherctl` to ask it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Output},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tether_api::operator::{Stats, Status, WorkerStats};

use super::{
    namespace::Namespace,
    programs::{tetherctl, tetherd},
    setup::Setup,
    wait::{SOON, wait_for, wait_until},
};

/// Where a test may listen as systemd does; in the daemon's directory.
pub const NOTIFY_SOCKET: &str = "notify.sock";

/// Lines of the log that a failed test shows.
const TAIL: usize = 60;

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    /// A test has waited for its end.
    pub has_ended: bool,
    directory: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts it, with all its files in `directory`, and waits until it is ready.
    pub fn start(setup: &Setup, host: &Namespace, directory: &Path) -> Self {
        fs::write(directory.join("tether.toml"), setup.toml(directory)).unwrap();
        let mut daemon = Self {
            has_ended: false,
            child: spawn(host, directory),
            directory: directory.to_owned(),
        };
        wait_for("tetherd to be ready", SOON, || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "tetherd ended: {ended:?}");
            let ready = daemon.try_ctl::<Status>(&["status"])?.ready;
            ready.then_some(())
        });
        daemon
    }

    /// Runs it on a configuration that it does not start with; what it says.
    #[track_caller]
    pub fn refused(host: &Namespace, directory: &Path, toml: &str) -> String {
        let file = directory.join("refused.toml");
        fs::write(&file, toml).unwrap();
        let mut command = host.command(tetherd());
        command.arg("--config").arg(file);
        let output = command.env("RUNTIME_DIRECTORY", directory).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }

    /// Where all its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("operator.sock")
    }

    /// What `tetherctl` says, as people read it or as JSON if `arguments` say so.
    pub fn run_ctl(&self, arguments: &[&str]) -> Output {
        std::process::Command::new(tetherctl())
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// What `tetherctl --json` answers; the verb must succeed.
    #[track_caller]
    pub fn ctl<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let output = self.run_ctl(&[&["--json"], arguments].concat());
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let failed = format!("tetherctl {}: {stdout}{stderr}", arguments.join(" "));
        assert!(output.status.success(), "{failed}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{failed}: {error}"))
    }

    /// As `ctl`, as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.ctl(arguments)
    }

    fn try_ctl<T: DeserializeOwned>(&self, arguments: &[&str]) -> Option<T> {
        let output = self.run_ctl(&[&["--json"], arguments].concat());
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Asserts that every packet has exactly one fate, on every worker.
    ///
    /// A worker that the scheduler has put aside in the middle of a burst shows it half counted; where
    /// workers share their cores with everybody else, that happens, and it passes.
    #[track_caller]
    pub fn check_accounts(&self) -> Stats {
        wait_for("received = sum of fates + held", SOON, || {
            let stats: Stats = self.ctl(&["stats"]);
            assert!(!stats.workers.is_empty(), "stats without workers");
            stats.workers.iter().all(adds_up).then_some(stats)
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn ended(&mut self, deadline: Duration) -> ExitStatus {
        self.has_ended = true;
        wait_for("tetherd to end", deadline, || {
            self.child.try_wait().unwrap()
        })
    }

    /// Starts it again, after it has ended, by the same configuration.
    pub fn restart(&mut self, setup: &Setup, host: &Namespace) {
        *self = Self::start(setup, host, &self.directory.clone());
    }

    /// Has it read a new configuration.
    pub fn reload(&self, toml: &str) {
        fs::write(self.directory.join("tether.toml"), toml).unwrap();
        self.signal(Signal::HUP);
    }

    /// Waits until its log says something.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        let what = format!("the log to say {words:?}");
        wait_until(&what, SOON, || self.log().contains(words));
    }

    /// How much it has logged so far, in bytes.
    pub fn log_len(&self) -> usize {
        self.whole_log().len()
    }

    /// Waits until its log says something behind a place.
    #[track_caller]
    pub fn wait_for_log_after(&self, place: usize, words: &str) {
        let what = format!("the log to say {words:?}");
        wait_until(&what, SOON, || {
            self.whole_log()
                .get(place..)
                .is_some_and(|it| it.contains(words))
        });
    }

    fn whole_log(&self) -> String {
        fs::read_to_string(self.directory.join("tetherd.log")).unwrap_or_default()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn adds_up(worker: &WorkerStats) -> bool {
    let fates: u64 = worker.fates.values().sum();
    worker.received == fates + worker.held
}

fn spawn(host: &Namespace, directory: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("tetherd.log"))
        .unwrap();
    host.command(tetherd())
        .arg("--config")
        .arg(directory.join("tether.toml"))
        // EAL keeps its sockets there.
        .env("RUNTIME_DIRECTORY", directory)
        .env("NOTIFY_SOCKET", directory.join(NOTIFY_SOCKET))
        .env("RUST_LOG", "debug")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("the end of tetherd's log:\n{}", self.log());
        }
    }
}
