//! A file that is read again.

use crate::{
    bench::{BACKEND, BY_ADDRESS, Edge, text},
    hang_up,
};
use std::sync::mpsc;
use tether_controlplane::{
    command::{Command, Reloaded},
    config::Config,
};

#[test]
fn l2_a_file_without_errors_is_applied_and_one_with_errors_is_not() {
    let (seen, reloads) = mpsc::channel();
    let edge = Edge::start(move |command| {
        if let Command::Reload { config, reply } = command {
            // Err: the test has what it waited for, and its server may be gone.
            let _ = seen.send(config.services[0].backends[0].weight);
            let _ = reply.send(Ok(Reloaded::default()));
        }
    });
    // Another test may hang up before this one has written anything.
    let before = Config::load(&edge.file).unwrap().services[0].backends[0].weight;
    let socket = edge.socket.display().to_string();
    let weight = |weight: &str| {
        let rest = format!("{BACKEND}\nweight = {weight}");
        std::fs::write(&edge.file, text(&socket, BY_ADDRESS, &rest)).unwrap();
        hang_up();
    };
    weight("\"heavy\"");
    weight("7");
    assert_eq!(reloads.iter().find(|it| *it != before), Some(7));
}
