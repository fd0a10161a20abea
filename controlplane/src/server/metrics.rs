//! `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever watches over the process.
//!
//! Counters are read by the control thread when they are asked for. A client's address is never in
//! them: what the control thread writes has names of services and backends, and numbers.

use super::{accept, commands::Commands, error::StartError, limits, signals::Credentials, stopped};
use crate::command::Command;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, net::TcpListener};
use tether_api::operator::{self, Payload, Status};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_stream::StreamExt as _;

/// The text format that Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

type Page = Response<Full<Bytes>>;

/// The listener at work, until `stop`. To be called within the runtime.
pub(super) fn serve(
    listener: TcpListener,
    commands: Commands,
    credentials: Option<Credentials>,
    mut stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()>, StartError> {
    let address = listener.local_addr().ok();
    let mut connections = accept::connections(listener, limits::SCRAPERS)
        .map_err(|error| StartError::listen(address, &error))?;
    Ok(async move {
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                Some(Ok(connection)) = connections.next() => {
                    tokio::spawn(converse(connection, commands.clone(), credentials.clone()));
                }
                else => return,
            }
        }
    })
}

async fn converse(
    connection: accept::Connection,
    commands: Commands,
    credentials: Option<Credentials>,
) {
    let pages = service_fn(|request| page(request, &commands, credentials.as_ref()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_WAIT)
        .serve_connection(TokioIo::new(connection), pages);
    if let Err(error) = served.await {
        log::debug!("a scraper's connection broke: {error}");
    }
}

async fn page(
    request: Request<Incoming>,
    commands: &Commands,
    credentials: Option<&Credentials>,
) -> Result<Page, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"));
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(commands, credentials).await,
        "/healthz" => health(commands).await,
        "/readyz" => readiness(commands).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n",
        ),
    })
}

async fn metrics(commands: &Commands, credentials: Option<&Credentials>) -> Page {
    let (reply, counters) = oneshot::channel();
    let asked = async {
        commands.send(Command::Metrics(reply)).await.ok()?;
        counters.await.ok()
    };
    match timeout(limits::ANSWER_WAIT, asked).await.ok().flatten() {
        Some(counters) => text(StatusCode::OK, counters + &handshakes(credentials)),
        None => text(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

/// What the edge counts by itself: who did not get as far as a signal (contract rule P5).
fn handshakes(credentials: Option<&Credentials>) -> String {
    let Some(credentials) = credentials else {
        return String::new();
    };
    let name = "tether_tls_handshakes_failed_total";
    let help = "TLS handshakes of the signal listener that failed.";
    let failed = credentials.failed();
    format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {failed}\n")
}

/// Whether the control thread answers.
async fn health(commands: &Commands) -> Page {
    match status(commands).await {
        Some(_) => text(StatusCode::OK, "ok\n"),
        None => text(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

const SILENT: &str = "the control thread does not answer\n";

/// Whether packets are forwarded: state loaded, ports up, every worker reporting.
async fn readiness(commands: &Commands) -> Page {
    let Some(status) = status(commands).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, SILENT);
    };
    match reasons(&status) {
        none if none.is_empty() => text(StatusCode::OK, ready(&status)),
        reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons),
    }
}

/// Packets are forwarded; what else there is to know.
fn ready(status: &Status) -> String {
    let failing = status.journal.as_ref().and_then(|it| it.failing.as_ref());
    let failing =
        failing.map(|why| format!("the journal cannot be written, signals are refused: {why}\n"));
    format!("ready\n{}", failing.unwrap_or_default())
}

/// What keeps the forwarder from being ready, one line each.
fn reasons(status: &Status) -> String {
    let ports = status.ports.iter().filter(|port| !port.link_up);
    let ports = ports.map(|port| format!("port {}: the link is down\n", port.device));
    let workers = status.workers.iter().filter(|worker| !worker.reporting);
    let workers = workers.map(|worker| format!("worker on core {} does not report\n", worker.core));
    let reasons: String = ports.chain(workers).collect();
    if reasons.is_empty() && !status.ready {
        return "the forwarder is starting or stopping\n".to_owned();
    }
    reasons
}

async fn status(commands: &Commands) -> Option<Status> {
    let (lines, mut answers) = mpsc::channel(1);
    let command = Command::Operator {
        uid: rustix::process::getuid().as_raw(),
        request: operator::Request::Status,
        lines,
    };
    let asked = async {
        commands.send(command).await.ok()?;
        answers.recv().await
    };
    match timeout(limits::ANSWER_WAIT, asked).await.ok().flatten()? {
        operator::Response::Ok(Payload::Status(status)) => Some(status),
        _ => None,
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    let format = header::HeaderValue::from_static(TEXT_FORMAT);
    page.headers_mut().insert(header::CONTENT_TYPE, format);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_api::operator::{Port, Worker};

    fn status(link_up: bool, reporting: bool, ready: bool) -> Status {
        Status {
            ready,
            ports: vec![Port {
                device: "net_null0".into(),
                link_up,
                ..Default::default()
            }],
            workers: vec![Worker {
                core: 3,
                reporting,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_failing_journal_is_ready_and_said() {
        let mut status = status(true, true, true);
        assert_eq!(ready(&status), "ready\n");
        status.journal = Some(operator::Journal {
            failing: Some("disk full".into()),
            ..Default::default()
        });
        assert_eq!(reasons(&status), "");
        assert!(ready(&status).contains("signals are refused: disk full"));
    }

    #[test]
    fn ready_is_ports_up_and_workers_reporting() {
        assert_eq!(reasons(&status(true, true, true)), "");
        assert_eq!(
            reasons(&status(false, false, true)),
            "port net_null0: the link is down\nworker on core 3 does not report\n"
        );
        assert!(reasons(&status(true, true, false)).contains("starting"));
    }
}
