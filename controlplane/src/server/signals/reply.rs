//! From an [`Outcome`] to the wire.

use super::read::Wrong;
use crate::{
    command::{NotAcknowledged, Outcomes},
    master::Names,
    signal::Outcome,
};
use std::{net::IpAddr, sync::Arc};
use tether_api::{
    Source,
    v1::{self, CompactOutcome, OutcomeBatch, OutcomeCode},
};

/// Says of signals that could not be read what the edge knows and the control thread does not: a
/// destination that is none has no name there.
pub(super) fn explain(outcomes: &mut [Outcome], wrong: Vec<(usize, Wrong)>) {
    for (place, wrong) in wrong {
        let outcome = outcomes.get_mut(place);
        if let Some(outcome) = outcome.filter(|it| it.code == OutcomeCode::Invalid) {
            outcome.detail = wrong;
        }
    }
}

/// The answer to a unary call.
pub(super) fn outcome(epoch: u64, names: &Names, outcome: Outcome) -> v1::Outcome {
    v1::Outcome {
        code: outcome.code.into(),
        granted_ms: outcome.granted_ms,
        remaining_ms: outcome.remaining_ms,
        generation: outcome.generation,
        epoch,
        key: outcome.key.map(String::from).unwrap_or_default(),
        owner: names.backend(outcome.owner).to_owned(),
        detail: outcome.detail,
        service: names.service(outcome.service).to_owned(),
        until_ended: outcome.until_ended,
    }
}

/// What is said of each signal of a batch that is not acknowledged.
pub(super) fn unavailable(signals: usize, why: &NotAcknowledged) -> Outcomes {
    let outcome = Outcome {
        code: OutcomeCode::Unavailable,
        detail: why.to_string(),
        ..Outcome::default()
    };
    Outcomes {
        epoch: why.epoch,
        outcomes: vec![outcome; signals],
        names: Arc::default(),
    }
}

/// The answer to a batch.
pub(super) fn batch(sequence: u64, sent: &[v1::Signal], outcomes: Outcomes) -> OutcomeBatch {
    let answers = outcomes.outcomes.into_iter().zip(sent);
    OutcomeBatch {
        sequence,
        epoch: outcomes.epoch,
        outcomes: answers
            .map(|(outcome, sent)| compact(sent, &outcomes.names, outcome))
            .collect(),
    }
}

/// The key is told only where it is not what was sent, the owner only where the signal was refused:
/// of what succeeds it is the sender.
fn compact(sent: &v1::Signal, names: &Names, outcome: Outcome) -> CompactOutcome {
    let key = outcome.key.filter(|key| !is_as_sent(sent, key));
    let owner = outcome.owner.filter(|_| !outcome.code.is_positive());
    CompactOutcome {
        code: outcome.code.into(),
        granted_ms: outcome.granted_ms,
        remaining_ms: outcome.remaining_ms,
        generation: outcome.generation,
        key: key.map(String::from).unwrap_or_default(),
        owner: names.backend(owner).to_owned(),
        detail: outcome.detail,
        until_ended: outcome.until_ended,
    }
}

fn is_as_sent(sent: &v1::Signal, key: &Source) -> bool {
    let same_address = match key.address() {
        IpAddr::V4(v4) => sent.source[..] == v4.octets(),
        IpAddr::V6(v6) => sent.source[..] == v6.octets(),
    };
    let prefix_length = key.is_subnet().then(|| u32::from(key.prefix_length()));
    same_address && sent.source_port == u32::from(key.port()) && sent.prefix_length == prefix_length
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_api::Bytes;
    use tether_dataplane::tables::id::BackendId;

    fn answer(sent: &v1::Signal, code: OutcomeCode) -> CompactOutcome {
        let outcome = Outcome {
            code,
            key: sent.source().ok(),
            owner: Some(BackendId(0)),
            ..Default::default()
        };
        let names = Names::new(vec!["shop".into()], vec!["shop-1".into()]);
        compact(sent, &names, outcome)
    }

    #[test]
    fn the_key_is_told_where_it_is_not_what_was_sent() {
        let sent = |address: &[u8], prefix_length| v1::Signal {
            source: Bytes::copy_from_slice(address),
            prefix_length,
            ..Default::default()
        };
        let key = |signal| answer(&signal, OutcomeCode::Created).key;
        assert_eq!(key(sent(&[10, 1, 2, 3], None)), "");
        assert_eq!(key(sent(&[10, 1, 0, 0], Some(16))), "");
        assert_eq!(key(sent(&[10, 1, 2, 3], Some(16))), "10.1.0.0/16");
        assert_eq!(key(sent(&[10, 1, 2, 3], Some(32))), "10.1.2.3");
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(key(sent(&mapped, None)), "10.1.2.3");
    }

    #[test]
    fn what_could_not_be_read_is_said_where_it_is_the_reason() {
        let outcome = |code| Outcome {
            code,
            detail: "no service".into(),
            ..Default::default()
        };
        let mut outcomes = [OutcomeCode::Invalid, OutcomeCode::Denied].map(outcome);
        let wrong = "destination: none".to_owned();
        explain(&mut outcomes, vec![(0, wrong.clone()), (1, wrong)]);
        let details = outcomes.map(|it| it.detail);
        assert_eq!(details, ["destination: none", "no service"]);
    }

    #[test]
    fn the_owner_is_told_where_it_may_be_another() {
        let mut sent = v1::Signal::default();
        sent.set_source(&"10.1.2.3:5000".parse().unwrap());
        assert_eq!(answer(&sent, OutcomeCode::Refreshed).owner, "");
        assert_eq!(answer(&sent, OutcomeCode::Conflict).owner, "shop-1");
    }
}
