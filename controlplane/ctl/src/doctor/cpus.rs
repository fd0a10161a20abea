//! The workers' cores, and the clock that they count by.

use super::{
    Finding, Host, Plan,
    host::{listed, numbers},
};

const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn cores(host: &Host, plan: &Plan) -> Option<Finding> {
    const CHECK: &str = "cores";
    let online = numbers(&host.read(format!("{CPUS}/online"))?);
    if plan.cores.is_empty() {
        return None;
    }
    let cores = plan.cores.iter().copied();
    let missing: Vec<_> = cores.filter(|core| !online.contains(core)).collect();
    let free: Vec<_> = online
        .iter()
        .filter(|it| !plan.cores.contains(it))
        .collect();
    Some(if !missing.is_empty() {
        let what = format!(
            "[workers] cores names {}, which is not here",
            listed(&missing)
        );
        let fix = format!(
            "cores = {:?}    # of {} here",
            first(&online),
            listed(&online)
        );
        Finding::problem(CHECK, what, fix)
    } else if free.is_empty() && plan.polls {
        let what = "polling workers take every core: the control thread shares one with them";
        let fix = "leave a core out of [workers] cores, or idle = \"yield\"";
        Finding::advice(CHECK, what, fix)
    } else {
        let what = format!("workers on {} of {}", listed(&plan.cores), listed(&online));
        Finding::ok(CHECK, what)
    })
}

/// The cores for workers where there is no better idea: all but the first.
fn first(online: &[u32]) -> &[u32] {
    match online {
        [_, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

pub(super) fn isolation(host: &Host, plan: &Plan) -> Option<Finding> {
    const CHECK: &str = "isolation";
    if plan.cores.is_empty() {
        return None;
    }
    if !plan.polls {
        return Some(Finding::ok(
            CHECK,
            "not needed: idle workers yield their cores",
        ));
    }
    let isolated = numbers(&host.read(format!("{CPUS}/isolated")).unwrap_or_default());
    let cores = plan.cores.iter().copied();
    let shared: Vec<_> = cores.filter(|core| !isolated.contains(core)).collect();
    if shared.is_empty() {
        return Some(Finding::ok(CHECK, "the workers' cores are theirs alone"));
    }
    let list: Vec<_> = plan.cores.iter().map(u32::to_string).collect();
    let list = list.join(",");
    let what = format!(
        "other programs may run on {}, and packets then wait",
        listed(&shared)
    );
    let fix = format!("boot with isolcpus={list} nohz_full={list} rcu_nocbs={list}");
    Some(Finding::advice(CHECK, what, fix))
}

pub(super) fn governor(host: &Host, plan: &Plan) -> Option<Finding> {
    const CHECK: &str = "governor";
    let governor = |core: &u32| host.read(format!("{CPUS}/cpu{core}/cpufreq/scaling_governor"));
    let found: Vec<_> = plan.cores.iter().filter_map(governor).collect();
    let slow = found.iter().find(|it| *it != "performance");
    Some(match slow {
        None if found.is_empty() => (!plan.cores.is_empty())
            .then(|| Finding::ok(CHECK, "no governor slows the cores here"))?,
        None => Finding::ok(CHECK, "performance on every worker's core"),
        Some(slow) => {
            let what = format!("{slow:?} on a worker's core: a clock that changes costs packets");
            Finding::advice(CHECK, what, "cpupower frequency-set -g performance")
        }
    })
}

pub(super) fn clock(host: &Host) -> Finding {
    const CHECK: &str = "clock";
    const SOURCES: &str = "/sys/devices/system/clocksource/clocksource0";
    let source = host.read(format!("{SOURCES}/current_clocksource"));
    let flags = host.read("/proc/cpuinfo").unwrap_or_default();
    let is_steady = flags.contains("constant_tsc");
    match source.as_deref() {
        // These are read without a system call.
        Some("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter")
            if is_steady =>
        {
            Finding::ok(
                CHECK,
                format!("{}, and the TSC is steady", source.unwrap_or_default()),
            )
        }
        Some("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter") => {
            let what = "the processor does not say constant_tsc: cycles per packet may mislead";
            Finding::advice(
                CHECK,
                what,
                "leave frequency scaling off, or read rates instead",
            )
        }
        Some(other) => {
            let what =
                format!("{other}: each reading of the time is a system call, one for each burst");
            let fix =
                format!("echo tsc > {SOURCES}/current_clocksource    # if the kernel trusts it");
            Finding::advice(CHECK, what, fix)
        }
        None => Finding::ok(CHECK, "the kernel does not say which"),
    }
}
