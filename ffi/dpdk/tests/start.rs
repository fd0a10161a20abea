//! EAL starts once, leaves its caller where it was, and goes with its last handle.

#[path = "support/rig.rs"]
mod rig;

use dpdk::{Eal, Error, Port, version};
use rustix::thread::{CpuSet, sched_getaffinity};

#[test]
fn eal_starts_once_and_pins_nobody() {
    let before = cores().unwrap();
    assert!(matches!(
        Eal::init(&["--no-huge\0"]),
        Err(Error::NulByte { .. })
    ));
    let eal = rig::start(&["net_null0"]);
    assert_eq!(cores().unwrap(), before);
    assert_eq!(Eal::init(rig::ARGS).unwrap_err(), Error::AlreadyInitialised);
    assert!(version().starts_with("DPDK "), "{}", version());

    let clone = eal.clone();
    drop(eal);
    assert_eq!(Port::names(&clone), ["net_null0"]);
    let pool = rig::pool(&clone, "held");
    drop(clone);
    let address = rig::frame(&pool, 1).data().as_ptr() as usize;
    assert!(rig::is_mapped(address));
    drop(pool);
    assert!(!rig::is_mapped(address), "the last handle has stopped EAL");
    assert_eq!(Eal::init(rig::ARGS).unwrap_err(), Error::AlreadyInitialised);
}

fn cores() -> rustix::io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect())
}
