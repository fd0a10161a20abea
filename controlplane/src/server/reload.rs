//! A new configuration, by SIGHUP or from an operator: read whole, taken over whole by the control
//! thread or not at all (contract rule L2), and only then followed by probes and certificates.
//!
//! ```text
//! SIGHUP: the daemon's file ─┐        read ─▶ certificates ─▶ control thread ─▶ handshakes, probes
//! config apply: its text ────┴──▶ Candidate    any of these refuses, and nothing has changed
//! ```

mod answer;

use super::{
    Commands,
    signals::{Credentials, credentials_warning, read_credentials},
};
use crate::{
    command::{Command, Comparison, Reloaded},
    config::{Config, Problems},
    health::Prober,
    publish,
};
use rustls::ServerConfig;
use std::{convert::Infallible, path::PathBuf, sync::Arc};
use tether_api::operator::{ConfigFile, Request, Response};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
};

/// Why not, one sentence for each reason.
type Reasons = Vec<String>;

/// The configuration in force and what it takes to replace it.
pub(super) struct Reloader {
    config: Config,
    file: PathBuf,
    commands: Commands,
    credentials: Option<Credentials>,
    prober: Prober,
    questions: mpsc::Receiver<Asked>,
}

/// What an operator asks about the configuration.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) uid: u32,
    pub(super) question: Question,
    pub(super) reply: oneshot::Sender<Response>,
}

/// The requests that are answered here.
#[derive(Debug)]
pub(super) enum Question {
    Check(ConfigFile),
    Diff(ConfigFile),
    Apply(ConfigFile),
    Show,
}

/// A configuration without a mistake, with the certificates that it names.
struct Candidate {
    config: Config,
    certificates: Option<Arc<ServerConfig>>,
    /// What is not wrong, and perhaps not meant.
    warnings: Vec<String>,
}

impl Question {
    /// The question of a request, or the request where it is none.
    pub(super) fn of(request: Request) -> Result<Self, Request> {
        Ok(match request {
            Request::ConfigCheck(file) => Self::Check(file),
            Request::ConfigDiff(file) => Self::Diff(file),
            Request::ConfigApply(file) => Self::Apply(file),
            Request::ConfigShow => Self::Show,
            other => return Err(other),
        })
    }
}

impl Reloader {
    pub(super) fn new(
        config: Config,
        file: PathBuf,
        commands: Commands,
        credentials: Option<Credentials>,
        questions: mpsc::Receiver<Asked>,
    ) -> Self {
        Self {
            prober: Prober::new(commands.clone()),
            config,
            file,
            commands,
            credentials,
            questions,
        }
    }

    /// Probes; reloads at every SIGHUP, and answers operators, one after another.
    pub(super) async fn live(&mut self, hangup: &mut Signal) -> Infallible {
        self.prober.set(&self.config).await;
        loop {
            tokio::select! {
                _ = hangup.recv() => self.read_again().await,
                Some(asked) = self.questions.recv() => self.answer(asked).await,
            }
        }
    }

    async fn read_again(&mut self) {
        let file = self.file.clone();
        let reloaded = match read(move || Config::load(&file)).await {
            Ok(candidate) => self.take_over(candidate).await,
            Err(reasons) => Err(reasons),
        };
        match reloaded {
            Ok(reloaded) => log::info!(
                "SIGHUP: {} is applied: {} changes, {} affinities have ended",
                self.file.display(),
                reloaded.changes.len(),
                reloaded.ended
            ),
            Err(reasons) => {
                for reason in reasons {
                    log::error!("{reason}");
                }
                log::error!("SIGHUP: nothing was changed");
            }
        }
    }

    /// From the control thread's yes on nothing can fail.
    async fn take_over(&mut self, candidate: Candidate) -> Result<Reloaded, Reasons> {
        let config = Box::new(candidate.config.clone());
        let reloaded = self.ask(|reply| Command::Reload { config, reply });
        let reloaded = reloaded.await??;
        for warning in &candidate.warnings {
            log::warn!("{warning}");
        }
        if let (Some(in_force), Some(new)) = (&self.credentials, candidate.certificates) {
            in_force.replace(new);
        }
        self.prober.set(&candidate.config).await;
        self.config = candidate.config;
        Ok(reloaded)
    }

    async fn compare(&self, config: Config) -> Result<Comparison, Reasons> {
        let config = Box::new(config);
        let compared = self.ask(|reply| Command::Compare { config, reply });
        compared.await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Reasons> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|refused| vec![refused.to_string()])?;
        let gone = |_| vec!["the forwarder has stopped before it answered".to_owned()];
        answer.await.map_err(gone)
    }
}

/// Reads a configuration and its certificates beside the calls, which go on: a large file takes
/// milliseconds to check.
async fn read(
    config: impl FnOnce() -> Result<Config, Problems> + Send + 'static,
) -> Result<Candidate, Reasons> {
    let read = tokio::task::spawn_blocking(move || {
        let config = config().map_err(|problems| problems.lines())?;
        let certificates = read_credentials(&config).map_err(|error| vec![error.to_string()])?;
        let warnings = publish::warnings(&config).into_iter();
        let warnings = warnings.chain(credentials_warning(&config)).collect();
        Ok(Candidate {
            config,
            certificates,
            warnings,
        })
    });
    let panicked = |panic: tokio::task::JoinError| Err(vec![panic.to_string()]);
    read.await.unwrap_or_else(panicked)
}
