//! Opening, configuring and asking ports; and what is said when they cannot.

use std::time::{Duration, Instant};

use dpdk::{Error, Link, Mempool, MempoolConfig, Port, PortConfig, Rss, cycles, cycles_per_second};

use super::eal;
use super::rig::{Burst, frame, marks, pool, start_port};

#[test]
fn an_unknown_port_is_refused_with_the_known_ones_and_advice() {
    let error = Port::open(eal(), "net_null_nonsense").unwrap_err();
    let Error::UnknownPort { known, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        known.iter().any(|name| name == "net_ring_loop"),
        "{known:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("no port is called \"net_null_nonsense\""),
        "{text}"
    );
}

#[test]
fn a_device_can_be_made_after_the_start() {
    let made = Port::create(eal(), "net_null_made", "size=99").unwrap();
    assert_eq!(
        (made.name(), made.driver_name()),
        ("net_null_made", "net_null")
    );
    assert!(Port::names(eal()).contains(&"net_null_made".to_owned()));
}

#[test]
fn a_device_that_cannot_be_made_is_an_error_with_advice() {
    let error = Port::create(eal(), "net_nonsense7", "").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("rte_eal_hotplug_add failed for net_nonsense7"),
        "{text}"
    );
    assert!(text.contains("there is no driver net_nonsense"), "{text}");
    let error = Port::create(eal(), "net_null_options", "nonsense=1").unwrap_err();
    assert!(error.errno().is_some(), "{error}");
}

#[test]
fn a_port_is_open_once_at_a_time() {
    let first = Port::open(eal(), "net_null_claim").unwrap();
    let second = Port::open(eal(), "net_null_claim").unwrap_err();
    assert_eq!(
        second,
        Error::PortInUse {
            name: "net_null_claim".to_owned()
        }
    );
    drop(first);
    assert!(Port::open(eal(), "net_null_claim").is_ok());
}

#[test]
fn queues_and_pools_that_do_not_fit_are_refused_and_the_port_can_be_tried_again() {
    let pools = [pool(eal(), "config-a"), pool(eal(), "config-b")];
    let configure = |queues, pools: &[Mempool]| {
        let port = Port::open(eal(), "net_null_config").unwrap();
        let config = PortConfig {
            queues,
            ..PortConfig::new(pools)
        };
        port.configure(&config)
    };
    let port = "net_null_config".to_owned();
    let most = Port::open(eal(), &port).unwrap().max_queues();
    let driver = "net_null".to_owned();
    for asked in [0, most + 1] {
        let (port, driver) = (port.clone(), driver.clone());
        let expected = Error::QueueCount {
            port,
            driver,
            asked,
            most,
        };
        assert_eq!(configure(asked, &pools).unwrap_err(), expected);
    }
    let expected = Error::PoolCount {
        port,
        queues: 3,
        pools: 2,
    };
    assert_eq!(configure(3, &pools).unwrap_err(), expected);
    let (_port, mut queues) = configure(2, &pools).unwrap();
    let mut burst = Burst::new();
    assert_eq!(queues[1].receive(&mut burst), 32);
    assert_eq!((pools[0].in_use(), pools[1].in_use()), (0, 32));
}

#[test]
fn a_port_tells_what_it_is() {
    let pool = pool(eal(), "facts");
    let unconfigured = Port::open(eal(), "net_null_facts").unwrap();
    assert_eq!(unconfigured.name(), "net_null_facts");
    assert_eq!(unconfigured.driver_name(), "net_null");
    let (mac, most) = (unconfigured.mac(), unconfigured.max_queues());
    let pools = [pool];
    let (port, mut queues) = unconfigured.configure(&PortConfig::new(&pools)).unwrap();
    assert_eq!(
        (port.name(), port.driver_name()),
        ("net_null_facts", "net_null")
    );
    assert_eq!(
        (port.mac(), port.max_queues(), port.mtu()),
        (mac, most, 1500)
    );
    assert_eq!(mac[0] & 1, 0, "a port's address is not a group's");
    let link = Link {
        up: true,
        speed_mbps: Some(10_000),
        full_duplex: true,
    };
    assert_eq!(port.link().unwrap(), link);
    assert_eq!(queues[0].port_name(), "net_null_facts");
    let mut burst = Burst::new();
    let received = queues[0].receive(&mut burst) as u64;
    let extended = port.extended_statistics().unwrap();
    assert!(
        extended.contains(&("rx_good_packets".to_owned(), received)),
        "{extended:?}"
    );
    assert!(
        extended.contains(&("tx_good_packets".to_owned(), 0)),
        "{extended:?}"
    );
}

#[test]
fn queues_keep_their_port_started() {
    let pool = pool(eal(), "keep");
    let (port, mut queues) = start_port(eal(), "net_ring_keep", 2, &pool);
    drop(port);
    assert!(matches!(
        Port::open(eal(), "net_ring_keep"),
        Err(Error::PortInUse { .. })
    ));
    let mut burst: Burst = [7, 8].map(|mark| frame(&pool, mark)).into_iter().collect();
    assert_eq!(queues[1].transmit(&mut burst), 2);
    assert_eq!(queues[1].receive(&mut burst), 2);
    assert_eq!(marks(&burst), [7, 8]);
    drop(queues);
    let gone = Port::open(eal(), "net_ring_keep").unwrap_err();
    assert!(matches!(gone, Error::UnknownPort { .. }), "{gone}");
}

#[test]
fn rss_is_clipped_to_what_the_device_has() {
    let pool = pool(eal(), "rss");
    let pools = [pool];
    for (name, rss) in [("net_null_rss", true), ("net_ring_rss", true)] {
        let config = PortConfig {
            queues: 2,
            rss,
            promiscuous: true,
            ..PortConfig::new(&pools)
        };
        let (port, queues) = Port::open(eal(), name).unwrap().configure(&config).unwrap();
        assert_eq!((port.link().unwrap().up, queues.len()), (true, 2));
        // The null device says how it would spread, the ring device does not.
        let rss = port.rss();
        assert_eq!(rss.is_some(), name == "net_null_rss", "{rss:?}");
        if let Some(Rss { key, queues, .. }) = rss {
            assert!(key.len() >= 40 && key.iter().any(|byte| *byte != 0));
            assert!(queues.len().is_power_of_two() && queues.iter().all(|it| *it < 2));
        }
    }
}

#[test]
fn an_mtu_that_the_device_cannot_have_is_an_error_that_says_so() {
    let pools = [pool(eal(), "mtu")];
    let port = Port::open(eal(), "net_null_mtu").unwrap();
    let config = PortConfig {
        mtu: Some(20),
        ..PortConfig::new(&pools)
    };
    let error = port.configure(&config).unwrap_err();
    assert!(
        error.errno().is_some() && error.to_string().contains("MTU"),
        "{error}"
    );
}

#[test]
fn a_pool_that_cannot_be_is_refused_with_advice() {
    let config = |count, cache| MempoolConfig {
        count,
        cache,
        ..MempoolConfig::default()
    };
    let refused = |name: &str, config| Mempool::new(eal(), name, config).unwrap_err().to_string();
    assert!(refused("too-large", config(10_000_000, 0)).contains("larger -m"));
    assert!(refused("cache", config(100, 90)).contains("cache must be"));
    assert!(refused("a-name-that-is-far-too-long-for-a-pool", config(15, 0)).contains("25 bytes"));
    assert!(refused("nul\0", config(15, 0)).contains("NUL"));
    let taken = Mempool::new(eal(), "taken", config(15, 0)).unwrap();
    assert!(refused(taken.name(), config(15, 0)).contains("another name"));
}

#[test]
fn cycles_go_on_at_the_rate_that_eal_measured() {
    let expected = u128::from(cycles_per_second(eal()));
    let close = |_| measured_rate().abs_diff(expected) < expected / 10;
    assert!((0..20).any(close), "{} of {expected}", measured_rate());
}

/// Right unless the thread is interrupted between reading the two clocks.
fn measured_rate() -> u128 {
    let (start, first) = (Instant::now(), cycles());
    while start.elapsed() < Duration::from_millis(5) {}
    u128::from(cycles() - first) * 1_000_000_000 / start.elapsed().as_nanos()
}
