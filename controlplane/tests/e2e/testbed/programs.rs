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
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/ctl/Cargo.toml");
        build(manifest, &["--package", "tether-ctl"]).join("tetherctl")
    })
}

/// The shop of the client library's examples, built in the same way.
pub fn shop() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/client/Cargo.toml");
        build(manifest, &["--example", "shop"]).join("examples/shop")
    })
}

/// Builds what another package has, and returns the directory that it is put into.
fn build(manifest: &str, what: &[&str]) -> PathBuf {
    let directory = tetherd().parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet"]).args(what);
    cargo.args(["--manifest-path", manifest, "--target-dir"]);
    cargo.arg(directory.parent().unwrap());
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    // What `cargo test` says of this package would have build scripts of others run again.
    let names = std::env::vars().map(|(name, _)| name);
    for name in names.filter(|name| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    succeed(&mut cargo);
    directory.to_owned()
}
