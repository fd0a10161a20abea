//! Hosts made of files, each with one thing wrong.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;
use Spoil::{Addresses, Config, Features, Put, Without};

const CONFIG: &str = r#"
[dpdk]
args = ["--no-pci", "--vdev=net_af_packet0,iface=veth0,framecnt=4096"]
[workers]
cores = [1, 2]
[[port]]
device = "net_af_packet0"
mtu = 1500
[control]
operator = "/run/tether/operator.sock"
state = "/var/lib/tether"
"#;

/// A host on which all is well.
struct Bench {
    root: TempDir,
    /// What `ethtool -k` says of an interface, and `ip` of its addresses.
    features: fn(&str) -> &'static str,
    addresses: &'static str,
}

const FINISHED: &str = "Features for veth:\n\ttx-checksumming: off\ngeneric-receive-offload: off\n";

impl Bench {
    fn well() -> Self {
        let bench = Self {
            root: tempfile::tempdir().unwrap(),
            features: |_| FINISHED,
            addresses: "",
        };
        for (path, text) in [
            ("etc/tether/tether.toml", CONFIG),
            (
                "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
                "1024",
            ),
            (
                "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
                "900",
            ),
            ("proc/mounts", "none /dev/hugepages hugetlbfs rw 0 0"),
            (
                "proc/self/limits",
                "Limit Soft Hard\nMax open files 65536 65536 files\nMax locked memory 8388608 8388608 bytes",
            ),
            ("proc/cpuinfo", "flags : constant_tsc nonstop_tsc"),
            ("sys/devices/system/cpu/online", "0-3"),
            ("sys/devices/system/cpu/isolated", "1-2"),
            (
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "performance",
            ),
            (
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "tsc",
            ),
            (
                "usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_af_packet.so.23.0",
                "",
            ),
            ("sys/class/net/veth0/operstate", "up"),
            ("sys/class/net/veth0/mtu", "1500"),
            ("sys/class/net/veth0/ifindex", "7"),
            ("sys/class/net/veth0/iflink", "8"),
            ("sys/class/net/veth1/ifindex", "8"),
            ("sys/class/net/veth1/iflink", "7"),
            ("var/lib/tether/journal", ""),
        ] {
            bench.put(path, text);
        }
        bench
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn without(&self, path: &str) {
        let path = self.root.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    fn config(&self, from: &str, to: &str) {
        assert!(CONFIG.contains(from));
        self.put("etc/tether/tether.toml", &CONFIG.replacen(from, to, 1));
    }

    fn found(&self) -> Vec<Finding> {
        let (features, addresses) = (self.features, self.addresses);
        let host = Host::in_directory(self.root.path(), move |program, arguments| {
            match (program, arguments) {
                ("ethtool", ["-k", interface]) => Some(features(interface).to_owned()),
                ("ethtool", ["-i", _]) => Some("driver: veth\nversion: 1.0".to_owned()),
                ("ethtool", _) => None,
                ("ip", _) => Some(addresses.to_owned()),
                other => panic!("{other:?}"),
            }
        });
        examine(&host, None, Path::new("/run/tether/operator.sock"))
    }

    /// What is found of this kind where not all is well.
    #[track_caller]
    fn only(&self) -> Finding {
        let mut found = self.found();
        found.retain(|it| it.level != Level::Ok);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }
}

#[test]
fn a_host_on_which_all_is_well_is_found_so() {
    let found = Bench::well().found();
    let not_ok: Vec<_> = found.iter().filter(|it| it.level != Level::Ok).collect();
    assert!(not_ok.is_empty(), "{not_ok:#?}");
    assert!(!has_problem(&found));
    let checks: std::collections::BTreeSet<_> = found.iter().map(|it| it.check).collect();
    let expected = [
        "clock",
        "config",
        "cores",
        "driver",
        "files",
        "governor",
        "hugepages",
        "interface",
        "isolation",
        "memlock",
        "offloads",
        "ring",
        "socket",
        "state",
    ];
    assert!(checks.iter().eq(&expected), "{checks:?}");
    assert!(text(&found).ends_with("0 problems, 0 pieces of advice\n"));
}

/// What is spoiled.
#[derive(Clone, Copy)]
enum Spoil {
    Put(&'static str, &'static str),
    Without(&'static str),
    Config(&'static str, &'static str),
    Addresses(&'static str),
    Features(fn(&str) -> &'static str),
}

impl Spoil {
    fn spoil(self, bench: &mut Bench) {
        match self {
            Put(path, text) => bench.put(path, text),
            Without(path) => bench.without(path),
            Config(from, to) => bench.config(from, to),
            Addresses(addresses) => bench.addresses = addresses,
            Features(features) => bench.features = features,
        }
    }
}

/// What is spoiled, how much that matters, the check that finds it, what it says, what mends it.
type Case = (Spoil, Level, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    (
        Put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0"),
        Level::Problem,
        "hugepages",
        "none are reserved",
        "vm.nr_hugepages",
    ),
    (
        Put(
            "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
            "0",
        ),
        Level::Advice,
        "hugepages",
        "all 2048 MB are in use",
        "while tetherd runs",
    ),
    (
        Put("proc/mounts", "proc /proc proc rw 0 0"),
        Level::Problem,
        "hugepages",
        "not mounted",
        "mount -t hugetlbfs",
    ),
    (
        Config("\"--no-pci\"", "\"--no-huge\""),
        Level::Advice,
        "hugepages",
        "not used",
        "--no-huge",
    ),
    (
        Put("sys/devices/system/cpu/online", "0-1"),
        Level::Problem,
        "cores",
        "names 2, which is not here",
        "cores = [1]",
    ),
    (
        Put("sys/devices/system/cpu/online", "1-2"),
        Level::Advice,
        "cores",
        "take every core",
        "idle = \"yield\"",
    ),
    (
        Put("sys/devices/system/cpu/isolated", "2"),
        Level::Advice,
        "isolation",
        "may run on 1",
        "isolcpus=1,2",
    ),
    (
        Put(
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
            "powersave",
        ),
        Level::Advice,
        "governor",
        "\"powersave\"",
        "cpupower",
    ),
    (
        Put(
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
        ),
        Level::Advice,
        "clock",
        "hpet",
        "echo tsc",
    ),
    (
        Put("proc/cpuinfo", "flags : fpu"),
        Level::Advice,
        "clock",
        "constant_tsc",
        "rates",
    ),
    (
        Without("usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_af_packet.so.23.0"),
        Level::Problem,
        "driver",
        "net_af_packet",
        "apt-get install librte-net-af-packet23",
    ),
    (
        Without("usr/lib"),
        Level::Advice,
        "driver",
        "no drivers",
        "libdpdk-dev",
    ),
    (
        Without("sys/class/net/veth0"),
        Level::Problem,
        "interface",
        "no interface veth0",
        "ip netns exec",
    ),
    (
        Put("sys/class/net/veth0/operstate", "down"),
        Level::Problem,
        "interface",
        "veth0 is down",
        "ip link set veth0 up",
    ),
    (
        Put("sys/class/net/veth0/mtu", "1400"),
        Level::Problem,
        "interface",
        "MTU 1400, the port net_af_packet0 1500",
        "mtu 1500",
    ),
    (
        Addresses("7: veth0    inet 10.9.0.2/24 scope global veth0"),
        Level::Problem,
        "interface",
        "10.9.0.2/24 on veth0",
        "ip address flush dev veth0",
    ),
    (
        Features(|name| {
            if name == "veth1" {
                "\ttx-checksumming: on"
            } else {
                FINISHED
            }
        }),
        Level::Problem,
        "offloads",
        "veth1",
        "ethtool -K veth1 tx off",
    ),
    (
        Features(|name| {
            if name == "veth0" {
                "generic-receive-offload: on"
            } else {
                FINISHED
            }
        }),
        Level::Advice,
        "offloads",
        "gro",
        "ethtool -K veth0 gro off",
    ),
    (
        Without("sys/class/net/veth1"),
        Level::Advice,
        "offloads",
        "another namespace",
        "tx off",
    ),
    (
        Config(",framecnt=4096", ""),
        Level::Advice,
        "ring",
        "512 frames",
        "framecnt=2048",
    ),
    (
        Put("proc/self/limits", "Max open files 1024 4096 files"),
        Level::Advice,
        "files",
        "1024",
        "ulimit -n",
    ),
    (
        Put("run/tether/operator.sock", "a file"),
        Level::Problem,
        "socket",
        "is no socket",
        "rm /run/tether",
    ),
    (
        Config("state = \"/var/lib/tether\"", ""),
        Level::Advice,
        "state",
        "in memory only",
        "state = ",
    ),
    (
        Config("/var/lib/tether", "/var/lib/tether/journal/x"),
        Level::Problem,
        "state",
        "is no directory",
        "move it",
    ),
    (
        Put("etc/tether/tether.toml", "[dpdk\n"),
        Level::Problem,
        "config",
        "is no TOML",
        "--check",
    ),
    (
        Without("etc/tether"),
        Level::Advice,
        "config",
        "only the host is looked at",
        "--config FILE",
    ),
];

#[test]
fn each_thing_that_is_wrong_is_found_with_what_mends_it() {
    for (spoil, level, check, what, fix) in CASES {
        let mut bench = Bench::well();
        spoil.spoil(&mut bench);
        let found = bench.only();
        assert_eq!((found.level, found.check), (*level, *check), "{found:?}");
        assert!(found.what.contains(what), "{found:?}");
        assert!(found.fix.as_ref().unwrap().contains(fix), "{found:?}");
        assert_eq!(has_problem(&bench.found()), *level == Level::Problem);
    }
}

/// A card at 0000:03:00.0 beside the workers, bound to `vfio-pci`.
fn with_card(device: &str) -> Bench {
    let bench = Bench::well();
    bench.config(
        "args = [\"--no-pci\", \"--vdev=net_af_packet0,iface=veth0,framecnt=4096\"]",
        "args = []",
    );
    let text = fs::read_to_string(bench.root.path().join("etc/tether/tether.toml")).unwrap();
    bench.put(
        "etc/tether/tether.toml",
        &text.replace("net_af_packet0", device),
    );
    bench.put("sys/bus/pci/devices/0000:03:00.0/numa_node", "0");
    bench.put("sys/bus/pci/devices/0000:03:00.0/iommu_group/type", "DMA");
    bench.put("sys/devices/system/node/node0/cpulist", "0-2");
    bind(&bench, "vfio-pci");
    bench
}

fn bind(bench: &Bench, driver: &str) {
    let link = bench
        .root
        .path()
        .join("sys/bus/pci/devices/0000:03:00.0/driver");
    let _ = fs::remove_file(&link);
    symlink(format!("../../drivers/{driver}"), link).unwrap();
}

#[test]
fn cards_are_dpdks_behind_an_iommu_and_near_their_workers() {
    for device in ["0000:03:00.0", "03:00.0"] {
        let found = with_card(device).found();
        let checks: Vec<_> = found.iter().map(|it| it.check).collect();
        for check in ["card", "iommu", "numa"] {
            assert!(checks.contains(&check), "{found:#?}");
        }
        assert!(found.iter().all(|it| it.level == Level::Ok), "{found:#?}");
    }
    let found = with_card("0000:04:00.0").only();
    assert!(
        found.what.contains("no PCI device 0000:04:00.0"),
        "{found:?}"
    );

    let bench = with_card("0000:03:00.0");
    bind(&bench, "ixgbe");
    let found = bench.only();
    assert_eq!(found.what, "the kernel's ixgbe has 0000:03:00.0");
    assert!(found.fix.unwrap().contains("--bind=vfio-pci 0000:03:00.0"));

    bind(&bench, "vfio-pci");
    bench.without("sys/bus/pci/devices/0000:03:00.0/iommu_group");
    assert_eq!(bench.only().level, Level::Problem);
    bench.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    assert_eq!(bench.only().level, Level::Advice);
    bind(&bench, "mlx5_core");
    assert!(!has_problem(&bench.found()));

    let bench = with_card("0000:03:00.0");
    bench.put("sys/devices/system/node/node0/cpulist", "0-1");
    let found = bench.only();
    assert_eq!((found.check, found.level), ("numa", Level::Advice));
    assert!(found.what.contains("the workers on 2 are not"), "{found:?}");
}

#[test]
fn a_socket_that_everybody_may_use_is_a_problem() {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixListener};
    let bench = Bench::well();
    let path = bench.root.path().join("run/tether/operator.sock");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let allow = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o660);
    let found = bench.found();
    assert!(found.iter().all(|it| it.level == Level::Ok), "{found:#?}");
    allow(0o666);
    let found = bench.only();
    assert!(
        found.what.contains("every user is an operator"),
        "{found:?}"
    );
    allow(0o660);
    drop(listener);
    let found = bench.only();
    assert_eq!((found.check, found.level), ("socket", Level::Advice));
}

#[test]
fn findings_are_read_line_by_line() {
    let findings = [
        Finding::ok("clock", "tsc"),
        Finding::problem("iommu", "none", "do this\nor that"),
    ];
    let expected = "\
ok       clock       tsc
PROBLEM  iommu       none
                     > do this
                     > or that
1 problems, 0 pieces of advice
";
    assert_eq!(text(&findings), expected);
}

#[test]
fn lists_of_the_kernel_are_numbers() {
    assert_eq!(host::numbers("0-2,5"), [0, 1, 2, 5]);
    assert!(host::numbers("").is_empty());
    assert_eq!(host::listed(&[1, 2, 5]), "1, 2 and 5");
}
