//! `backend drain --wait`: drains, and looks again until nothing is left (contract rule B3).

use std::{process::ExitCode, thread, time::Duration};

use tether_api::operator::{Backend, BackendState, Failure, Payload, Request};

use super::Session;
use crate::{arguments::BackendName, error::Error, render};

/// How often to look.
const PAUSE: Duration = Duration::from_millis(500);

impl Session<'_> {
    /// Says what is left whenever that has changed; in JSON only the end is told.
    pub(super) fn drain(
        &mut self,
        request: &Request,
        name: &BackendName,
    ) -> Result<ExitCode, Error> {
        let Payload::Backend(mut backend) = self.daemon.ask(request)? else {
            return Err(unexpected());
        };
        loop {
            if !self.json {
                self.text(&render::remaining(&backend))?;
            }
            if backend.drained {
                break;
            }
            backend = self.next(name, &backend)?;
        }
        if self.json {
            self.document(&Payload::Backend(backend))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until something has changed.
    fn next(&mut self, name: &BackendName, before: &Backend) -> Result<Backend, Error> {
        loop {
            thread::sleep(PAUSE);
            let now = self.look(name)?;
            if now != *before {
                return Ok(now);
            }
        }
    }

    fn look(&mut self, name: &BackendName) -> Result<Backend, Error> {
        let service = Some(name.service.clone());
        let Payload::Backends(backends) = self.daemon.ask(&Request::BackendList { service })?
        else {
            return Err(unexpected());
        };
        let found = backends.into_iter().find(|it| it.name == name.backend);
        match found {
            None => Err(ended(name, "was removed")),
            Some(backend) if backend.state == BackendState::Up => Err(ended(name, "is up again")),
            Some(backend) => Ok(backend),
        }
    }
}

fn unexpected() -> Error {
    Error::Protocol("something else where a backend was due".into())
}

fn ended(name: &BackendName, how: &str) -> Error {
    let BackendName { service, backend } = name;
    Error::Refused(Failure {
        message: format!("backend {service}/{backend} {how}: its drain will not complete"),
        hint: Some("somebody has enabled it, or changed the configuration".to_owned()),
    })
}
