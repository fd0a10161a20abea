//! A backend as the control thread knows it: what it is configured to be, what the operator wants,
//! what its health says, which life of its process speaks, and how much it has said this second.

use super::{bucket::Bucket, rise::Rise};
use crate::config;
use tether_api::operator::AdminState;
use tether_dataplane::tables::{
    backend::BackendState,
    id::{BackendId, ServiceId},
};

/// One instance of the server of one service.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its place in the tables, for as long as its name is configured (contract rule B4).
    pub id: BackendId,
    /// The service that it serves.
    pub service: ServiceId,
    /// That service's name, which outlives the service.
    pub service_name: String,
    /// As configured.
    pub settings: config::Backend,
    /// What the operator wants it to be.
    pub admin: AdminState,
    /// What its probes say; true before they say anything.
    pub is_healthy: bool,
    /// Its share, as configured or as an operator has set it since.
    pub weight: u32,
    /// How far it has come since it came up (`slow_start`).
    pub rise: Rise,
    /// The tenths of its weight that it has now, beside the others of its service.
    pub tenths: u32,
    /// The lives of its process.
    pub boots: Boots,
    /// Signals that it may still send.
    pub signals: Bucket,
    /// Whether it is no longer configured: known only so that its signals can be told so.
    pub is_removed: bool,
}

/// What a backend begins with.
#[derive(Clone, Debug)]
pub(super) struct NewBackend {
    pub(super) id: BackendId,
    pub(super) service: ServiceId,
    pub(super) service_name: String,
    pub(super) settings: config::Backend,
}

/// The lives of a backend's process, by the boot ids that it chose (contract rule S7).
///
/// Two are known. A process from before these that speaks again cannot be told from a new one: it ends
/// what the current one has started, and the current one is `Succeeded` then, until it starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    current: u64,
    previous: u64,
}

/// What a boot id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// Nothing, or what is known.
    Same,
    /// The first that is known: nothing older can have ended.
    First,
    /// Another life has begun: what belongs to the one before is over.
    New,
    /// The life before the current one: a late message of a process that was succeeded.
    Succeeded,
}

impl Boots {
    /// What a signal's boot id says; 0: not stated.
    #[must_use]
    pub fn judge(self, boot_id: u64) -> Boot {
        match boot_id {
            0 => Boot::Same,
            id if id == self.current => Boot::Same,
            _ if self.current == 0 => Boot::First,
            id if id == self.previous => Boot::Succeeded,
            _ => Boot::New,
        }
    }

    /// As they were before a restart: the life that spoke last, and the one before it; 0: none.
    #[must_use]
    pub fn restored(current: u64, previous: u64) -> Self {
        Self { current, previous }
    }

    /// The life that has spoken last, and the one before it; 0: none.
    #[must_use]
    pub fn known(self) -> (u64, u64) {
        (self.current, self.previous)
    }

    /// A life begins.
    pub fn begin(&mut self, boot_id: u64) {
        self.previous = self.current;
        self.current = boot_id;
    }
}

impl Backend {
    pub(super) fn new(new: NewBackend) -> Self {
        Self {
            id: new.id,
            service: new.service,
            service_name: new.service_name,
            weight: new.settings.weight.into(),
            settings: new.settings,
            admin: AdminState::Enable,
            is_healthy: true,
            rise: Rise::Down,
            tenths: 1,
            boots: Boots::default(),
            signals: Bucket::default(),
            is_removed: false,
        }
    }

    /// Takes over new settings. A weight that an operator has set stays until the file's changes;
    /// a backend that is probed no longer is taken to be up.
    pub(super) fn keep(&mut self, settings: &config::Backend, has_health: bool) {
        if settings.weight != self.settings.weight {
            self.weight = settings.weight.into();
        }
        self.is_healthy |= !has_health;
        self.settings = settings.clone();
    }

    /// Its name within its service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it takes (contract section 6). Its health outweighs the operator's will: flows to a
    /// host that does not answer are moved also while it is drained or disabled.
    #[must_use]
    pub fn state(&self) -> BackendState {
        match self.admin {
            _ if !self.is_healthy => BackendState::Down,
            AdminState::Enable => BackendState::Up,
            AdminState::Drain => BackendState::Draining,
            AdminState::Disable => BackendState::Disabled,
        }
    }

    /// Whether it is there and its affinities route: what a conflict is about.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.is_removed && self.state().takes_affinities()
    }
}
