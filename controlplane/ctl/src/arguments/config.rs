//! Verbs about the configuration.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use tether_api::operator::{ConfigFile, Request};

use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Would the running daemon take this file over? Every problem with its line and column
    Check(File),
    /// What it would change, and how many flows and affinities are concerned
    Diff(File),
    /// Take it over at once, whole or not at all; the daemon's own file stays as it is
    Apply(File),
    /// What runs, as a file would say it
    Show,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct File {
    /// A configuration; -: standard input
    file: PathBuf,
}

impl ConfigVerb {
    /// The request, with what stands in the file.
    pub(crate) fn request(&self) -> Result<Request, Error> {
        Ok(match self {
            Self::Check(file) => Request::ConfigCheck(file.read()?),
            Self::Diff(file) => Request::ConfigDiff(file.read()?),
            Self::Apply(file) => Request::ConfigApply(file.read()?),
            Self::Show => Request::ConfigShow,
        })
    }

    /// A file can be checked without a daemon too.
    pub(crate) fn without_daemon(&self, error: Error) -> Error {
        match self {
            Self::Check(file) => Error::ConnectToCheck(Box::new(error), file.file.clone()),
            Self::Diff(_) | Self::Apply(_) | Self::Show => error,
        }
    }
}

impl File {
    fn read(&self) -> Result<ConfigFile, Error> {
        let (name, text) = if self.file == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            ("standard input".to_owned(), read.map(|_| text))
        } else {
            let name = self.file.display().to_string();
            (name, fs::read_to_string(&self.file))
        };
        match text {
            Ok(text) => Ok(ConfigFile { name, text }),
            Err(error) => Err(Error::File(name, error)),
        }
    }
}
