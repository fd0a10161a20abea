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

/// The operator's program, of another package.
pub fn tetherctl() -> PathBuf {
    built().join("tetherctl")
}

/// The shop of the client library's examples.
pub fn shop() -> PathBuf {
    built().join("examples/shop")
}

/// Where the programs are. Builds the whole workspace, at most once: the same that all tests are built with,
/// which has nothing left to do after `cargo build --workspace --all-targets`.
fn built() -> &'static Path {
    static DIRECTORY: OnceLock<&Path> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = tetherd().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--all-targets"]);
        cargo.args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]);
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
        directory
    })
}
