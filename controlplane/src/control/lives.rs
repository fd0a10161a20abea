//! The lives of a backend's process, as far as its sessions tell of them (contract rule S7).

use super::Control;
use crate::{
    authorise::speaks_for,
    master::{Backend, Boot},
    signal::Identity,
};
use tether_dataplane::{clock::Millis, tables::id::BackendId};

impl Control {
    /// A session has begun: what an earlier life of the backend started ends, though the new one
    /// has not signalled anything yet.
    ///
    /// A name is that of all backends so named which the identity speaks for: one process may serve
    /// several services. Where it names none and may be one of several, its first signal to each
    /// tells: a process beside it may be the other one.
    pub(super) fn hear_of_life(
        &mut self,
        identity: &Identity,
        backend: &str,
        boot_id: u64,
        now: Millis,
    ) {
        let mine = speaks_for(&self.master.registry, identity)
            .filter(|it| !it.is_removed && (backend.is_empty() || it.name() == backend));
        let mut mine: Vec<_> = mine.map(|it| it.id).collect();
        mine.dedup();
        if backend.is_empty() && mine.len() > 1 {
            return;
        }
        for id in mine {
            self.begin_life(id, boot_id, now);
        }
    }

    /// A life that is new costs a signal, as when a signal tells of it (contract rule P4); beyond
    /// the rate it is left to the first signal. A first life has nothing before it that could end.
    fn begin_life(&mut self, id: BackendId, boot_id: u64, now: Millis) {
        let rate = self.master.limits.signals_per_second_per_backend;
        let backend = self.master.registry.backend_mut(id);
        let Some(backend) = backend.filter(|it| it.boots.judge(boot_id) == Boot::New) else {
            return;
        };
        if backend.signals.take(rate, now) {
            self.reboot(id, boot_id);
        } else {
            log::debug!("backend {}: a new life beyond its rate", backend.name());
        }
    }

    /// Another life has begun: ends what the older ones have started.
    pub(super) fn reboot(&mut self, id: BackendId, boot_id: u64) {
        self.has_booted(id);
        let ended = self.state().reboot(id, boot_id);
        self.has_changed |= ended > 0;
        let name = self.master.registry.backend(id).map(Backend::name);
        let name = name.unwrap_or_default();
        match ended {
            0 => log::debug!("backend {name} has begun another life"),
            ended => log::info!(
                "backend {name} has begun another life: {ended} older affinities have ended"
            ),
        }
    }

    /// What is known of its lives is to be written down.
    pub(super) fn has_booted(&mut self, id: BackendId) {
        if let Some(recorder) = &mut self.recorder {
            recorder.has_booted(id);
        }
    }
}
