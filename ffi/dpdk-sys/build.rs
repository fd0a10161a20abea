//! Finds DPDK, generates the bindings and compiles the shim.
//!
//! `pkg-config` is read here and not through the `pkg-config` crate, which drops
//! `-include rte_config.h` and `-march=..`; without them bindgen and cc would see other structures
//! than the library was built with. What is missing is said in words, with the package that has it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest release we compile against (Debian 12); also tried with 23.11, 24.11 and 25.11.
const OLDEST_DPDK: &str = "22.11";

/// All that we call. The list of our functions and constants needs no upkeep: their prefix is ours.
const FUNCTIONS: &[&str] = &[
    "tether_.*",
    "rte_eal_cleanup",
    "rte_eal_hotplug_add",
    "rte_eal_init",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_reta_query",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_find_next_owned_by",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_queue_setup",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_get_tsc_hz",
    "rte_hash_add_key_data",
    "rte_hash_create",
    "rte_hash_free",
    "rte_hash_lookup_bulk",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

const CONSTANTS: &[&str] = &[
    "TETHER_.*",
    "RTE_EAL_PMD_PATH",
    "RTE_ETHER_CRC_LEN",
    "RTE_ETHER_HDR_LEN",
    "RTE_ETH_DEV_NO_OWNER",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_XSTATS_NAME_SIZE",
    "RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF",
    "RTE_HASH_LOOKUP_BULK_MAX",
    "RTE_MAX_ETHPORTS",
    "RTE_MAX_LCORE",
    "RTE_MBUF_DEFAULT_BUF_SIZE",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_VER_YEAR",
    "SOCKET_ID_ANY",
];

/// Types that we only point to.
const OPAQUE: &[&str] = &["rte_device", "rte_hash", "rte_mempool"];

fn main() {
    for input in ["build.rs", "shim.c", "shim.h"] {
        println!("cargo::rerun-if-changed={input}");
    }
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "LIBCLANG_PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(problem) = build() {
        // Cargo shows these and fails; a failing exit code would add everything that was printed.
        for line in problem.lines().filter(|line| !line.trim().is_empty()) {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), String> {
    let compiler_flags = dpdk_flags("--cflags")?;
    let linker_flags = dpdk_flags("--libs")?;
    generate_bindings(&compiler_flags)?;
    compile_shim(&compiler_flags)?;
    link(&linker_flags);
    Ok(())
}

/// What `pkg-config` says about libdpdk, word by word and complete.
fn dpdk_flags(question: &str) -> Result<Vec<String>, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program)
        .args([question, &format!("libdpdk >= {OLDEST_DPDK}")])
        .output()
        .map_err(|error| {
            format!("cannot run `{program}`: {error}\nto install it: apt-get install pkg-config")
        })?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "DPDK {OLDEST_DPDK} or newer was not found by `{program}`\n\
             to install it: apt-get install libdpdk-dev\n\
             if it is elsewhere: PKG_CONFIG_PATH=/path/to/lib/pkgconfig\n{}",
            reason.trim()
        ));
    }
    let words = String::from_utf8_lossy(&output.stdout);
    Ok(words.split_whitespace().map(str::to_owned).collect())
}

fn generate_bindings(flags: &[String]) -> Result<(), String> {
    let generated = without_panic(|| binding_builder(flags).generate())
        .map_err(|panic| format!("{panic}\n{INSTALL_LIBCLANG}"))?
        .map_err(|error| {
            format!("bindgen cannot read DPDK's headers: {error}\n{INSTALL_LIBCLANG}")
        })?;
    let path = out_dir()?.join("bindings.rs");
    generated
        .write_to_file(&path)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

const INSTALL_LIBCLANG: &str = "bindgen reads DPDK with libclang: apt-get install libclang-dev libdpdk-dev\n\
                                if it is elsewhere: LIBCLANG_PATH=/path/to/lib";

fn binding_builder(flags: &[String]) -> bindgen::Builder {
    let builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(flags)
        .use_core()
        .generate_comments(false)
        .derive_default(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .blocklist_type("rte_mbuf.*")
        .allowlist_type("tether_mbuf_offset")
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    let builder = FUNCTIONS
        .iter()
        .fold(builder, bindgen::Builder::allowlist_function);
    let builder = CONSTANTS
        .iter()
        .fold(builder, bindgen::Builder::allowlist_var);
    OPAQUE.iter().fold(builder, bindgen::Builder::opaque_type)
}

/// bindgen panics where it finds no libclang; its words are wanted, its backtrace is not.
fn without_panic<T>(work: impl FnOnce() -> T + std::panic::UnwindSafe) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = std::panic::catch_unwind(work);
    std::panic::set_hook(hook);
    result.map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => "bindgen failed".to_owned(),
    })
}

fn compile_shim(flags: &[String]) -> Result<(), String> {
    let mut build = cc::Build::new();
    build
        .file("shim.c")
        .warnings(true)
        .extra_warnings(true)
        .flag("-Wno-unused-parameter");
    for flag in flags {
        build.flag(flag);
    }
    build.try_compile("tether_dpdk_shim").map_err(|error| {
        format!(
            "the C shim for DPDK does not compile: {error}\n\
             if there is no C compiler: apt-get install gcc libc6-dev"
        )
    })
}

/// Links dynamically: EAL finds its drivers, which are shared objects, only then.
fn link(flags: &[String]) {
    for flag in flags {
        if let Some(library) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib=dylib={library}");
        } else if let Some(directory) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={directory}");
        }
    }
}

fn out_dir() -> Result<PathBuf, String> {
    env::var_os("OUT_DIR")
        .map(|directory| Path::new(&directory).to_owned())
        .ok_or_else(|| "OUT_DIR is not set: build.rs is run by cargo".to_owned())
}
