//! The commands of README.md and docs/signalling.md do what is printed below them.

use super::{BACKEND, Certificates, file, output, python};
use crate::bench::{BY_ADDRESS, Edge};
use serde_json::Value;
use std::path::Path;

/// Where the documentation's forwarder takes signals.
const FORWARDER: &str = "10.8.0.2:7470";
/// What may be another number each time.
const VARIES: [&str; 5] = [
    "epoch",
    "generation",
    "remainingMs",
    "createdMsAgo",
    "cursor",
];

/// A command, and what the documentation prints below it.
struct Example {
    command: String,
    answer: String,
}

/// Commands are lines that begin with `grpcurl`, or `$ grpcurl` where an answer follows up to the
/// next command or the end of the block.
fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut has_answer = false;
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let plain = line.trim_start();
        let begins = plain.strip_prefix("$ ").unwrap_or(plain);
        if begins.starts_with("grpcurl ") {
            has_answer = plain.starts_with('$');
            let mut command = begins.to_owned();
            while let Some(begun) = command.strip_suffix('\\') {
                command = format!("{begun} {}", lines.next().unwrap().trim());
            }
            let answer = String::new();
            examples.push(Example { command, answer });
        } else if line.starts_with("```") || line.is_empty() {
            has_answer = false;
        } else if has_answer {
            let example = examples.last_mut().unwrap();
            example.answer.push_str(line);
            example.answer.push('\n');
        }
    }
    examples
}

/// As a shell does, for single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in command.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Runs it on another forwarder, whose certificates are elsewhere.
#[track_caller]
fn run(example: &Example, edge: &Edge, certificates: &Certificates) -> String {
    let address = edge.signals.unwrap().to_string();
    let script = "controlplane/tests/edge/grpcurl.py";
    let mut command = python(&file(script));
    for word in words(&example.command).into_iter().skip(1) {
        let certificate = certificates.path(&word);
        command.arg(match word.as_str() {
            FORWARDER => address.clone(),
            _ if Path::new(&certificate).is_file() => certificate,
            _ => word,
        });
    }
    output(&mut command)
}

#[track_caller]
fn assert_as_documented(example: &Example, answer: &str) {
    let Example {
        command,
        answer: expected,
    } = example;
    if !expected.starts_with('{') {
        assert!(
            expected.is_empty() || answer == expected,
            "{command}: {answer}"
        );
        return;
    }
    let read = |text: &str| {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let values: Vec<_> = values.map(|it| without_what_varies(it.unwrap())).collect();
        values
    };
    assert_eq!(read(answer), read(expected), "{command}: {answer}");
}

/// It has to be there all the same.
fn without_what_varies(mut value: Value) -> Value {
    for (name, value) in value.as_object_mut().unwrap() {
        if VARIES.contains(&name.as_str()) {
            *value = Value::Null;
        }
    }
    value
}

#[test]
fn the_commands_of_the_documentation_get_the_documented_answers() {
    let certificates = Certificates::new();
    let mut with_answer = 0;
    for (document, count) in [("README.md", 1), ("docs/signalling.md", 6)] {
        let plain = Edge::real(BY_ADDRESS, BACKEND);
        let secure = certificates.edge();
        let text = std::fs::read_to_string(file(document)).unwrap();
        let examples = examples(&text);
        assert!(examples.len() >= count, "{document}: {}", examples.len());
        for example in &examples {
            let is_plain = example.command.contains("-plaintext");
            let edge = if is_plain { &plain } else { &secure };
            let answer = run(example, edge, &certificates);
            let refused = answer.contains("\"detail\"") && example.answer.is_empty();
            assert!(!refused, "{}: {answer}", example.command);
            assert_as_documented(example, &answer);
            with_answer += usize::from(!example.answer.is_empty());
        }
    }
    assert!(with_answer >= 6, "{with_answer} answers are documented");
}
