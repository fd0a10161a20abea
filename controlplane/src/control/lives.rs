//! The lives of a backend's process, as far as its sessions tell of them (contract rule S7).

use super::Control;
use crate::{authorise::speaks_for, master::Boot, signal::Identity};

impl Control {
    /// A session has begun: what an earlier life of the backend started ends, though the new one
    /// has not signalled anything yet.
    ///
    /// Where the sender may be one of several backends, its first signal to each tells: a process
    /// beside it may be the other one.
    pub(super) fn hear_of_life(&mut self, identity: &Identity, backend: &str, boot_id: u64) {
        let mine = speaks_for(&self.master.registry, identity)
            .filter(|it| !it.is_removed && (backend.is_empty() || it.name() == backend));
        let mut mine: Vec<_> = mine.map(|it| (it.id, it.boots.judge(boot_id))).collect();
        mine.dedup_by_key(|(id, _)| *id);
        // A first life has nothing before it that could end.
        if let [(id, Boot::New)] = mine[..] {
            self.reboot(id, boot_id);
        }
    }
}
