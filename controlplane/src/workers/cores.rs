//! Who runs where: each worker on its core, everything else on the others.

use super::WorkersError;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which thread may run on which cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    workers: Vec<u16>,
    // Invariant: not empty.
    others: Vec<u16>,
}

impl Cores {
    /// Divides the cores that the current thread may run on.
    ///
    /// # Errors
    /// A worker's core is not among them.
    pub fn divide(workers: &[u16]) -> Result<Self, WorkersError> {
        let allowed = sched_getaffinity(None).map_err(|error| WorkersError::System {
            what: "learn the cores of this process",
            error: error.into(),
        })?;
        let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let allowed: Vec<u16> = cores.filter_map(|core| u16::try_from(core).ok()).collect();
        Self::among(&allowed, workers)
    }

    /// Everything else goes to the cores that no worker has; where there are none, to all.
    fn among(allowed: &[u16], workers: &[u16]) -> Result<Self, WorkersError> {
        if let Some(core) = workers.iter().find(|core| !allowed.contains(core)) {
            return Err(WorkersError::Core {
                core: *core,
                allowed: list(allowed),
            });
        }
        let is_free = |core: &u16| !workers.contains(core);
        let mut others: Vec<u16> = allowed.iter().copied().filter(is_free).collect();
        if others.is_empty() {
            log::warn!(
                "workers.cores leaves no core to the control thread: signals wait for workers"
            );
            others = allowed.to_vec();
        }
        Ok(Self {
            workers: workers.to_vec(),
            others,
        })
    }

    /// The core of each worker.
    #[must_use]
    pub fn workers(&self) -> &[u16] {
        &self.workers
    }

    /// Keeps the current thread, and all that it starts from here on, off the workers' cores.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_off(&self) -> Result<(), WorkersError> {
        pin(&self.others)
    }

    /// EAL's one lcore, on the cores that are not the workers': they register themselves.
    pub(super) fn lcores_argument(&self) -> String {
        format!("--lcores=0@({})", list(&self.others))
    }
}

/// Lets the current thread run on these cores only.
pub(super) fn pin(cores: &[u16]) -> Result<(), WorkersError> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(usize::from(*core));
    }
    sched_setaffinity(None, &set).map_err(|error| WorkersError::System {
        what: "choose the cores of a thread",
        error: error.into(),
    })
}

fn list(cores: &[u16]) -> String {
    let cores: Vec<String> = cores.iter().map(u16::to_string).collect();
    cores.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_thread_keeps_off_the_workers() {
        let cores = Cores::among(&[0, 1, 2, 5], &[1, 2]).unwrap();
        assert_eq!(cores.others, [0, 5]);
        assert_eq!(cores.lcores_argument(), "--lcores=0@(0,5)");
    }

    #[test]
    fn it_shares_where_there_is_no_other() {
        let cores = Cores::among(&[0, 1], &[1, 0]).unwrap();
        assert_eq!(cores.others, [0, 1]);
    }

    #[test]
    fn a_core_that_is_not_there_is_named_with_those_that_are() {
        let error = Cores::among(&[0, 1], &[7]).unwrap_err().to_string();
        assert!(error.starts_with("workers.cores: 7 is no core"), "{error}");
        assert!(error.contains("(0,1)"), "{error}");
    }

    #[test]
    fn a_thread_is_kept_where_it_shall_be() {
        std::thread::spawn(|| {
            let all = Cores::divide(&[]).unwrap();
            let last = *all.others.last().unwrap();
            pin(&[last]).unwrap();
            assert_eq!(Cores::divide(&[]).unwrap().others, [last]);
        })
        .join()
        .unwrap();
    }
}
