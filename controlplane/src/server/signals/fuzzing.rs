//! Any bytes as what servers send: an encoded message, whose kind the first byte says.

use super::read;
use crate::server::limits;
use prost::Message;
use tether_api::v1::{
    EndRequest, ExtendRequest, ListRequest, SignalBatch, StartRequest, WatchRequest,
};

/// Reads a message.
///
/// # Panics
///
/// Where signals get lost between the wire and the control thread, or what is too long goes on.
pub fn signals(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 6 {
        0 => check_batch(bytes),
        1 => check(StartRequest::decode(bytes).map(|it| vec![read::start(&it)])),
        2 => check(ExtendRequest::decode(bytes).map(|it| vec![read::extend(&it)])),
        3 => check(EndRequest::decode(bytes).map(|it| vec![read::end(&it)])),
        4 => drop(ListRequest::decode(bytes).map(|it| read::list(&it))),
        _ => drop(WatchRequest::decode(bytes).map(|it| read::watch(&it))),
    }
}

fn check_batch(bytes: &[u8]) {
    if let Ok(batch) = SignalBatch::decode(bytes) {
        let signals = read::batch(&batch, 7);
        assert_eq!(signals.len(), batch.signals.len());
        let wrong = read::wrong(&signals);
        assert!(
            wrong
                .iter()
                .all(|(place, _)| signals[*place].source.is_err())
        );
        for signal in &signals {
            if let Ok(source) = &signal.source {
                let again = source.to_string().parse();
                assert_eq!(again.as_ref(), Ok(source), "a source reads as it prints");
            }
        }
    }
}

/// What one signal says of itself stays short.
fn check(signals: Result<Vec<crate::signal::Signal>, prost::DecodeError>) {
    for signal in signals.unwrap_or_default() {
        let said = signal.source.as_ref().err().map_or(0, String::len);
        assert!(said < 600, "{signal:?}");
        let backend = signal.backend.as_deref().unwrap_or_default();
        assert!(backend.len() <= limits::NAME_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, path::Path};
    use tether_api::v1::{Signal, signal};

    const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/signals");

    fn batch() -> SignalBatch {
        let mut start = Signal {
            operation: signal::Operation::Start.into(),
            service_index: 1,
            duration_ms: 60_000,
            bound_to_session: true,
            ..Default::default()
        };
        start.set_source(&"10.1.0.0/16".parse().unwrap());
        let mut end = Signal {
            operation: signal::Operation::End.into(),
            generation: Some(9),
            ..Default::default()
        };
        end.set_source(&"[fd00::1]:5000".parse().unwrap());
        end.set_destination("[fd00::100]:80".parse().unwrap());
        SignalBatch {
            backend: "shop-1".into(),
            boot_id: 9,
            services: vec!["shop".into()],
            signals: vec![start, end],
            sequence: 3,
        }
    }

    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let start = StartRequest {
            destination: "[::ffff:10.9.0.100]:80".into(),
            source: "::ffff:10.1.2.3".into(),
            duration_ms: 60_000,
            ..Default::default()
        };
        let extend = ExtendRequest {
            service: "shop".into(),
            source: "10.1.2.3:4000".into(),
            ..Default::default()
        };
        let list = ListRequest {
            service: "shop".into(),
            ..Default::default()
        };
        let of = |kind: u8, message: Vec<u8>| [&[kind][..], &message].concat();
        vec![
            ("batch", of(0, batch().encode_to_vec())),
            ("start", of(1, start.encode_to_vec())),
            ("extend", of(2, extend.encode_to_vec())),
            ("list", of(4, list.encode_to_vec())),
        ]
    }

    /// `TETHER_WRITE_SEEDS=1` writes them anew.
    #[test]
    fn the_seeds_are_what_servers_send() {
        for (name, seed) in seeds() {
            let path = Path::new(SEEDS).join(name);
            if env::var_os("TETHER_WRITE_SEEDS").is_some() {
                fs::write(&path, &seed).unwrap();
            }
            let known = fs::read(&path).unwrap_or_default();
            assert_eq!(
                known, seed,
                "{name}: run with TETHER_WRITE_SEEDS=1 to write it anew"
            );
        }
    }
}
