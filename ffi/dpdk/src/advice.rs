//! What to do when EAL does not start or a port is not there.
//!
//! EAL reports one number. What is usually behind it (no hugepages, a driver that is a Debian package
//! not installed, not being root) can be seen on the host, so we look.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a start depends on.
struct Host {
    free_hugepages: u64,
    root: bool,
    /// Is there a shared object whose name starts so in EAL's plugin directory?
    has_plugin: fn(&str) -> bool,
}

const HUGEPAGES: &str = "no hugepage is free: `sysctl -w vm.nr_hugepages=1024` and, if /dev/hugepages is \
                         absent, `mount -t hugetlbfs none /dev/hugepages`; or pass --no-huge -m 512";
const ROOT: &str = "this is not root: run as root, or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_IPC_LOCK \
                    and the hugepage directory writable";
const LOG: &str = "the lines that EAL logged say more; for all of them pass --log-level=*:debug";

const ARGUMENT: &str = "EAL refused an argument: the first line that it logged names it; \
                        `dpdk-testpmd --help` lists them";

/// What to do about a failed `rte_eal_init`.
pub(crate) fn for_start(args: &[&str], errno: i32) -> String {
    let host = Host {
        free_hugepages: free_hugepages(),
        root: is_root(),
        has_plugin: plugin_exists,
    };
    for_start_on(&host, args, errno)
}

fn for_start_on(host: &Host, args: &[&str], errno: i32) -> String {
    const PERMISSION: [i32; 2] = [1, 13];
    const EINVAL: i32 = 22;
    if errno == EINVAL {
        return ARGUMENT.to_owned();
    }
    let mut advice: Vec<String> = devices(args)
        .filter_map(|device| missing_driver(host, device))
        .collect();
    if !args.contains(&"--no-huge") && host.free_hugepages == 0 {
        advice.push(HUGEPAGES.to_owned());
    }
    if !host.root && (PERMISSION.contains(&errno) || advice.is_empty()) {
        advice.push(ROOT.to_owned());
    }
    advice.push(LOG.to_owned());
    advice.join("; ")
}

/// What to do about a port that EAL does not have.
pub(crate) fn for_port(name: &str) -> String {
    let host = Host {
        free_hugepages: 0,
        root: true,
        has_plugin: plugin_exists,
    };
    if let Some(advice) = missing_driver(&host, name) {
        return advice;
    }
    if driver(name).is_some() {
        format!(
            "give EAL --vdev={name},.. for it; if it has it, the driver refused the options (is the \
             interface there, is this root?) and EAL logged why"
        )
    } else {
        format!("for a PCI device: bind it with `dpdk-devbind.py -b vfio-pci {name}`, no --no-pci")
    }
}

/// What to do about a virtual device that cannot be made.
pub(crate) fn for_vdev(name: &str) -> String {
    let host = Host {
        free_hugepages: 0,
        root: is_root(),
        has_plugin: plugin_exists,
    };
    for_vdev_on(&host, name)
}

fn for_vdev_on(host: &Host, name: &str) -> String {
    let mut advice: Vec<String> = missing_driver(host, name).into_iter().collect();
    if !host.root && advice.is_empty() {
        advice.push(ROOT.to_owned());
    }
    advice.push(LOG.to_owned());
    advice.join("; ")
}

/// The devices that `--vdev` arguments name, with their options.
fn devices<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    args.iter()
        .enumerate()
        .filter_map(|(index, argument)| match *argument {
            "--vdev" => args.get(index + 1).copied(),
            joined => joined.strip_prefix("--vdev="),
        })
}

fn missing_driver(host: &Host, device: &str) -> Option<String> {
    let driver = driver(device)?;
    if (host.has_plugin)(&format!("librte_net_{driver}.so")) {
        return None;
    }
    Some(format!(
        "there is no driver net_{driver} in {}: `apt-get install {}`, or correct the name",
        plugin_directory(),
        package(driver)
    ))
}

/// `net_af_packet0,iface=veth0` is of the driver `af_packet`; a PCI address is of none.
fn driver(device: &str) -> Option<&str> {
    let name = device.split(',').next().unwrap_or(device);
    let name = name
        .strip_prefix("net_")
        .or_else(|| name.strip_prefix("eth_"))?;
    Some(match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "bonding" => "bond",
        "virtio_user" => "virtio",
        name => name,
    })
}

/// Debian's package of a network driver. The number is DPDK's ABI: the year after the release.
fn package(driver: &str) -> String {
    let abi = dpdk_sys::RTE_VER_YEAR + 1;
    let name = driver.replace('_', "-");
    let dash = if name.ends_with(|c: char| c.is_ascii_digit()) {
        "-"
    } else {
        ""
    };
    format!("librte-net-{name}{dash}{abi}")
}

fn plugin_directory() -> String {
    String::from_utf8_lossy(dpdk_sys::RTE_EAL_PMD_PATH)
        .trim_end_matches('\0')
        .to_owned()
}

/// True also where DPDK was built without such a directory: then nothing is known to be missing.
fn plugin_exists(start: &str) -> bool {
    let Ok(entries) = fs::read_dir(plugin_directory()) else {
        return true;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(start))
}

fn free_hugepages() -> u64 {
    let Ok(sizes) = fs::read_dir("/sys/kernel/mm/hugepages") else {
        return 0;
    };
    sizes
        .flatten()
        .filter_map(|size| free_of_size(&size.path()))
        .sum()
}

fn free_of_size(directory: &Path) -> Option<u64> {
    fs::read_to_string(directory.join("free_hugepages"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            free_hugepages: 512,
            root: true,
            has_plugin: |_| true,
        }
    }

    #[test]
    fn names_the_package_of_a_missing_driver() {
        let host = Host {
            has_plugin: |start| start != "librte_net_af_xdp.so",
            ..host()
        };
        let args = ["--vdev", "net_ring0", "--vdev=net_af_xdp0,iface=veth0"];
        let advice = for_start_on(&host, &args, 95);
        let package = format!(
            "apt-get install librte-net-af-xdp{}",
            dpdk_sys::RTE_VER_YEAR + 1
        );
        assert!(advice.contains(&package), "{advice}");
        assert!(!advice.contains("net_ring"), "{advice}");
    }

    #[test]
    fn debian_sets_a_dash_between_two_numbers() {
        let abi = dpdk_sys::RTE_VER_YEAR + 1;
        assert_eq!(package("e1000"), format!("librte-net-e1000-{abi}"));
    }

    #[test]
    fn hugepages_are_advised_only_where_they_are_wanted_and_absent() {
        let without = Host {
            free_hugepages: 0,
            ..host()
        };
        assert!(for_start_on(&without, &["--no-pci"], 12).contains("vm.nr_hugepages"));
        assert!(!for_start_on(&without, &["--no-huge"], 12).contains("vm.nr_hugepages"));
        assert!(!for_start_on(&host(), &["--no-pci"], 12).contains("vm.nr_hugepages"));
    }

    #[test]
    fn a_refused_argument_is_not_about_hugepages() {
        let without = Host {
            free_hugepages: 0,
            ..host()
        };
        let advice = for_start_on(&without, &["--bogus"], 22);
        assert!(
            advice.contains("refused an argument") && !advice.contains("hugepage"),
            "{advice}"
        );
    }

    #[test]
    fn root_is_advised_where_a_permission_is_refused() {
        let user = Host {
            root: false,
            ..host()
        };
        assert!(for_start_on(&user, &["--no-huge"], 13).contains("run as root"));
        assert!(!for_start_on(&host(), &["--no-huge"], 13).contains("run as root"));
    }

    #[test]
    fn a_virtual_device_that_cannot_be_made_wants_its_driver_or_root() {
        let without = Host {
            has_plugin: |_| false,
            ..host()
        };
        let advice = for_vdev_on(&without, "net_tap7");
        assert!(
            advice.contains("apt-get install librte-net-tap"),
            "{advice}"
        );
        let user = Host {
            root: false,
            ..host()
        };
        assert!(for_vdev_on(&user, "net_tap7").contains("run as root"));
        assert_eq!(for_vdev_on(&host(), "net_tap7"), LOG);
    }

    #[test]
    fn a_device_of_two_drivers_names_is_found() {
        assert_eq!(
            driver("net_virtio_user0,path=/dev/vhost-net"),
            Some("virtio")
        );
        assert_eq!(driver("eth_ring12"), Some("ring"));
        assert_eq!(driver("0000:03:00.0"), None);
    }

    #[test]
    fn a_port_that_is_absent_is_a_vdev_or_a_pci_device() {
        assert!(for_port("0000:03:00.0").contains("dpdk-devbind.py"));
        assert!(for_port("net_null7").contains("--vdev=net_null7"));
        assert!(for_port("net_nonsense0").contains("correct the name"));
    }
}
