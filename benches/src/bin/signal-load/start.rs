//! From exec to the first packet that is forwarded.

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(1);

/// How long it took.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Started {
    ready_ms: Option<f64>,
    forwarding_ms: Option<f64>,
    /// How many there were when the first packet had been forwarded.
    affinities: u64,
}

/// Runs the command until it has forwarded a packet.
pub(crate) fn measure(
    metrics: SocketAddr,
    patience: Duration,
    command: &[String],
) -> Result<Started, Box<dyn Error>> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()?;
    let started = watch(&mut child, metrics, began, patience);
    let id = Pid::from_child(&child);
    // Err: it has gone by itself, which `wait` tells.
    let _ = kill_process(id, Signal::TERM);
    child.wait()?;
    started
}

fn watch(
    child: &mut Child,
    metrics: SocketAddr,
    began: Instant,
    patience: Duration,
) -> Result<Started, Box<dyn Error>> {
    let mut started = Started::default();
    while began.elapsed() < patience {
        if let Some(status) = child.try_wait()? {
            return Err(format!("it ended by itself: {status}").into());
        }
        let page = get(metrics, "/metrics").unwrap_or_default();
        if started.forwarding_ms.is_none() && forwarded(&page) > 0 {
            started.forwarding_ms = Some(milliseconds(began));
            started.affinities = sum(&page, "tether_affinities{", "");
        }
        if started.ready_ms.is_none() && get(metrics, "/readyz").is_some_and(|it| is_ok(&it)) {
            started.ready_ms = Some(milliseconds(began));
        }
        if started.ready_ms.and(started.forwarding_ms).is_some() {
            break;
        }
        thread::sleep(PAUSE);
    }
    Ok(started)
}

fn forwarded(page: &str) -> u64 {
    sum(page, "tether_packets_total{", "fate=\"forwarded\"")
}

fn is_ok(answer: &str) -> bool {
    answer.lines().next().is_some_and(|it| it.contains(" 200"))
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

/// The answer, head and body; `None` while nobody listens.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: tether\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The sum of a page's values of one name.
fn sum(page: &str, name: &str, label: &str) -> u64 {
    let lines = page
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_cores_are_added() {
        let page = "# HELP x\nx{core=\"0\",fate=\"forwarded\"} 3\nx{core=\"1\",fate=\"forwarded\"} 4\n\
                    x{core=\"1\",fate=\"no_service\"} 9\n";
        assert_eq!(sum(page, "x{", "fate=\"forwarded\""), 7);
        assert_eq!(sum(page, "y{", ""), 0);
    }
}
