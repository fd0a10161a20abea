//! `tetherctl doctor` on the host that runs the tests, whatever it is: the shape of what it says. What it
//! finds is tested beside it, on hosts made of files.

use serde_json::Value;

use crate::daemon::{finished, tetherctl};

const NOWHERE: &str = "/nonexistent/operator.sock";

#[test]
fn it_needs_no_daemon_and_exits_with_1_where_there_is_a_problem() {
    let run = finished(&tetherctl(NOWHERE.as_ref(), "doctor --json"));
    let findings: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    assert!(findings.len() > 3, "{findings:#?}");
    let mut is_problem = false;
    for finding in &findings {
        let level = finding["level"].as_str().unwrap();
        assert!(["ok", "advice", "problem"].contains(&level), "{finding}");
        is_problem |= level == "problem";
        assert!(
            finding["check"].is_string() && finding["what"].is_string(),
            "{finding}"
        );
        assert_eq!(finding["fix"].is_null(), level == "ok", "{finding}");
    }
    assert_eq!(run.exit, i32::from(is_problem));
    let text = finished(&tetherctl(NOWHERE.as_ref(), "doctor"));
    assert_eq!(text.exit, run.exit);
    assert!(text.stdout.contains("clock") && text.stdout.contains("pieces of advice"));
}

#[test]
fn a_configuration_that_is_not_there_is_a_problem() {
    let run = finished(&tetherctl(
        NOWHERE.as_ref(),
        "doctor --config /nonexistent/tether.toml",
    ));
    assert_eq!(run.exit, 1);
    let said = "PROBLEM  config      /nonexistent/tether.toml cannot be read";
    assert!(run.stdout.starts_with(said), "{}", run.stdout);
}

#[test]
fn it_reads_what_tetherd_is_started_with() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tether.toml");
    let text = "[dpdk]\nargs = [\"--no-huge\", \"--vdev=net_af_packet0,iface=no-such-0\"]\n\
                [workers]\ncores = [1023]\n[[port]]\ndevice = \"net_af_packet0\"\n";
    std::fs::write(&file, text).unwrap();
    let run = finished(&tetherctl(
        NOWHERE.as_ref(),
        &format!("doctor --config {}", file.display()),
    ));
    assert_eq!(run.exit, 1);
    for said in ["names 1023, which is not here", "no interface no-such-0"] {
        assert!(run.stdout.contains(said), "{said}: {}", run.stdout);
    }
}
