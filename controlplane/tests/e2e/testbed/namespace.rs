//! A network namespace: a host as far as the network is concerned.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    os::fd::AsFd as _,
    panic,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::Mutex,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

/// A namespace, until it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Where sockets of tests were bound.
    bound: Mutex<BTreeSet<SocketAddr>>,
}

impl Namespace {
    /// A new one, with its loopback up and without duplicate address detection: addresses serve at once.
    pub fn create(name: String) -> Self {
        succeed(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self::named(name);
        namespace.ip("link set lo up");
        namespace.set("ipv6/conf/default/accept_dad", "0");
        namespace
    }

    fn named(name: String) -> Self {
        Self {
            name,
            bound: Mutex::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether no socket of the test was bound there before. A forwarder remembers the flows of sockets
    /// that are gone: who takes the port of one again goes on with its flow.
    pub fn is_new(&self, address: SocketAddr) -> bool {
        self.bound.lock().unwrap().insert(address)
    }

    /// Runs commands of `ip`, one a line.
    pub fn ip(&self, commands: &str) {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(commands.as_bytes()).unwrap();
        drop(stdin);
        let status = child.wait().unwrap();
        assert!(status.success(), "ip -n {}: {commands}", self.name);
    }

    /// What `ip` says here.
    pub fn ip_output(&self, arguments: &[&str]) -> String {
        let mut ip = Command::new("ip");
        let output = ip.args(["-n", &self.name]).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Sets a sysctl below `net`, its name written with slashes.
    pub fn set(&self, sysctl: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(sysctl);
        self.inside(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{sysctl} = {value}: {error}"));
    }

    /// veth hands over unfinished checksums and frames beyond the MTU unless told not to.
    pub fn finish_frames_of(&self, interface: &str) {
        let off = "tx off tso off gso off gro off";
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", interface]).args(off.split(' '));
        self.inside(|| succeed(&mut ethtool));
    }

    /// What a command says that runs here and succeeds.
    pub fn output_of(&self, program: &str, arguments: &str) -> String {
        let mut command = Command::new(program);
        command.args(arguments.split(' '));
        let output = self.inside(|| command.output().unwrap());
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that runs here; killed when the thread that spawns it ends.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]);
        command.arg(program);
        command
    }

    /// Does `work` here, on a thread of its own. Sockets and threads that it makes stay here.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    fn enter(&self) {
        let file = File::open(self.path()).unwrap();
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(file.as_fd(), kind).unwrap();
    }

    fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its veths go with it, and their other ends.
        drop(
            Command::new("ip")
                .args(["netns", "delete", &self.name])
                .status(),
        );
    }
}

/// What the names of a testbed's namespaces begin with: its process, and which one it is there.
pub fn prefix(number: u32) -> String {
    format!("tt{}x{number}", process::id())
}

/// Deletes what testbeds have left whose process was killed: namespaces and directories.
pub fn sweep() {
    for name in orphans(Path::new(NAMESPACES)) {
        drop(Namespace::named(name));
    }
    let temporary = std::env::temp_dir();
    for name in orphans(&temporary) {
        drop(fs::remove_dir_all(temporary.join(name)));
    }
}

fn orphans(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_orphan =
        |name: &String| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    names.filter(is_orphan).collect()
}

fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix("tt")?.split_once('x')?;
    pid.parse().ok()
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}
