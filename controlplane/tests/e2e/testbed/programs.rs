//! The programs under test.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::namespace::succeed;

/// The daemon, built with these tests.
pub fn tetherd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tetherd"))
}

/// The operator's program, of another package: built beside the daemon, at most once.
pub fn tetherctl() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let directory = tetherd().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "tether-ctl"]);
        cargo.arg("--manifest-path");
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/ctl/Cargo.toml"));
        cargo.arg("--target-dir").arg(directory.parent().unwrap());
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        // What `cargo test` says of this package would have build scripts of others run again.
        let names = std::env::vars().map(|(name, _)| name);
        for name in names.filter(|name| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            cargo.env_remove(name);
        }
        succeed(&mut cargo);
        directory.join("tetherctl")
    })
}
