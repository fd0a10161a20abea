//! What a line of the audit log says.

use serde::{Serialize, Serializer};
use std::time::SystemTime;
use tether_api::Source;

/// A line; what does not apply is left out of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Of the wall clock, in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: SystemTime,
    /// `start`, `extend`, `end`, `expire`, `replace`, `refuse`; `dropped` and `failed` tell of lines
    /// that are missing.
    pub(crate) event: &'static str,
    /// Who has asked for it: `address:..`, `certificate:..`, `operator:..` with the user id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) identity: String,
    /// Of a refusal: what was asked for.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) signal: &'static str,
    /// Name of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    /// The client, canonical (contract rule S4), perhaps masked.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "source_as_text"
    )]
    pub(crate) key: Option<Source>,
    /// Name of the backend that owns it, or did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) owner: String,
    /// Of a replacement: name of the backend that owns it now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) new_owner: String,
    /// The duration granted.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) granted_ms: u64,
    /// It has no deadline.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) until_ended: bool,
    /// The outcome of the contract's section 4.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) outcome: &'static str,
    /// Of an end that nobody signalled: what for.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) reason: &'static str,
    /// One sentence on a refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// How many lines are missing.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lines: u64,
}

impl Line {
    /// Something that happens now.
    pub(crate) fn now(event: &'static str) -> Self {
        Self {
            time: SystemTime::now(),
            event,
            identity: String::new(),
            signal: "",
            service: String::new(),
            key: None,
            owner: String::new(),
            new_owner: String::new(),
            granted_ms: 0,
            until_ended: false,
            outcome: "",
            reason: "",
            detail: String::new(),
            lines: 0,
        }
    }

    /// So many lines were too many.
    pub(super) fn dropped(lines: u64) -> Self {
        Self {
            lines,
            ..Self::now("dropped")
        }
    }

    /// So many lines could not be written.
    pub(super) fn failed(lines: u64) -> Self {
        Self {
            lines,
            ..Self::now("failed")
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn source_as_text<S: Serializer>(source: &Option<Source>, to: S) -> Result<S::Ok, S::Error> {
    match source {
        Some(source) => to.collect_str(source),
        None => to.serialize_none(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
