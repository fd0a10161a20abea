//! DPDK's drivers, and network cards on the PCI bus.

use super::{
    Finding, Host, Plan,
    host::{listed, numbers},
};

const PCI: &str = "/sys/bus/pci/devices";
/// Drivers that DPDK takes a card over by.
const TAKEN_OVER: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
/// Drivers of the kernel that DPDK works beside.
const SHARED: [&str; 2] = ["mlx5_core", "mlx4_core"];

/// Whether the driver of every virtual device is installed.
pub(super) fn drivers(host: &Host, plan: &Plan) -> Vec<Finding> {
    const CHECK: &str = "driver";
    let directories = plugin_directories(host);
    let Some(directory) = directories.last() else {
        let what = "no drivers of DPDK are installed here";
        let fix = "apt-get install libdpdk-dev    # or the librte-net-... of your ports";
        return vec![Finding::advice(CHECK, what, fix)];
    };
    let plugins = host.list(directory);
    let found = plan.virtual_devices().filter_map(|device| {
        let driver = driver_of(device)?;
        let name = format!("librte_net_{driver}.so");
        Some(if plugins.iter().any(|it| it.starts_with(&name)) {
            Finding::ok(CHECK, format!("net_{driver} is installed"))
        } else {
            let what = format!("{device} needs net_{driver}, which is not in {directory}");
            let package = package(driver, directory);
            Finding::problem(CHECK, what, format!("apt-get install {package}"))
        })
    });
    found.collect()
}

/// EAL's plugin directories, such as `/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0`.
fn plugin_directories(host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for base in ["/usr/lib", "/usr/local/lib"] {
        let places = host
            .list(base)
            .into_iter()
            .map(|it| format!("{base}/{it}/dpdk"));
        for dpdk in places.chain([format!("{base}/dpdk")]) {
            let plugins = host
                .list(&dpdk)
                .into_iter()
                .filter(|it| it.starts_with("pmds-"));
            found.extend(plugins.map(|it| format!("{dpdk}/{it}")));
        }
    }
    found
}

/// `net_af_packet0,iface=veth0` is of the driver `af_packet`.
fn driver_of(device: &str) -> Option<&str> {
    let name = device.split(',').next()?.strip_prefix("net_")?;
    Some(match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "bonding" => "bond",
        "virtio_user" => "virtio",
        name => name,
    })
}

/// Debian's package of a driver, whose name ends in DPDK's ABI, as the directory's does.
fn package(driver: &str, directory: &str) -> String {
    let abi = directory.rsplit("pmds-").next().unwrap_or_default();
    let abi = abi.split('.').next().unwrap_or_default();
    let name = driver.replace('_', "-");
    let dash = if name.ends_with(|c: char| c.is_ascii_digit()) {
        "-"
    } else {
        ""
    };
    format!("librte-net-{name}{dash}{abi}")
}

/// Whether every port on the PCI bus is DPDK's, and near its workers.
pub(super) fn cards(host: &Host, plan: &Plan) -> Vec<Finding> {
    let cards = plan.ports.iter().map(|it| it.device.as_str());
    let cards = cards.filter(|it| it.contains(':'));
    cards.flat_map(|it| card(host, plan, it)).collect()
}

fn card(host: &Host, plan: &Plan, device: &str) -> Vec<Finding> {
    const CHECK: &str = "card";
    let address = if device.matches(':').count() == 1 {
        format!("0000:{device}")
    } else {
        device.to_owned()
    };
    let at = format!("{PCI}/{address}");
    if !host.has(&at) {
        let what = format!("there is no PCI device {address}");
        return vec![Finding::problem(
            CHECK,
            what,
            "dpdk-devbind.py --status-dev net",
        )];
    }
    let driver = host.link(format!("{at}/driver"));
    let bind = format!("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {address}");
    let mut findings = vec![match driver.as_deref() {
        Some(name) if TAKEN_OVER.contains(&name) || SHARED.contains(&name) => {
            Finding::ok(CHECK, format!("{address} is bound to {name}"))
        }
        Some(name) => Finding::problem(CHECK, format!("the kernel's {name} has {address}"), bind),
        None => Finding::problem(CHECK, format!("{address} is bound to no driver"), bind),
    }];
    findings.extend(iommu(host, &at, &address, driver.as_deref()));
    findings.extend(node(host, plan, &at, &address));
    findings
}

fn iommu(host: &Host, at: &str, address: &str, driver: Option<&str>) -> Option<Finding> {
    const CHECK: &str = "iommu";
    const UNSAFE: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    if driver.is_some_and(|it| SHARED.contains(&it)) {
        return None;
    }
    if host.has(format!("{at}/iommu_group")) {
        return Some(Finding::ok(CHECK, format!("{address} is behind an IOMMU")));
    }
    let is_allowed = host.read(UNSAFE).is_some_and(|it| it == "Y" || it == "1");
    let fix =
        "boot with intel_iommu=on iommu=pt (or amd_iommu=on), and switch it on in the firmware";
    Some(if is_allowed {
        let what = format!("none: {address} can write to any memory");
        Finding::advice(CHECK, what, fix)
    } else {
        let what = format!("none: vfio-pci refuses {address}");
        let fix = format!("{fix}\necho 1 > {UNSAFE}    # without one");
        Finding::problem(CHECK, what, fix)
    })
}

fn node(host: &Host, plan: &Plan, at: &str, address: &str) -> Option<Finding> {
    const CHECK: &str = "numa";
    let node: i32 = host.read(format!("{at}/numa_node"))?.parse().ok()?;
    if node < 0 {
        return None;
    }
    let near = host.read(format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let near = numbers(&near);
    let cores = plan.cores.iter().copied();
    let far: Vec<_> = cores.filter(|core| !near.contains(core)).collect();
    Some(if far.is_empty() {
        Finding::ok(
            CHECK,
            format!("{address} and its workers are on node {node}"),
        )
    } else {
        let what = format!(
            "{address} is on node {node}, the workers on {} are not",
            listed(&far)
        );
        Finding::advice(CHECK, what, format!("[workers] cores of {}", listed(&near)))
    })
}
