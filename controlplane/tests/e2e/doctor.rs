//! `tetherctl doctor` beside a running daemon, where its port is.

use serde_json::Value;

use crate::testbed::{self, Testbed, programs::tetherctl, setup::Setup};

/// Its findings, and its exit code.
fn findings(bed: &Testbed<'_>) -> (Vec<Value>, Option<i32>) {
    let mut doctor = bed.network.forwarder.command(&tetherctl());
    let config = bed.daemon.directory().join("tether.toml");
    doctor.args(["doctor", "--json", "--config"]).arg(config);
    let output = doctor.output().unwrap();
    let found = serde_json::from_slice(&output.stdout);
    (
        found.unwrap_or_else(|_| panic!("{output:?}")),
        output.status.code(),
    )
}

/// What is found of a level.
fn of<'a>(found: &'a [Value], level: &str) -> Vec<&'a str> {
    let found = found.iter().filter(|it| it["level"] == level);
    found.map(|it| it["what"].as_str().unwrap()).collect()
}

#[test]
fn a_host_on_which_tether_runs_has_no_problem_until_it_is_given_one() {
    testbed::run(Setup::new().state(), |bed| {
        let (found, exit) = findings(bed);
        assert_eq!(
            (exit, of(&found, "problem")),
            (Some(0), vec![]),
            "{found:#?}"
        );
        let ok = of(&found, "ok");
        for said in [
            "tetherd listens at",
            "net_af_packet is installed",
            "data is up",
            "data merges no frames",
            "state is writable",
        ] {
            assert!(ok.iter().any(|it| it.contains(said)), "{said}: {found:#?}");
        }
        let advice = of(&found, "advice");
        for said in ["--no-huge", "another namespace", "512 frames"] {
            assert!(
                advice.iter().any(|it| it.contains(said)),
                "{said}: {found:#?}"
            );
        }
        bed.network
            .forwarder
            .ip("address add 10.9.0.250/24 dev data");
        let (found, exit) = findings(bed);
        assert_eq!(exit, Some(1), "{found:#?}");
        let problems = of(&found, "problem");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].contains("10.9.0.250/24 on data"),
            "{problems:#?}"
        );
    });
}
