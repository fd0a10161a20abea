//! Scapy, asked for many frames at once: it takes a second to start.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

/// Debian's, to which its packages belong; another one may come first in `PATH`.
const PYTHON: &str = "/usr/bin/python3";

/// Asks for what `expected.py` makes of each of these lines.
pub(crate) fn ask(cases: &[String]) -> Vec<Vec<u8>> {
    let mut python = Command::new(PYTHON)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/scapy/expected.py"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 of Debian, which brings python3-scapy: scripts/setup test");
    let mut stdin = python.stdin.take().unwrap();
    let text = cases.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = python.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    assert!(
        output.status.success(),
        "scapy failed, see above; install python3-scapy (scripts/setup test)"
    );
    written.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let frames: Vec<_> = lines.lines().map(bytes).collect();
    assert_eq!(frames.len(), cases.len());
    frames
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
