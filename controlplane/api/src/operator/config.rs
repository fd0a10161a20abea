//! The configuration as operators check, compare, apply and see it.

use serde::{Deserialize, Serialize};

/// A configuration that an operator sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// What problems call it, such as the path of the file.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Whether the running daemon would take a configuration over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigCheck {
    /// Whether it would.
    pub ok: bool,
    /// Everything that is in its way: `name:line:column: message (help)` where it is the file.
    pub problems: Vec<String>,
    /// What is read but has no effect in this version.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a configuration would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDiff {
    /// The changes; none: it says what runs already.
    pub changes: Vec<ConfigChange>,
    /// Why it would not be taken over, such as what needs a restart; empty: it would.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// What happens to a service or a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It goes, with its affinities.
    Removed,
    /// It stays, with its flows and affinities, and differs.
    #[default]
    Changed,
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// What happens.
    pub kind: ChangeKind,
    /// Name of the service; `null`: it is about the whole forwarder.
    pub service: Option<String>,
    /// Name of the backend; `null`: it is about the service.
    pub backend: Option<String>,
    /// The values that differ.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// Flows that it had before the change.
    #[serde(default)]
    pub flows: u64,
    /// Affinities that it had before the change.
    #[serde(default)]
    pub affinities: u64,
}

/// A value that differs, as the file writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its key, such as `affinity.duration`.
    pub field: String,
    /// The old value.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// A configuration was taken over and every worker forwards by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigApplied {
    /// What has changed; none: it said what ran already.
    pub changes: Vec<ConfigChange>,
    /// How many affinities of removed backends have ended.
    pub affinities_ended: u64,
    /// The daemon's own file, which SIGHUP and a restart read; it is never written.
    pub file: String,
    /// Whether that file says what runs now.
    pub file_agrees: bool,
}

/// The configuration that runs, as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigText {
    /// What a file would say.
    pub text: String,
}
