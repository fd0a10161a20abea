//! Programs of others that run on a host while a test does.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
};

use super::{
    namespace::Namespace,
    wait::{SOON, wait_for},
};

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it; what it says goes to a file in `directory`.
    pub fn start(host: &Namespace, program: &str, arguments: &[&str], directory: &Path) -> Self {
        let name = Path::new(program).file_name().unwrap().to_string_lossy();
        let log = directory.join(format!("{}-{name}.log", host.name()));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = host
            .command(Path::new(program))
            .args(arguments)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("a program to end", SOON * 2, || {
            self.child.try_wait().unwrap()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("{}:\n{}", self.log.display(), self.log());
        }
    }
}
