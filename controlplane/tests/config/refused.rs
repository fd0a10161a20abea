//! What bad files are told: for every rule the line, the column and the words.

use std::fmt::Write as _;
use std::path::Path;

use tether_controlplane::config::Config;

use super::EXAMPLE;

fn problems(text: &str) -> Vec<String> {
    let problems = Config::parse("t", text).expect_err(text).to_string();
    let place = |line: &str| line.strip_prefix("t:").unwrap_or(line).to_owned();
    problems.lines().map(place).collect()
}

/// A replacement in the example, and its problems.
struct Case {
    from: String,
    to: String,
    problems: Vec<String>,
}

impl Case {
    /// Reads a paragraph of `refused.txt`; none where it is no case.
    fn read(paragraph: &str) -> Option<Self> {
        let mut lines = paragraph.lines();
        let from = lines.next()?.strip_prefix("    ")?;
        let to = lines.next()?.strip_prefix(" =>")?;
        let problems = lines.map(|line| line.trim_start().to_owned()).collect();
        let plain = |text: &str| text.replace("\\n", "\n").replace("\\\\", "\\");
        Some(Self {
            from: plain(from),
            to: plain(to.trim_start()),
            problems,
        })
    }
}

#[test]
fn every_rule_says_what_where_and_what_to_do() {
    let paragraphs = include_str!("refused.txt").split("\n\n").skip(3);
    let cases: Vec<Case> = paragraphs.filter_map(Case::read).collect();
    assert_eq!(
        cases.len(),
        include_str!("refused.txt").matches("\n =>").count() - 1
    );
    for Case {
        from,
        to,
        problems: expected,
    } in cases
    {
        assert!(EXAMPLE.contains(&from), "{from:?} is not in the example");
        assert_eq!(
            problems(&EXAMPLE.replacen(&from, &to, 1)),
            expected,
            "{from:?} => {to:?}"
        );
    }
}

#[test]
fn no_problem_hides_another() {
    let mut text = EXAMPLE.to_owned();
    for (from, to) in [
        ("idle =", "iddle ="),
        ("\"--no-pci\"", "\"-l\""),
        ("cores = [1]", "cores = [1, 1]"),
        ("\"10.9.0.1\"", "\"10.7.0.1\""),
        ("vlan = 100", "vlan = 5000"),
        ("affinities = 1000000", "affinities = \"many\""),
        ("\"maglev\"", "\"maglef\""),
        ("\"5m\"", "\"5\""),
        ("\"8h\"", "\"8m\""),
        ("\"1s\"", "\"5s\""),
        ("\"10.9.0.11\"", "\"10.6.0.11\""),
        ("port = 80\nweight = 1", "port = 81\nweight = true"),
        ("[\"10.8.0.11\"]", "[\"10.8.0.11\", \"here\"]"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let places: Vec<String> = problems(&text)
        .iter()
        .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "2:9", "5:13", "7:1", "12:11", "13:8", "30:14", "39:13", "41:16", "45:16", "56:11",
            "62:11", "63:8", "64:10", "66:29",
        ]
    );
}

#[test]
fn a_wrong_value_makes_no_further_problem() {
    for (from, to) in [
        ("10.9.0.2/24", "10.9.0.2"),
        ("\"dsr\"", "\"drs\""),
        ("port = 80\nprotocol", "port = -1\nprotocol"),
        ("\"10.9.0.100\"", "\"10.9.0\""),
        ("name = \"shop\"", "name = 1"),
        ("\"10.9.0.1\"", "\"10.9.0\""),
        ("duration = \"30m\"", "duration = \"9000h\""),
        ("interval = \"2s\"", "interval = 2"),
        ("\"mtls\"", "\"mltsx\""),
        ("\"--no-pci\", ", "5, "),
    ] {
        assert!(EXAMPLE.contains(from), "{from}");
        let problems = problems(&EXAMPLE.replacen(from, to, 1));
        assert_eq!(problems.len(), 1, "{problems:#?}");
    }
}

#[test]
fn an_empty_file_says_what_is_needed() {
    let [port, cores] = [
        "1:1: the file has no \"port\"",
        "1:1: [workers] has no \"cores\"",
    ];
    for text in ["", "# nothing\n"] {
        let problems = problems(text);
        assert_eq!(problems.len(), 2);
        assert!(
            problems.iter().any(|line| line.starts_with(port)),
            "{problems:#?}"
        );
        assert!(
            problems.iter().any(|line| line.starts_with(cores)),
            "{problems:#?}"
        );
    }
}

/// A file with so many of each.
fn crowd(ports: usize, cores: usize, services: usize, backends: usize) -> String {
    let cores: Vec<String> = (0..cores).map(|core| core.to_string()).collect();
    let mut text = format!("workers.cores = [{}]\n", cores.join(", "));
    for port in 0..ports {
        let device = format!("0000:03:{port:02x}.0");
        writeln!(
            text,
            "[[port]]\ndevice = \"{device}\"\naddresses = [\"10.{port}.0.1/16\"]"
        )
        .unwrap();
    }
    for service in 0..services {
        writeln!(
            text,
            "[[service]]\nname = \"s{service}\"\naddress = \"192.0.2.1\""
        )
        .unwrap();
        writeln!(text, "port = {}", service + 1).unwrap();
        for backend in 0..if service == 0 { backends } else { 0 } {
            let address = format!("10.0.{}.{}", 1 + backend / 250, backend % 250);
            writeln!(
                text,
                "[[service.backend]]\nname = \"b{backend}\"\naddress = \"{address}\""
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn there_are_limits_to_everything() {
    assert!(Config::parse("t", &crowd(16, 64, 4096, 16_384)).is_ok());
    for (text, problem) in [
        (crowd(17, 1, 0, 0), "50:1: more than 16 ports"),
        (crowd(1, 65, 0, 0), "1:264: more than 64 workers"),
        (crowd(1, 1, 4097, 0), "16389:1: more than 4096 services"),
        (crowd(1, 1, 1, 16_385), "49161:1: more than 16384 backends"),
    ] {
        assert_eq!(problems(&text), [problem]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let problems = Config::load(Path::new("/nowhere/tether.toml")).unwrap_err();
    let expected = "/nowhere/tether.toml: cannot be read: No such file or directory (os error 2) \
                    (give the path of a readable file with --config)";
    assert_eq!(problems.to_string(), expected);
    assert!(
        problems
            .pretty()
            .contains("/nowhere/tether.toml: cannot be read")
    );
}

#[test]
fn a_file_of_another_encoding_is_pointed_into() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tether.toml");
    std::fs::write(&path, b"# caf\xe9\n").unwrap();
    let problems = Config::load(&path).unwrap_err().to_string();
    let expected = format!("{}:1:6: not UTF-8 from here on", path.display());
    assert!(problems.starts_with(&expected), "{problems}");
}

#[test]
fn pretty_shows_the_line() {
    let text = EXAMPLE.replace("\"maglev\"", "\"magelv\"");
    let pretty = Config::parse("tether.toml", &text).unwrap_err().pretty();
    for part in [
        "tether.toml:39:13",
        "scheduler = ",
        "did you mean \"maglev\"?",
    ] {
        assert!(pretty.contains(part), "{part} is not in\n{pretty}");
    }
}

#[test]
fn an_ipv6_packet_of_the_least_mtu_must_fit_into_its_tunnel() {
    let text = |mtu: u16, forward: &str| {
        let text = EXAMPLE.replace("vlan = 100", &format!("mtu = {mtu}"));
        let text = text.replace("10.9.0.100", "fd00:9::100");
        let text = text.replace("\"10.9.0.11\"", "\"fd00:9::11\"");
        text.replace("forward = \"dsr\"", &format!("forward = \"{forward}\""))
    };
    let expected = "13:7: an IPv6 packet of 1280 bytes does not fit into a tunnel over an MTU of 1331 \
                    (raise it to 1332 or more: every IPv6 link takes 1280)";
    assert_eq!(problems(&text(1331, "gue")), [expected]);
    for (mtu, forward) in [(1332, "gue"), (1280, "dsr")] {
        assert!(
            Config::parse("t", &text(mtu, forward)).is_ok(),
            "{mtu} {forward}"
        );
    }
}
