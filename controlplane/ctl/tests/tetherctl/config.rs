//! `tetherctl config`.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tether_api::operator::{
    ChangeKind, ConfigApplied, ConfigChange, ConfigCheck, ConfigDiff, ConfigFile, ConfigText,
    Failure, FieldChange, Payload, Request, Response,
};

use crate::{
    daemon::{Daemon, finished, tetherctl},
    ok,
};

const TEXT: &str = "[workers]\ncores = [\"ü\"]\n";

/// A file with [`TEXT`], as the daemon is to see it.
fn file() -> (TempDir, PathBuf, ConfigFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tether.toml");
    std::fs::write(&path, TEXT).unwrap();
    let sent = ConfigFile {
        name: path.display().to_string(),
        text: TEXT.to_owned(),
    };
    (directory, path, sent)
}

fn changes() -> Vec<ConfigChange> {
    let shop = ConfigChange {
        service: Some("shop".into()),
        ..ConfigChange::default()
    };
    let field = |field: &str, from: &str, to: &str| FieldChange {
        field: field.into(),
        from: from.into(),
        to: to.into(),
    };
    vec![
        ConfigChange {
            fields: vec![field("limits.affinities", "9", "5")],
            ..ConfigChange::default()
        },
        ConfigChange {
            kind: ChangeKind::Removed,
            backend: Some("shop-1".into()),
            flows: 1_200,
            affinities: 3,
            ..shop.clone()
        },
        ConfigChange {
            fields: vec![field("address", "a", "b"), field("weight", "1", "2")],
            backend: Some("shop-2".into()),
            affinities: 4,
            ..shop.clone()
        },
        ConfigChange {
            kind: ChangeKind::Added,
            service: Some("mail".into()),
            ..shop
        },
    ]
}

const CHANGES: &str = "\
~ limits.affinities 9 -> 5
- service shop backend shop-1 (1,200 flows lose it, 3 affinities end)
~ service shop backend shop-2: address a -> b, weight 1 -> 2 (0 flows, 4 affinities)
+ service mail
";

#[test]
fn a_check_prints_every_problem_and_is_exit_1_where_there_is_one() {
    let (_directory, path, sent) = file();
    let check = ConfigCheck {
        ok: false,
        problems: vec!["t:2:10: must be an integer".into(), "t: and more".into()],
        warnings: vec!["`audit` has no effect".into()],
    };
    let verb = format!("config check {}", path.display());
    let run = ok(Payload::ConfigCheck(check.clone())).run(&verb);
    assert_eq!(
        (run.exit, run.requests),
        (1, vec![Request::ConfigCheck(sent)])
    );
    let expected = "warning: `audit` has no effect\nt:2:10: must be an integer\nt: and more\n";
    assert_eq!(run.stdout, expected);

    let run = ok(Payload::ConfigCheck(check)).run(&format!("--json {verb}"));
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.exit, &document["ok"]), (1, &json!(false)));
    assert_eq!(document["problems"][1], "t: and more");

    let good = ConfigCheck {
        ok: true,
        ..ConfigCheck::default()
    };
    let run = ok(Payload::ConfigCheck(good)).run(&verb);
    assert_eq!(run.exit, 0);
    assert!(run.stdout.starts_with("ok"), "{}", run.stdout);
}

#[test]
fn without_a_daemon_a_check_says_how_to_check_all_the_same() {
    let (directory, path, _) = file();
    let nowhere = directory.path().join("nobody.sock");
    let run = finished(&tetherctl(
        &nowhere,
        &format!("config check {}", path.display()),
    ));
    assert_eq!(run.exit, 3);
    let advice = format!("`tetherd --config {} --check`", path.display());
    assert!(run.stderr.contains(&advice), "{}", run.stderr);
    let run = finished(&tetherctl(&nowhere, "config show"));
    assert_eq!(run.exit, 3);
    assert!(!run.stderr.contains("--check"), "{}", run.stderr);
}

#[test]
fn a_file_that_cannot_be_read_is_exit_1_and_nothing_is_asked() {
    let run = Daemon::answering(vec![vec![]]).run("config apply /nowhere/tether.toml");
    assert_eq!((run.exit, run.requests), (1, vec![]));
    assert!(
        run.stderr.contains("/nowhere/tether.toml"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_diff_says_what_changes_and_what_refuses_it() {
    let (_directory, path, sent) = file();
    let diff = ConfigDiff {
        changes: changes(),
        refused: vec!["workers.cores changes only by a restart".into()],
    };
    let verb = format!("config diff {}", path.display());
    let run = ok(Payload::ConfigDiff(diff)).run(&verb);
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::ConfigDiff(sent)])
    );
    let refused = "! workers.cores changes only by a restart\n";
    assert_eq!(run.stdout, format!("{CHANGES}{refused}"));
    let run = ok(Payload::ConfigDiff(ConfigDiff::default())).run(&verb);
    assert_eq!(run.stdout, "no changes\n");
}

#[test]
fn what_is_applied_says_whether_the_daemons_file_agrees() {
    let (_directory, path, sent) = file();
    let applied = ConfigApplied {
        changes: changes(),
        affinities_ended: 3,
        file: "/etc/tether.toml".into(),
        file_agrees: false,
    };
    let verb = format!("config apply {}", path.display());
    let run = ok(Payload::ConfigApplied(applied.clone())).run(&verb);
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::ConfigApply(sent)])
    );
    let expected = format!("{CHANGES}applied: 4 changes, 3 affinities ended\n");
    let advice = run.stdout.strip_prefix(&expected);
    let advice = advice.unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(advice.starts_with("/etc/tether.toml says something else"));
    let agreed = ConfigApplied {
        file_agrees: true,
        ..applied
    };
    let run = ok(Payload::ConfigApplied(agreed)).run(&verb);
    assert!(run.stdout.ends_with("/etc/tether.toml says the same\n"));

    let failure = Failure {
        message: "t:1:1: no\nt:2:1: neither".into(),
        hint: Some("nothing was changed".into()),
    };
    let run = Daemon::answering(vec![vec![Response::Error(failure)]]).run(&verb);
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    let said = "t:1:1: no\nt:2:1: neither\n  nothing was changed\n";
    assert!(run.stderr.ends_with(said), "{}", run.stderr);
}

#[test]
fn what_runs_is_shown_as_a_file_would_say_it() {
    let text = ConfigText { text: TEXT.into() };
    let run = ok(Payload::Config(text)).run("config show");
    assert_eq!((run.exit, run.stdout.as_str()), (0, TEXT));
    assert_eq!(run.requests, [Request::ConfigShow]);
}

#[test]
fn a_dash_is_standard_input() {
    let run = ok(Payload::ConfigDiff(ConfigDiff::default())).run("config diff -");
    let nothing = ConfigFile {
        name: "standard input".into(),
        text: String::new(),
    };
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::ConfigDiff(nothing)])
    );
}
