//! Contract rules B4 and L2.

use super::*;
use crate::{
    command::Comparison,
    config,
    master::{NoPlace, Registry},
};
use OutcomeCode::{Created, Invalid};
use tether_api::operator::{ChangeKind, ConfigChange, FieldChange};
use tether_dataplane::limits;

const SHOP_2: &str = r#"[[service.backend]]
name = "shop-2"
address = "10.9.0.12"
identity = "two.shop"
signal_from = ["10.8.0.12"]
"#;

fn id_of(bench: &Bench, service: &str, backend: &str) -> u16 {
    let registry = &bench.control.master.registry;
    let service = registry.service_named(service).unwrap();
    registry.backend_named(service, backend).unwrap().id.0
}

fn compare(bench: &mut Bench, text: &str) -> Comparison {
    let (reply, mut compared) = oneshot::channel();
    let config = Box::new(parse(text));
    bench.turn(vec![Command::Compare { config, reply }]);
    compared.try_recv().expect("an answer in the same turn")
}

/// A change of `shop` or of one of its backends.
fn change(kind: ChangeKind, backend: Option<&str>, fields: &[[&str; 3]]) -> ConfigChange {
    let fields = fields.iter().map(|[field, from, to]| FieldChange {
        field: (*field).to_owned(),
        from: (*from).to_owned(),
        to: (*to).to_owned(),
    });
    ConfigChange {
        kind,
        service: Some("shop".to_owned()),
        backend: backend.map(str::to_owned),
        fields: fields.collect(),
        ..ConfigChange::default()
    }
}

#[test]
fn a_comparison_foretells_each_change_and_makes_none() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    bench.start(TWO, "192.0.2.3");
    let text = with_rule("duration_cap = \"2h\"")
        .replacen(SHOP_2, "", 1)
        .replacen("name = \"shop-1\"\n", "name = \"shop-1\"\nweight = 7\n", 1)
        .replacen("per_backend = 15000", "per_backend = 14000", 1);
    let published = bench.control.published;
    let compared = compare(&mut bench, &text);
    let limit = FieldChange {
        field: "limits.affinities_per_backend".to_owned(),
        from: "15000".to_owned(),
        to: "14000".to_owned(),
    };
    let expected = [
        ConfigChange {
            fields: vec![limit],
            ..ConfigChange::default()
        },
        ConfigChange {
            affinities: 3,
            ..change(
                ChangeKind::Changed,
                None,
                &[["affinity.duration_cap", "none", "2h"]],
            )
        },
        ConfigChange {
            affinities: 2,
            ..change(ChangeKind::Removed, Some("shop-2"), &[])
        },
        ConfigChange {
            affinities: 1,
            ..change(ChangeKind::Changed, Some("shop-1"), &[["weight", "1", "7"]])
        },
    ];
    assert_eq!(compared.changes, expected);
    assert!(compared.refused.is_empty());
    assert_eq!(bench.owner("192.0.2.2"), Some("shop-2"));
    assert_eq!(bench.control.published, published);

    let reloaded = bench.reload(&text);
    assert_eq!((reloaded.changes, reloaded.ended), (compared.changes, 2));
    assert!(compare(&mut bench, &text).changes.is_empty());
    let back = compare(&mut bench, CONFIG);
    let added = change(ChangeKind::Added, Some("shop-2"), &[]);
    assert!(back.changes.contains(&added), "{back:?}");
}

#[test]
fn b4_a_backend_keeps_its_affinities_wherever_it_stands() {
    let mut bench = Bench::new();
    bench.start(TWO, CLIENT);
    let before = id_of(&bench, "shop", "shop-2");
    let first = "[[service.backend]]\nname = \"shop-1\"";
    let moved = CONFIG.replacen(SHOP_2, "", 1);
    let moved = moved.replacen(first, &format!("{SHOP_2}{first}"), 1);
    bench.reload(&moved);
    let shop = bench.control.master.registry.service_named("shop").unwrap();
    let names = bench.control.master.registry.backends_of(shop);
    let names: Vec<_> = names.map(crate::master::Backend::name).collect();
    assert_eq!(names, ["shop-2", "shop-1"]);
    assert_eq!(id_of(&bench, "shop", "shop-2"), before);
    assert_eq!(bench.owner(CLIENT), Some("shop-2"));
}

#[test]
fn a_removed_backend_loses_its_affinities_and_is_told_that_it_is_gone() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    let old = id_of(&bench, "shop", "shop-2");
    bench.reload(&CONFIG.replacen(SHOP_2, "", 1));
    assert_eq!(bench.owner("192.0.2.1"), Some("shop-1"));
    assert_eq!(bench.owner("192.0.2.2"), None);
    let outcome = bench.start(TWO, "192.0.2.2");
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.contains("shop-2 was removed"),
        "{}",
        outcome.detail
    );
    assert_eq!(bench.start(ONE, "192.0.2.2").code, Created);
    bench.assert_consistent();
    bench.reload(CONFIG);
    assert_ne!(
        id_of(&bench, "shop", "shop-2"),
        old,
        "flows may remember the old one"
    );
    assert_eq!(bench.start(TWO, "192.0.2.3").code, Created);
}

#[test]
fn a_removed_service_goes_with_its_affinities() {
    let mut bench = Bench::new();
    let six = signal("six", "2001:db8::1", start_of(Asked::Default));
    assert_eq!(bench.say(ONE, six.clone()).code, Created);
    let without = CONFIG.split("[[service]]\nname = \"six\"").next().unwrap();
    bench.reload(without);
    assert_eq!(bench.control.master.records.len(), 0);
    assert_eq!(bench.say(ONE, six).code, Invalid);
    bench.assert_consistent();
}

#[test]
fn an_affinity_of_the_other_family_ends_when_the_address_changes_family() {
    let mut bench = Bench::new();
    bench.say(ONE, signal("six", "2001:db8::1", start_of(Asked::Default)));
    bench.start(ONE, CLIENT);
    let text = CONFIG
        .replace("fd00:9::100", "10.9.0.103")
        .replace("fd00:9::11", "10.9.0.14");
    bench.reload(&text);
    assert_eq!(bench.control.master.records.len(), 1);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    bench.assert_consistent();
}

#[test]
fn l2_what_cannot_be_applied_whole_changes_nothing() {
    let mut bench = Bench::new();
    bench.start(TWO, CLIENT);
    let before = (bench.control.config.clone(), bench.control.published);
    let smaller = CONFIG.replacen(SHOP_2, "", 1);
    for (from, to, reason) in [
        (
            "cores = [1]",
            "cores = [2]",
            "workers.cores changes only by a restart",
        ),
        (
            "\"10.9.0.2/24\"",
            "\"10.9.0.3/24\"",
            "port changes only by a restart",
        ),
        (
            "affinities = 20000",
            "affinities = 9000000",
            "limits.affinities (above what it was at start) changes only by a restart",
        ),
    ] {
        let text = smaller.replace(from, to);
        assert_ne!(text, smaller);
        let foretold = compare(&mut bench, &text);
        let reasons = bench.try_reload(&text).unwrap_err();
        assert!(reasons[0].starts_with(reason), "{reasons:?}");
        assert_eq!(reasons, foretold.refused);
        assert_eq!(
            (bench.control.config.clone(), bench.control.published),
            before
        );
        assert_eq!(bench.owner(CLIENT), Some("shop-2"));
    }
}

const POOL: &str =
    "forward = \"fullnat\"\nfullnat = { pool = [\"10.9.0.200\"], ports = [2000, 2999] }";

/// The configuration with full NAT of one service.
fn with_pool(pool: &str) -> String {
    CONFIG
        .replace(
            "\"fd00:9::2/64\"]",
            "\"fd00:9::2/64\"]\ngateway = \"10.9.0.1\"",
        )
        .replacen("port = 80\n", &format!("port = 80\n{pool}\n"), 1)
}

#[test]
fn l2_local_addresses_come_and_go_and_their_ports_stay() {
    let mut bench = Bench::of(&with_pool(POOL));
    bench.start(ONE, CLIENT);
    bench.reload(&with_pool(
        &POOL.replace("\"10.9.0.200\"", "\"10.9.0.208/29\""),
    ));
    bench.reload(&with_pool(&POOL.replace("10.9.0.200", "10.9.0.210")));
    let text = with_pool(&POOL.replace("2000, 2999", "2000, 3000"));
    let foretold = compare(&mut bench, &text);
    let reasons = bench.try_reload(&text).unwrap_err();
    assert!(
        reasons[0].contains("10.9.0.200 has the ports 2000 to 2999"),
        "{reasons:?}"
    );
    assert_eq!(reasons, foretold.refused);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
}

#[test]
fn s5_a_local_address_is_no_client() {
    let mut bench = Bench::of(&with_pool(POOL));
    let outcome = bench.start(ONE, "10.9.0.200");
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.contains("PROXY protocol"),
        "{}",
        outcome.detail
    );
    assert_eq!(bench.start(ONE, "10.9.0.201").code, Created);
}

#[test]
fn states_and_weights_that_an_operator_has_set_stay() {
    let mut bench = Bench::new();
    bench.payload(Request::BackendSet {
        service: "shop".to_owned(),
        backend: "shop-1".to_owned(),
        state: tether_api::operator::AdminState::Drain,
    });
    bench.payload(Request::BackendWeight {
        service: "shop".to_owned(),
        backend: "shop-1".to_owned(),
        weight: 9,
    });
    bench.reload(&with_rule("lifetime_cap = \"1h\""));
    let shop_1 = id_of(&bench, "shop", "shop-1");
    let registry = &bench.control.master.registry;
    let backend = registry
        .backend(tether_dataplane::tables::id::BackendId(shop_1))
        .unwrap();
    assert_eq!(backend.weight, 9);
    assert_eq!(backend.admin, tether_api::operator::AdminState::Drain);
}

#[test]
fn numbers_come_back_only_when_all_fresh_ones_are_used_up_and_no_flow_remembers() {
    const MANY: usize = limits::BACKENDS / 4;
    let mut config = parse(CONFIG);
    let backend = config.services[0].backends[0].clone();
    let mut rename = |registry: &mut Registry, round: usize, forgotten: bool| {
        let names = (0..MANY).map(|number| format!("{round}-{number}"));
        let backends = names.map(|name| config::Backend {
            name,
            ..backend.clone()
        });
        config.services[0].backends = backends.collect();
        registry.adopt(&config, &|_| forgotten)?;
        let shop = registry.service_named("shop").unwrap();
        Ok::<_, NoPlace>(shop.backends.clone())
    };
    let mut registry = Registry::default();
    let mut given = hashbrown::HashSet::new();
    let rounds: Vec<_> = (0..3)
        .map(|round| rename(&mut registry, round, true).unwrap())
        .collect();
    for id in rounds.iter().flatten() {
        assert!(given.insert(*id), "{id:?} was given twice");
    }
    let mut full = registry.clone();
    assert!(
        rename(&mut full, 3, false).is_err(),
        "flows remember the others"
    );
    let last = rename(&mut registry, 3, true).unwrap();
    let fresh = last.iter().filter(|id| !given.contains(*id)).count();
    assert!(fresh > 0 && fresh < MANY, "{fresh} were left");
    assert_eq!(
        last[fresh..],
        rounds[0][..MANY - fresh],
        "then the oldest first"
    );
}
