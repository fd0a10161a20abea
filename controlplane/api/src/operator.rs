//! The operator protocol: what `tetherctl` says to `tetherd` over its Unix socket.
//!
//! One JSON document per line each way. The operator writes a [`Request`]; the daemon answers with
//! one line `{"ok": {..}}` or `{"error": {"message": .., "hint": ..}}`. The verbs that may find a
//! million things (`affinity_list`, `flow_list`) are answered by one line `{"entry": {..}}` each and
//! a last `{"end": {"entries": N}}`, or by an error line at any point. Then the next request may
//! follow on the same connection. Which payload answers which verb stands at [`Request`].
//!
//! `affinity_watch` is answered by `{"ok": {"watching": ..}}` and then by a line `{"entry": {"event":
//! ..}}` for each event, until the operator hangs up or closes his half of the connection.
//!
//! `capture` is answered by `{"ok": {"capturing": ..}}` once every worker is seen, a line `{"entry":
//! {"captured": ..}}` for each frame, and, when the operator closes his half of the connection, sends
//! another line or has what he counted, by `{"entry": {"capture_end": ..}}` and the end line.
//!
//! Compatibility: fields and verbs may be added. Readers skip fields that they do not know, and
//! take the default for optional ones that are missing; a verb that the daemon does not know is an
//! error line. The payloads are what `tetherctl --json` prints, so their names are a promise.
//! Durations are milliseconds; addresses are text; `null` stands for "there is none".

mod bytes;
mod capture;
mod config;
mod event;
mod request;
mod response;
mod rows;
mod traffic;

pub use bytes::HexBytes;
pub use capture::{
    BadFilter, CaptureDirection, CaptureEnd, CaptureFilter, CaptureRequest, CaptureTerm,
    CaptureTest, CapturedFrame, Capturing, DecidedBy, SNAP_LENGTH,
};
pub use config::{
    ChangeKind, ConfigApplied, ConfigChange, ConfigCheck, ConfigDiff, ConfigFile, ConfigText,
    FieldChange,
};
pub use event::{Event, EventKind, WatchFilter, Watching};
pub use request::{AffinityFilter, AffinityKey, ExplainPacket, FlowFilter, Request, StartAffinity};
pub use response::{End, Entry, Failure, Payload, Response};
pub use rows::{
    AdminState, Affinity, AffinityCount, AffinityState, AffinitySwitch, Backend, BackendState,
    ExplainedFrame, Explanation, Flow, Flushed, OuterHeaders, PlacedBy, Protocol, Service,
    SignalOutcome,
};
pub use traffic::{
    Journal, KEPT_FATES, Neighbour, NeighbourState, Port, PortCounters, PortStats, Stats, Status,
    TableFill, Worker, WorkerStats,
};

/// Where the daemon listens and `tetherctl` looks, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/tether/operator.sock";

/// Longest request line, in bytes; the daemon answers a longer one with an error and hangs up.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Longest line of a request that carries a configuration, in bytes. Such a line begins with
/// [`CONFIG_REQUEST`], so that the daemon knows it before it is whole.
pub const CONFIG_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How the line of a long request begins.
pub const CONFIG_REQUEST: &str = "{\"verb\":\"config_";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, json, to_value};

    #[test]
    fn requests_are_tagged_by_their_verb() {
        let list = Request::AffinityList(AffinityFilter {
            service: Some("shop".into()),
            ..AffinityFilter::default()
        });
        let expected = json!({"verb": "affinity_list", "service": "shop", "backend": null,
            "source": null, "state": null, "expiring_within_ms": null});
        assert_eq!(to_value(&list).unwrap(), expected);
        assert_eq!(
            to_value(Request::Status).unwrap(),
            json!({"verb": "status"})
        );
    }

    #[test]
    fn absent_fields_take_their_defaults_and_unknown_ones_are_skipped() {
        let request: Request = from_str(
            r#"{"verb":"affinity_start","service":"shop","source":"10.1.2.3/16","backend":"a","new":1}"#,
        )
        .unwrap();
        let expected = Request::AffinityStart(StartAffinity {
            key: AffinityKey {
                service: "shop".into(),
                source: "10.1.0.0/16".parse().unwrap(),
            },
            backend: "a".into(),
            duration_ms: None,
            until_ended: false,
            keep_on_reboot: false,
        });
        assert_eq!(request, expected);
    }

    #[test]
    fn a_source_that_is_not_one_is_refused_with_advice() {
        let line = r#"{"verb":"affinity_show","service":"shop","source":"10.1.2"}"#;
        let error = from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("write 10.1.2.3"), "{error}");
    }

    #[test]
    fn responses_have_one_of_four_shapes() {
        let shape = |line: &str| from_str::<Response>(line).unwrap();
        assert_eq!(
            shape(r#"{"error":{"message":"no"}}"#),
            Response::Error(Failure {
                message: "no".into(),
                hint: None
            })
        );
        assert_eq!(
            shape(r#"{"end":{"entries":3}}"#),
            Response::End(End { entries: 3 })
        );
        assert_eq!(
            shape(r#"{"ok":{"flushed":{"ended":2}}}"#),
            Response::Ok(Payload::Flushed(Flushed { ended: 2 }))
        );
    }

    #[test]
    fn the_fields_of_an_affinity_are_the_promised_ones() {
        let row = to_value(Affinity::default()).unwrap();
        let mut names: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut promised = [
            "service",
            "source",
            "owner",
            "state",
            "created_ms_ago",
            "last_hit_ms_ago",
            "duration_ms",
            "remaining_ms",
            "hits",
            "flows",
            "generation",
        ];
        names.sort_unstable();
        promised.sort_unstable();
        assert_eq!(names, promised);
    }

    #[test]
    fn an_outcome_code_is_written_by_its_name() {
        let outcome = SignalOutcome {
            code: crate::v1::OutcomeCode::NotFound,
            ..Default::default()
        };
        let text = to_value(&outcome).unwrap();
        assert_eq!(text["code"], "NOT_FOUND");
        assert_eq!(
            serde_json::from_value::<SignalOutcome>(text).unwrap(),
            outcome
        );
        assert!(from_str::<SignalOutcome>(r#"{"code":"NO_SUCH"}"#).is_err());
    }
}
