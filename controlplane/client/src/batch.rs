//! From what is asked to the batch that asks it.

use std::time::Duration;

use tether_api::v1::{Signal, SignalBatch, signal::Operation};

use crate::{Config, Destination, Key, Options, options::Lifetime, pending::Promise};

/// One signal that is on its way, and who waits for its outcome.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    /// Which life of the key in the ledger it is about; 0: none.
    pub(crate) life: u64,
    pub(crate) what: What,
    /// `None`: the library asks for itself.
    pub(crate) promise: Option<Promise>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `remaining` is for assertions after a new epoch (L3).
    Start {
        options: Options,
        remaining: Option<Duration>,
    },
    Extend {
        duration: Option<Duration>,
    },
    End {
        generation: Option<u64>,
    },
}

/// The batch that asks for all of these, in their order.
pub(crate) fn batch(config: &Config, sequence: u64, asked: &[Asked]) -> SignalBatch {
    let mut services = Vec::new();
    let signals = asked.iter().map(|one| signal(one, &mut services)).collect();
    SignalBatch {
        sequence,
        backend: config.backend.clone(),
        boot_id: config.boot_id,
        services,
        signals,
    }
}

fn signal(asked: &Asked, services: &mut Vec<String>) -> Signal {
    let mut signal = Signal::default();
    signal.set_source(&asked.key.source);
    match &asked.key.destination {
        Destination::Address(address) => signal.set_destination(*address),
        Destination::Service(name) => signal.service_index = index(name, services),
    }
    match asked.what {
        What::Start { options, remaining } => {
            signal.set_operation(Operation::Start);
            match options.lifetime {
                Lifetime::ServiceDefault => {}
                Lifetime::For(duration) => signal.duration_ms = milliseconds(Some(duration)),
                Lifetime::UntilEnded => signal.until_ended = true,
            }
            signal.remaining_ms = milliseconds(remaining);
            signal.keep_on_reboot = options.keep_on_reboot;
            signal.bound_to_session = options.bound_to_session;
        }
        What::Extend { duration } => {
            signal.set_operation(Operation::Extend);
            signal.duration_ms = milliseconds(duration);
        }
        What::End { generation } => {
            signal.set_operation(Operation::End);
            signal.generation = generation;
        }
    }
    signal
}

/// Counted from 1; a process is a backend of few services.
fn index(name: &str, services: &mut Vec<String>) -> u32 {
    let position = services
        .iter()
        .position(|known| known == name)
        .unwrap_or_else(|| {
            services.push(name.to_owned());
            services.len() - 1
        });
    u32::try_from(position + 1).unwrap_or(u32::MAX)
}

/// 0 is "the default" on the wire, so whatever is asked for is at least 1.
fn milliseconds(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |span| {
        u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(destination: Destination, what: What) -> Asked {
        let key = Key {
            destination,
            source: "10.1.2.3".parse().unwrap(),
        };
        Asked {
            key,
            life: 0,
            what,
            promise: None,
        }
    }

    #[test]
    fn services_are_named_once() {
        let end = What::End {
            generation: Some(7),
        };
        let list = ["shop", "mail", "shop"].map(|name| asked(name.into(), end));
        let batch = batch(&Config::new("http://x").backend("shop-1"), 3, &list);
        assert_eq!((batch.sequence, batch.backend.as_str()), (3, "shop-1"));
        assert_eq!(batch.services, ["shop", "mail"]);
        let indices: Vec<_> = batch
            .signals
            .iter()
            .map(|signal| signal.service_index)
            .collect();
        assert_eq!(indices, [1, 2, 1]);
        assert_eq!(batch.signals[0].generation, Some(7));
    }

    #[test]
    fn a_duration_below_a_millisecond_is_not_the_default() {
        let options = Options::new().duration(Duration::from_micros(1));
        let start = What::Start {
            options,
            remaining: None,
        };
        let batch = batch(&Config::new("http://x"), 1, &[asked("shop".into(), start)]);
        assert_eq!(batch.signals[0].duration_ms, 1);
        assert_eq!(batch.signals[0].remaining_ms, 0);
    }
}
