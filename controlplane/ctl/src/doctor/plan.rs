//! What Tether is to run with: as much of the configuration file as a look at the host needs.
//!
//! Whether the file is right is for `tetherd --check`; this reads what is there.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Finding, Host};

/// Where the daemon looks unless told otherwise.
const DEFAULT_FILE: &str = "/etc/tether/tether.toml";

/// What is to run here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether there is a configuration.
    pub(crate) is_known: bool,
    /// What EAL is given.
    pub(crate) args: Vec<String>,
    /// The workers' cores.
    pub(crate) cores: Vec<u32>,
    /// Whether workers poll for ever.
    pub(crate) polls: bool,
    pub(crate) ports: Vec<Port>,
    pub(crate) socket: PathBuf,
    pub(crate) state: Option<PathBuf>,
    pub(crate) audit: Option<PathBuf>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Port {
    /// DPDK's name of it.
    pub(crate) device: String,
    /// The interface of the kernel under it.
    pub(crate) interface: Option<String>,
    /// Frames in its ring, where its arguments say.
    pub(crate) frames: Option<u32>,
    pub(crate) mtu: Option<u32>,
}

impl Plan {
    /// Reads a file, or the usual one where that is there.
    pub(super) fn read(host: &Host, file: Option<&Path>, socket: &Path) -> (Self, Vec<Finding>) {
        let nothing = Self {
            socket: socket.to_owned(),
            ..Self::default()
        };
        let path = match file {
            Some(path) => path,
            None if host.has(DEFAULT_FILE) => Path::new(DEFAULT_FILE),
            None => {
                let what = format!("none given and no {DEFAULT_FILE}: only the host is looked at");
                let fix = "tetherctl doctor --config FILE";
                return (nothing, vec![Finding::advice("config", what, fix)]);
            }
        };
        let name = path.display();
        match host.try_read(path) {
            Err(error) => {
                let what = format!("{name} cannot be read: {error}");
                let fix = "give the file that tetherd is started with, as a user who may read it";
                (nothing, vec![Finding::problem("config", what, fix)])
            }
            Ok(text) => match text.parse::<Table>() {
                Ok(table) => {
                    let read = Finding::ok("config", format!("{name} is read"));
                    (Self::of(&table, socket), vec![read])
                }
                Err(error) => {
                    let what = format!("{name} is no TOML: {}", error.message());
                    let fix = format!("tetherd --config {name} --check");
                    (nothing, vec![Finding::problem("config", what, fix)])
                }
            },
        }
    }

    fn of(table: &Table, socket: &Path) -> Self {
        let args = strings(at(table, "dpdk", "args"));
        let path = |key| {
            at(table, "control", key)
                .and_then(Value::as_str)
                .map(PathBuf::from)
        };
        let ports = table.get("port").and_then(Value::as_array);
        let ports = ports.into_iter().flatten().filter_map(Value::as_table);
        Self {
            is_known: true,
            cores: integers(at(table, "workers", "cores")),
            polls: at(table, "workers", "idle").and_then(Value::as_str) != Some("yield"),
            ports: ports.map(|it| port(it, &args)).collect(),
            socket: path("operator").unwrap_or_else(|| socket.to_owned()),
            state: path("state"),
            audit: path("audit"),
            args,
        }
    }

    /// Whether EAL is given an argument.
    pub(super) fn says(&self, argument: &str) -> bool {
        self.args.iter().any(|it| it == argument)
    }

    /// The virtual devices that EAL is told to make, with their options.
    pub(super) fn virtual_devices(&self) -> impl Iterator<Item = &str> {
        vdevs(&self.args)
    }
}

fn port(table: &Table, args: &[String]) -> Port {
    let text = |key| table.get(key).and_then(Value::as_str).unwrap_or_default();
    let device = text("device");
    let mut all = vdevs(args);
    let vdev = all.find(|it| it.split(',').next() == Some(device));
    let option = |name: &str| {
        let mut options = vdev.unwrap_or_default().split(',').skip(1);
        options.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    };
    Port {
        device: device.to_owned(),
        interface: option("iface").map(str::to_owned),
        frames: option("framecnt").and_then(|it| it.parse().ok()),
        mtu: table
            .get("mtu")
            .and_then(Value::as_integer)
            .and_then(|it| it.try_into().ok()),
    }
}

fn vdevs(args: &[String]) -> impl Iterator<Item = &str> {
    args.iter().enumerate().filter_map(|(place, argument)| {
        if argument == "--vdev" {
            return args.get(place + 1).map(String::as_str);
        }
        argument.strip_prefix("--vdev=")
    })
}

fn at<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    table.get(section)?.get(key)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn integers(value: Option<&Value>) -> Vec<u32> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|it| it.as_integer()?.try_into().ok())
        .collect()
}
