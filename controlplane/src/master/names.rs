//! What services and backends are called, for whoever says what was decided: an outcome has numbers.

use tether_dataplane::tables::id::{BackendId, ServiceId};

/// Names by number, as one configuration has them; those of removed backends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    services: Vec<String>,
    backends: Vec<String>,
}

impl Names {
    /// By their numbers from 0.
    #[must_use]
    pub fn new(services: Vec<String>, backends: Vec<String>) -> Self {
        Self { services, backends }
    }

    /// The name of a service; empty: none is meant, or there is none of that number.
    #[must_use]
    pub fn service(&self, id: Option<ServiceId>) -> &str {
        let name = id.and_then(|id| self.services.get(id.index()));
        name.map_or("", String::as_str)
    }

    /// The name of a backend; empty as in [`Self::service`].
    #[must_use]
    pub fn backend(&self, id: Option<BackendId>) -> &str {
        let name = id.and_then(|id| self.backends.get(id.index()));
        name.map_or("", String::as_str)
    }
}
