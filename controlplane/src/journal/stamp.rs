//! When something was written, by clocks that outlive the process (contract rule T6).

use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// One life of the kernel; all zero where it is not known.
pub type KernelBoot = [u8; 16];

/// An instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The kernel whose clock it is.
    pub kernel: KernelBoot,
    /// Milliseconds since that kernel started, time asleep included (`CLOCK_BOOTTIME`).
    pub boottime_ms: u64,
    /// Milliseconds since 1970 by the wall clock.
    pub wall_ms: u64,
}

/// Where stamps come from: tests have a clock of their own.
pub type Stamps = Box<dyn Fn() -> Stamp + Send>;

impl Stamp {
    /// Milliseconds since an earlier stamp: by the monotonic clock as long as one kernel runs, so that
    /// a step of the wall clock changes nothing; by the wall clock across kernels, at least 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> u64 {
        let is_same = self.kernel == earlier.kernel && self.kernel != KernelBoot::default();
        match self.boottime_ms.checked_sub(earlier.boottime_ms) {
            Some(passed) if is_same => passed,
            // In another time namespace the same kernel counts from elsewhere.
            _ => self.wall_ms.saturating_sub(earlier.wall_ms),
        }
    }
}

/// The clocks of this machine.
#[must_use]
pub fn system() -> Stamps {
    let kernel = kernel_boot().unwrap_or_default();
    Box::new(move || Stamp {
        kernel,
        boottime_ms: read(ClockId::Boottime),
        wall_ms: read(ClockId::Realtime),
    })
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let ms = now.tv_sec.saturating_mul(1000) + now.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or_default()
}

/// The kernel makes a new one at every start (random(4)).
fn kernel_boot() -> Option<KernelBoot> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits = text.trim().replace('-', "");
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(kernel: u8, boottime_ms: u64, wall_ms: u64) -> Stamp {
        Stamp {
            kernel: [kernel; 16],
            boottime_ms,
            wall_ms,
        }
    }

    #[test]
    fn t6_a_step_of_the_wall_clock_changes_nothing() {
        let earlier = stamp(1, 1_000, 50_000);
        assert_eq!(stamp(1, 1_700, 90_000).since(&earlier), 700);
        assert_eq!(stamp(1, 1_700, 0).since(&earlier), 700);
    }

    #[test]
    fn across_kernels_the_wall_clock_counts_and_never_backwards() {
        let earlier = stamp(1, 1_000, 50_000);
        assert_eq!(stamp(2, 1_700, 52_000).since(&earlier), 2_000);
        assert_eq!(stamp(2, 1_700, 49_000).since(&earlier), 0);
        let unknown = stamp(0, 1_000, 50_000);
        assert_eq!(stamp(0, 5_000, 51_000).since(&unknown), 1_000);
    }

    #[test]
    fn this_machine_has_clocks_and_a_kernel() {
        let stamps = system();
        let (first, second) = (stamps(), stamps());
        assert_ne!(first.kernel, KernelBoot::default());
        assert!(first.boottime_ms > 0 && first.wall_ms > first.boottime_ms);
        assert!(second.since(&first) < 60_000);
    }
}
