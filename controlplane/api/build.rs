//! Compiles the `.proto` files with protox, so that no `protoc` need be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTO: &str = "proto/tether/v1/affinity.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out_dir =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR: cargo sets it for build scripts")?);
    fs::write(out_dir.join("tether_v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".tether.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
