//! From the wire to a [`Signal`]. What cannot be read becomes a signal all the same, with what is
//! wrong with it, so that it is counted and answered in its place: refusals are outcomes. What is
//! too long goes no further (contract rule S10).

use crate::{
    server::limits,
    signal::{Asked, Destination, Operation, Signal},
};
use std::{cell::OnceCell, net::SocketAddr, sync::Arc};
use tether_api::{
    Source, Target,
    v1::{
        EndRequest, ExtendRequest, ListRequest, Signal as Compact, SignalBatch, StartRequest,
        WatchRequest, signal,
    },
};

/// What is wrong with a field, and the field.
pub(super) type Wrong = String;

/// The text form of a key, as unary calls have it.
struct Key<'a> {
    service: &'a str,
    destination: &'a str,
    source: &'a str,
}

pub(super) fn start(request: &StartRequest) -> Signal {
    let session = if request.bound_to_session {
        Err("bound_to_session: Start has no session; send it on a Signals stream".to_owned())
    } else {
        Ok(None)
    };
    let operation = session.and_then(|session| {
        Ok(Operation::Start {
            duration: start_duration(request.duration_ms, request.until_ended)?,
            remaining_ms: request.remaining_ms,
            keep_on_reboot: request.keep_on_reboot,
            session,
        })
    });
    let key = Key {
        service: &request.service,
        destination: &request.destination,
        source: &request.source,
    };
    let fallback = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session: None,
    };
    let signal = assemble(key.destination(), key.source(), operation, fallback);
    Signal {
        boot_id: request.boot_id,
        ..of_backend(&request.backend, signal)
    }
}

pub(super) fn extend(request: &ExtendRequest) -> Signal {
    let key = Key {
        service: &request.service,
        destination: &request.destination,
        source: &request.source,
    };
    let operation = Operation::Extend {
        duration: milliseconds(request.duration_ms),
        generation: request.generation,
    };
    let signal = assemble(key.destination(), key.source(), Ok(operation), operation);
    of_backend(&request.backend, signal)
}

pub(super) fn end(request: &EndRequest) -> Signal {
    let key = Key {
        service: &request.service,
        destination: &request.destination,
        source: &request.source,
    };
    let operation = Operation::End {
        generation: request.generation,
    };
    let signal = assemble(key.destination(), key.source(), Ok(operation), operation);
    of_backend(&request.backend, signal)
}

/// The signals of a batch that came in this session. Names that they use are copied once, and shared.
pub(super) fn batch(batch: &SignalBatch, session: u64) -> Vec<Signal> {
    let names = Names {
        services: vec![OnceCell::new(); batch.services.len()],
        backend: backend(&batch.backend),
    };
    let read = |compact| compact_signal(batch, &names, compact, session);
    batch.signals.iter().map(read).collect()
}

/// The names that the signals of a batch share.
struct Names {
    services: Vec<OnceCell<Arc<str>>>,
    backend: Option<Arc<str>>,
}

impl Names {
    /// That of a place counted from 1, where the batch has this one.
    fn service(&self, place: u32, name: &str) -> Arc<str> {
        let copy = self.services[place as usize - 1].get_or_init(|| name.into());
        Arc::clone(copy)
    }
}

fn compact_signal(batch: &SignalBatch, names: &Names, compact: &Compact, session: u64) -> Signal {
    let destination = compact.target(batch).map(|target| match target {
        Target::Service(name) => Destination::Service(names.service(compact.service_index, name)),
        Target::Destination(address) => Destination::Address(address),
    });
    let source = compact.source().map_err(|bad| bad.to_string());
    let signal = assemble(
        destination.map_err(|bad| bad.to_string()),
        source,
        compact_operation(compact, session),
        Operation::End { generation: None },
    );
    Signal {
        backend: names.backend.clone(),
        boot_id: batch.boot_id,
        ..signal
    }
}

fn compact_operation(compact: &Compact, session: u64) -> Result<Operation, Wrong> {
    match compact.operation() {
        signal::Operation::Start => Ok(Operation::Start {
            duration: start_duration(compact.duration_ms, compact.until_ended)?,
            remaining_ms: compact.remaining_ms,
            keep_on_reboot: compact.keep_on_reboot,
            session: compact.bound_to_session.then_some(session),
        }),
        signal::Operation::Extend => Ok(Operation::Extend {
            duration: milliseconds(compact.duration_ms),
            generation: compact.generation,
        }),
        signal::Operation::End => Ok(Operation::End {
            generation: compact.generation,
        }),
        signal::Operation::Unspecified => Err("operation: must be START, EXTEND or END".to_owned()),
    }
}

/// What is too long in the question for a list; the control thread reads the rest.
pub(super) fn list(request: &ListRequest) -> Result<(), Wrong> {
    check_name("service", &request.service)?;
    check_name("backend", &request.backend)?;
    check_address("source", &request.source)?;
    check_address("after", &request.after)
}

/// As [`list`], of a watch.
pub(super) fn watch(request: &WatchRequest) -> Result<(), Wrong> {
    check_name("service", &request.service)?;
    check_name("backend", &request.backend)
}

/// What is wrong with those signals that could not be read, by their place.
pub(super) fn wrong(signals: &[Signal]) -> Vec<(usize, Wrong)> {
    let places = signals.iter().enumerate();
    let wrong = places.filter_map(|(place, signal)| Some((place, signal.source.clone().err()?)));
    wrong.collect()
}

/// A signal of what could be read; the first thing that is wrong stands in for its source.
fn assemble(
    destination: Result<Destination, Wrong>,
    source: Result<Source, Wrong>,
    operation: Result<Operation, Wrong>,
    fallback: Operation,
) -> Signal {
    let wrong = destination.as_ref().err().or(operation.as_ref().err());
    let source = wrong.map_or(source, |wrong| Err(wrong.clone()));
    Signal {
        destination: destination.unwrap_or_else(|_| Destination::Service(Arc::default())),
        source,
        operation: operation.unwrap_or(fallback),
        backend: None,
        boot_id: 0,
    }
}

/// A name that is too long is none, and is the first thing said to be wrong if nothing else is.
fn of_backend(name: &str, signal: Signal) -> Signal {
    match check_name("backend", name) {
        Ok(()) => Signal {
            backend: backend(name),
            ..signal
        },
        Err(wrong) => Signal {
            source: signal.source.and(Err(wrong)),
            ..signal
        },
    }
}

/// The backend of a name; empty: none is named.
fn backend(name: &str) -> Option<Arc<str>> {
    (!name.is_empty()).then(|| name.into())
}

fn check_name(field: &str, text: &str) -> Result<(), Wrong> {
    check_length(field, text, limits::NAME_BYTES)
}

fn check_address(field: &str, text: &str) -> Result<(), Wrong> {
    check_length(field, text, limits::ADDRESS_BYTES)
}

/// What is longer than it can be is not repeated: neither in answers nor in logs.
fn check_length(field: &str, text: &str, most: usize) -> Result<(), Wrong> {
    match text.len() {
        bytes if bytes > most => Err(format!(
            "{field}: it has {bytes} bytes, at most {most} may be"
        )),
        _ => Ok(()),
    }
}

impl Key<'_> {
    fn destination(&self) -> Result<Destination, Wrong> {
        check_name("service", self.service)?;
        check_address("destination", self.destination)?;
        match (self.service, self.destination) {
            ("", "") => Err("service: give the service's name, or destination".to_owned()),
            (name, "") => Ok(Destination::Service(name.into())),
            ("", text) => address(text).map(Destination::Address),
            _ => Err("destination: give it or service, not both".to_owned()),
        }
    }

    fn source(&self) -> Result<Source, Wrong> {
        check_address("source", self.source)?;
        self.source.parse::<Source>().map_err(|bad| bad.to_string())
    }
}

/// An address as a server reads it off its socket, IPv4 within IPv6 included (contract rule S4).
fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("destination {text:?}: write 10.9.0.100:80 or [fd00::100]:80"))?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn start_duration(duration_ms: u64, until_ended: bool) -> Result<Asked, Wrong> {
    match (duration_ms, until_ended) {
        (0, true) => Ok(Asked::UntilEnded),
        (_, true) => Err("duration_ms: must be 0 with until_ended".to_owned()),
        _ => Ok(milliseconds(duration_ms)),
    }
}

fn milliseconds(asked: u64) -> Asked {
    match asked {
        0 => Asked::Default,
        asked => Asked::Milliseconds(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(signal: &Signal) -> &str {
        signal.source.as_ref().unwrap_err()
    }

    fn request() -> StartRequest {
        StartRequest {
            destination: "[::ffff:10.9.0.100]:80".into(),
            source: "::ffff:10.1.2.3".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_two_addresses_of_a_dual_stack_socket_are_enough() {
        let signal = start(&request());
        let vip = "10.9.0.100:80".parse().unwrap();
        assert_eq!(signal.destination, Destination::Address(vip));
        assert_eq!(signal.source, Ok("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        type Spoil = fn(&mut StartRequest);
        let cases: [(&str, Spoil); 6] = [
            ("destination", |it| it.destination = "shop".into()),
            ("service", |it| it.destination = String::new()),
            ("destination", |it| it.service = "shop".into()),
            ("source", |it| it.source = "10.1.2".into()),
            ("bound_to_session", |it| it.bound_to_session = true),
            ("duration_ms", |it| {
                (it.duration_ms, it.until_ended) = (1, true);
            }),
        ];
        for (field, spoil) in cases {
            let mut request = request();
            spoil(&mut request);
            let signal = start(&request);
            assert!(reason(&signal).starts_with(field), "{field}: {signal:?}");
        }
    }

    #[test]
    fn s10_what_is_too_long_is_named_and_not_repeated() {
        type Field = fn(&mut StartRequest) -> &mut String;
        let cases: [(&str, Field); 4] = [
            ("service", |it| {
                it.destination.clear();
                &mut it.service
            }),
            ("destination", |it| &mut it.destination),
            ("source", |it| &mut it.source),
            ("backend", |it| &mut it.backend),
        ];
        for (field, of) in cases {
            for (bytes, is_long) in [(64, false), (65, true), (1 << 20, true)] {
                let mut request = request();
                *of(&mut request) = "x".repeat(bytes);
                let signal = start(&request);
                let wrong = signal.source.clone().err().unwrap_or_default();
                let says_so = wrong.starts_with(field) && wrong.contains("at most 64");
                assert_eq!(says_so, is_long, "{field} {bytes}: {wrong}");
                assert!(format!("{signal:?}").len() < 600, "{field} {bytes}");
            }
        }
        let longest = "[1111:2222:3333:4444:5555:6666:111.222.111.222%4294967295]:65535";
        let request = StartRequest {
            destination: longest.into(),
            ..request()
        };
        assert_eq!(longest.len(), limits::ADDRESS_BYTES);
        assert!(start(&request).source.is_ok());
    }

    #[test]
    fn s10_extensions_ends_and_questions_have_the_same_limits() {
        type Field = fn(&mut ListRequest) -> &mut String;
        let long = || "x".repeat(65);
        let extension = extend(&ExtendRequest {
            service: long(),
            ..Default::default()
        });
        let ended = end(&EndRequest {
            service: "shop".into(),
            source: "10.1.2.3".into(),
            backend: long(),
            ..Default::default()
        });
        assert!(reason(&extension).starts_with("service: it has 65"));
        assert!(reason(&ended).starts_with("backend: it has 65"));
        let fields: [(&str, Field); 4] = [
            ("service", |it| &mut it.service),
            ("backend", |it| &mut it.backend),
            ("source", |it| &mut it.source),
            ("after", |it| &mut it.after),
        ];
        for (field, of) in fields {
            let mut request = ListRequest::default();
            *of(&mut request) = long();
            let wrong = list(&request).unwrap_err();
            assert!(wrong.starts_with(field) && !wrong.contains("xx"), "{wrong}");
            of(&mut request).pop();
            assert_eq!(list(&request), Ok(()));
        }
        let request = WatchRequest {
            backend: long(),
            ..Default::default()
        };
        assert!(watch(&request).unwrap_err().starts_with("backend"));
    }

    #[test]
    fn nothing_and_until_ended_are_asked_for_by_name() {
        assert_eq!(start_duration(0, false), Ok(Asked::Default));
        assert_eq!(start_duration(7, false), Ok(Asked::Milliseconds(7)));
        assert_eq!(start_duration(0, true), Ok(Asked::UntilEnded));
    }

    #[test]
    fn a_batch_lends_its_signals_what_they_share() {
        let mut compact = Compact {
            operation: signal::Operation::Start.into(),
            service_index: 1,
            bound_to_session: true,
            ..Default::default()
        };
        compact.set_source(&"10.1.0.0/16".parse().unwrap());
        let sent = SignalBatch {
            backend: "shop-1".into(),
            boot_id: 9,
            services: vec!["shop".into()],
            signals: vec![
                compact.clone(),
                Compact {
                    service_index: 2,
                    ..compact
                },
            ],
            sequence: 0,
        };
        let signals = batch(&sent, 5);
        let expected = Signal {
            destination: Destination::Service("shop".into()),
            source: Ok("10.1.0.0/16".parse().unwrap()),
            operation: Operation::Start {
                duration: Asked::Default,
                remaining_ms: 0,
                keep_on_reboot: false,
                session: Some(5),
            },
            backend: Some("shop-1".into()),
            boot_id: 9,
        };
        assert_eq!(signals[0], expected);
        assert!(reason(&signals[1]).starts_with("service_index"));
    }

    #[test]
    fn a_signal_without_an_operation_is_wrong() {
        let sent = SignalBatch {
            signals: vec![Compact {
                service_index: 1,
                ..Default::default()
            }],
            services: vec!["shop".into()],
            ..Default::default()
        };
        assert!(reason(&batch(&sent, 1)[0]).starts_with("operation"));
    }
}
