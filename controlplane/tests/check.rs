//! `tetherd` as a process, as far as it goes without a port: arguments, checks, refusals to start.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::{net::TcpListener, path::Path, process::Command};

const GOOD: &str = r#"
[workers]
cores = [0]
[[port]]
device = "0000:03:00.0"
addresses = ["10.9.0.2/24"]
[control]
operator = "SOCKET"
metrics = "METRICS"
[[service]]
name = "shop"
address = "10.9.0.100"
port = 80
[[service.backend]]
name = "shop-1"
address = "10.9.0.11"
port = 80
"#;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn tetherd(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_tetherd"))
        .args(arguments)
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn good(directory: &Path, metrics: &str) -> String {
    let socket = directory.join("operator.sock").display().to_string();
    GOOD.replace("SOCKET", &socket).replace("METRICS", metrics)
}

/// Writes the file and runs `tetherd` on it.
fn run(text: &str, more: &[&str]) -> (String, Ended) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tether.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    let ended = tetherd(&[&["--config", &file], more].concat());
    (file, ended)
}

#[test]
fn a_good_file_is_ok() {
    let (file, ended) = run(&good(Path::new("/run"), "127.0.0.1:0"), &["--check"]);
    assert_eq!(
        (ended.code, ended.stdout),
        (0, format!("{file}: ok\n")),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_problem_is_said_with_its_place() {
    let text = good(Path::new("/run"), "127.0.0.1:0")
        .replace("cores = [0]", "cores = [0]\nflow = 1")
        .replace("\"10.9.0.100\"", "\"nowhere\"");
    let (file, ended) = run(&text, &["--check"]);
    assert_eq!(ended.code, 2);
    let starts: Vec<_> = ended
        .stdout
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        starts,
        [format!("{file}:4:1"), format!("{file}:13:11")],
        "{}",
        ended.stdout
    );
}

/// It can be run, if the operator sees to the interface.
#[test]
fn a_kernels_part_on_af_packet_is_warned_of() {
    let text = good(Path::new("/run"), "127.0.0.1:0").replace(
        "\"0000:03:00.0\"",
        "\"net_af_packet0\"\nkernel = \"tether0\"",
    );
    let args = "[dpdk]\nargs = [\"--vdev=net_af_packet0,iface=veth0\"]\n";
    let (file, ended) = run(&format!("{args}{text}"), &["--check"]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("warning: port net_af_packet0: "),
        "{lines:?}"
    );
    assert!(lines[0].contains("docs/kernel.md"), "{lines:?}");
    assert_eq!(lines[1..], [format!("{file}: ok")]);
}

#[test]
fn a_file_that_is_not_there_is_a_problem_of_both() {
    let file = ["--config", "/nonexistent/tether.toml"];
    let checked = tetherd(&[&file[..], &["--check"]].concat());
    assert_eq!(checked.code, 2);
    assert!(checked.stdout.contains("--config"), "{}", checked.stdout);
    let refused = tetherd(&file);
    assert_eq!(refused.code, 1);
    let last = refused.stderr.lines().last().unwrap();
    assert!(last.contains("--check"), "{last}");
}

#[test]
fn the_last_line_of_a_refusal_says_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let (_, ended) = run(&good(directory.path(), &address), &[]);
    assert_eq!(ended.code, 1);
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.contains(&address) && last.contains("ss -ltnp"),
        "{last}"
    );
}
