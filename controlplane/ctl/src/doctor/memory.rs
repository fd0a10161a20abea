//! Hugepages, and how much memory may be locked.

use super::{Finding, Host, Plan};

const SIZES: &str = "/sys/kernel/mm/hugepages";
/// What two workers with the usual tables take, about.
const ENOUGH_KB: u64 = 512 << 10;
/// What `af_xdp` and VFIO lock for one port, about.
const LOCKED_BYTES: u64 = 64 << 20;

/// Pages of one size.
struct Pages {
    size_kb: u64,
    all: u64,
    free: u64,
}

pub(super) fn hugepages(host: &Host, plan: &Plan) -> Vec<Finding> {
    const CHECK: &str = "hugepages";
    if plan.says("--no-huge") {
        let what = "not used (--no-huge): every table costs more TLB misses";
        let fix = "for real traffic take --no-huge and -m out of [dpdk] args";
        return vec![Finding::advice(CHECK, what, fix)];
    }
    let pages: Vec<_> = host
        .list(SIZES)
        .iter()
        .filter_map(|it| pages(host, it))
        .collect();
    let kb = |of: fn(&Pages) -> u64| pages.iter().map(|it| it.size_kb * of(it)).sum::<u64>();
    let (all, free) = (kb(|it| it.all), kb(|it| it.free));
    let reserve = "sysctl -w vm.nr_hugepages=1024    # and into /etc/sysctl.d to stay";
    let found = if all == 0 {
        Finding::problem(CHECK, "none are reserved", reserve)
    } else if all < ENOUGH_KB {
        let what = format!("{} are reserved, which is little", mb(all));
        Finding::advice(CHECK, what, reserve)
    } else if free == 0 {
        let what = format!("all {} are in use", mb(all));
        let fix = "stop what else uses them, or reserve more; nothing to do while tetherd runs";
        Finding::advice(CHECK, what, fix)
    } else {
        Finding::ok(CHECK, format!("{} of {} are free", mb(free), mb(all)))
    };
    let mounts = host.read("/proc/mounts").unwrap_or_default();
    let is_mounted = mounts
        .lines()
        .any(|it| it.split(' ').nth(2) == Some("hugetlbfs"));
    if is_mounted || all == 0 || plan.says("--in-memory") {
        return vec![found];
    }
    let fix = "mount -t hugetlbfs none /dev/hugepages    # or --in-memory in [dpdk] args";
    vec![
        found,
        Finding::problem(CHECK, "hugetlbfs is not mounted", fix),
    ]
}

fn pages(host: &Host, directory: &str) -> Option<Pages> {
    let size_kb = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    let count = |file: &str| {
        host.read(format!("{SIZES}/{directory}/{file}"))?
            .parse()
            .ok()
    };
    Some(Pages {
        size_kb: size_kb.parse().ok()?,
        all: count("nr_hugepages")?,
        free: count("free_hugepages")?,
    })
}

fn mb(kb: u64) -> String {
    format!("{} MB", kb >> 10)
}

/// Root is not held to it, but by cgroups.
pub(super) fn locked(host: &Host, plan: &Plan) -> Finding {
    const CHECK: &str = "memlock";
    let limit = limit(host, "Max locked memory");
    let needs = plan
        .ports
        .iter()
        .any(|it| it.device.contains("af_xdp") || it.device.contains(':'));
    match limit {
        None | Some(u64::MAX) => Finding::ok(CHECK, "memory may be locked without limit"),
        Some(_) if host.is_root => Finding::ok(CHECK, "root may lock memory"),
        Some(bytes) if bytes < LOCKED_BYTES && (needs || !plan.is_known) => Finding::advice(
            CHECK,
            format!(
                "{} kB may be locked; AF_XDP and VFIO lock more",
                bytes >> 10
            ),
            "ulimit -l unlimited    # under systemd: LimitMEMLOCK=infinity",
        ),
        Some(bytes) => Finding::ok(CHECK, format!("{} kB may be locked", bytes >> 10)),
    }
}

/// A soft limit of this process; the greatest number is "unlimited".
pub(super) fn limit(host: &Host, name: &str) -> Option<u64> {
    let limits = host.read("/proc/self/limits")?;
    let line = limits.lines().find_map(|it| it.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
