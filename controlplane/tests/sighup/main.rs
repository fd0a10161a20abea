//! SIGHUP, which goes to a whole process: in one of its own, apart from tests that it would disturb.
//! Every edge here reads its file again whenever a test asks one to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

#[allow(dead_code, reason = "the other tests of the edge use it all")]
#[path = "../edge/bench.rs"]
mod bench;
#[allow(dead_code, reason = "the other tests of the edge use it all")]
#[path = "../edge/certificates.rs"]
mod certificates;
mod reload;
mod rotation;

/// Has every edge of this process read its file again.
fn hang_up() {
    let signal = rustix::process::Signal::HUP;
    rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
}
