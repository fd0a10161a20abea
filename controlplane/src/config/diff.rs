//! What changes from one configuration to another, as data. Services and backends are the same
//! where their names are (contract rule B4); a new order alone is no change. What only a restart
//! can change is named apart, so that a reload can refuse it whole (contract rule L2).

use std::{collections::HashMap, net::SocketAddr};

use super::{
    AffinityPolicy, Auth, Backend, Config, Control, Dpdk, Fullnat, Limits, Service, ServiceLimits,
    SignalListener, Tls, Tunnel, Workers,
};
use text::Text;

mod text;

/// What changes from one configuration to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The keys and tables whose change needs a restart, such as `workers.cores`.
    pub restart: Vec<&'static str>,
    /// Changed keys of `[control.tls]`.
    pub tls: Vec<FieldChange>,
    /// Changed keys of `[limits]`.
    pub limits: Vec<FieldChange>,
    /// Removed services first, then changed and added ones in the new file's order.
    pub services: Vec<ServiceChange>,
}

/// One changed value, as the file would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The key, such as `affinity.duration`.
    pub field: &'static str,
    /// The old value.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// What happens to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// It is new.
    Added(Service),
    /// It goes, with its backends and affinities.
    Removed(Service),
    /// It stays and differs.
    Changed {
        /// Its name.
        name: String,
        /// Its own changed values.
        fields: Vec<FieldChange>,
        /// Removed backends first, then changed and added ones in the new file's order.
        backends: Vec<BackendChange>,
    },
}

/// What happens to a backend of a service that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendChange {
    /// It is new.
    Added(Backend),
    /// It goes, with its affinities.
    Removed(Backend),
    /// Its weight is all that differs.
    Reweighted {
        /// Its name.
        name: String,
        /// The old weight.
        from: u16,
        /// The new weight.
        to: u16,
    },
    /// It stays and differs in more than its weight.
    Changed {
        /// Its name.
        name: String,
        /// The changed values.
        fields: Vec<FieldChange>,
    },
}

impl Diff {
    /// What changes from `old` to `new`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        Self {
            restart: restart(old, new),
            tls: tls(&old.control, &new.control),
            limits: limits(&old.limits, &new.limits),
            services: services(&old.services, &new.services),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.restart.is_empty()
            && self.tls.is_empty()
            && self.limits.is_empty()
            && self.services.is_empty()
    }
}

/// The listed fields that differ. Takes the structs apart by name: a field that is forgotten here
/// does not compile.
macro_rules! fields {
    ($kind:ident, $old:expr, $new:expr; $($field:ident => $name:literal,)+ ; $($other:ident),*) => {{
        let $kind { $($field: _,)+ $($other: _,)* } = $old;
        let mut changes = Vec::new();
        $(if $old.$field != $new.$field {
            changes.push(FieldChange {
                field: $name,
                from: $old.$field.text(),
                to: $new.$field.text(),
            });
        })+
        changes
    }};
}

fn restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        dpdk: Dpdk { args },
        workers: Workers { cores, flows, idle },
        ports,
        control:
            Control {
                signal,
                operator,
                metrics,
                state,
                audit,
            },
        limits: _,
        services: _,
    } = old;
    let changes = [
        ("dpdk.args", *args != new.dpdk.args),
        ("workers.cores", *cores != new.workers.cores),
        ("workers.flows", *flows != new.workers.flows),
        ("workers.idle", *idle != new.workers.idle),
        ("port", *ports != new.ports),
        (
            "control.signal or auth",
            listener(signal.as_ref()) != listener(new.control.signal.as_ref()),
        ),
        ("control.operator", *operator != new.control.operator),
        ("control.metrics", *metrics != new.control.metrics),
        ("control.state", *state != new.control.state),
        (
            "control.audit and its rate and mask",
            *audit != new.control.audit,
        ),
    ];
    changes
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| *name)
        .collect()
}

/// What of the listener cannot change while it listens: the certificates can.
fn listener(signal: Option<&SignalListener>) -> Option<(SocketAddr, bool)> {
    let SignalListener { address, auth } = signal?;
    Some((*address, matches!(auth, Auth::Mtls(_))))
}

/// Where both have certificates.
fn tls(old: &Control, new: &Control) -> Vec<FieldChange> {
    let files = |control: &Control| match &control.signal.as_ref()?.auth {
        Auth::Mtls(tls) => Some(tls.clone()),
        Auth::Address => None,
    };
    let (Some(old), Some(new)) = (files(old), files(new)) else {
        return Vec::new();
    };
    fields!(Tls, &old, &new;
        certificate => "certificate",
        key => "key",
        client_ca => "client_ca",
        ;
    )
}

fn limits(old: &Limits, new: &Limits) -> Vec<FieldChange> {
    fields!(Limits, old, new;
        affinities => "affinities",
        affinities_per_service => "affinities_per_service",
        affinities_per_backend => "affinities_per_backend",
        signals_per_second_per_backend => "signals_per_second_per_backend",
        ;
    )
}

fn services(old: &[Service], new: &[Service]) -> Vec<ServiceChange> {
    let (removed, kept) = by_name(old, new, |service| &service.name);
    let removed = removed.into_iter().cloned().map(ServiceChange::Removed);
    let kept = kept.into_iter().filter_map(|(old, new)| match old {
        None => Some(ServiceChange::Added(new.clone())),
        Some(old) => {
            let fields = service(old, new);
            let backends = backends(&old.backends, &new.backends);
            let name = new.name.clone();
            let differs = !fields.is_empty() || !backends.is_empty();
            differs.then_some(ServiceChange::Changed {
                name,
                fields,
                backends,
            })
        }
    });
    removed.chain(kept).collect()
}

fn backends(old: &[Backend], new: &[Backend]) -> Vec<BackendChange> {
    let (removed, kept) = by_name(old, new, |backend| &backend.name);
    let removed = removed.into_iter().cloned().map(BackendChange::Removed);
    let kept = kept.into_iter().filter_map(|(old, new)| match old {
        None => Some(BackendChange::Added(new.clone())),
        Some(old) => backend(old, new),
    });
    removed.chain(kept).collect()
}

/// The old items whose names are gone, and each new item with the old one of its name.
fn by_name<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> &str,
) -> (Vec<&'a T>, Vec<(Option<&'a T>, &'a T)>) {
    let mut olds: HashMap<&str, &T> = old.iter().map(|item| (name(item), item)).collect();
    let kept = new
        .iter()
        .map(|item| (olds.remove(name(item)), item))
        .collect();
    let removed = old
        .iter()
        .filter(|item| olds.contains_key(name(item)))
        .collect();
    (removed, kept)
}

fn service(old: &Service, new: &Service) -> Vec<FieldChange> {
    let mut changes = fields!(Service, old, new;
        address => "address",
        prefix_length => "address (prefix length)",
        port => "port",
        protocol => "protocol",
        scheduler => "scheduler",
        forward => "forward",
        proxy_protocol => "proxy_protocol",
        flow_timeout => "flow_timeout",
        slow_start => "slow_start",
        allow => "allow",
        deny => "deny",
        health => "health",
        ; name, tunnel, fullnat, limits, affinity, backends
    );
    changes.extend(tunnel(&old.tunnel, &new.tunnel));
    changes.extend(fullnat(&old.fullnat, &new.fullnat));
    changes.extend(service_limits(&old.limits, &new.limits));
    changes.extend(affinity(&old.affinity, &new.affinity));
    changes
}

fn service_limits(old: &ServiceLimits, new: &ServiceLimits) -> Vec<FieldChange> {
    fields!(ServiceLimits, old, new;
        new_flows_per_second => "limits.new_flows_per_second",
        new_flows_per_second_per_source => "limits.new_flows_per_second_per_source",
        ;
    )
}

fn tunnel(old: &Tunnel, new: &Tunnel) -> Vec<FieldChange> {
    fields!(Tunnel, old, new;
        port => "tunnel.port",
        variant => "tunnel.variant",
        source_v4 => "tunnel.source_prefix (IPv4)",
        source_v6 => "tunnel.source_prefix (IPv6)",
        mss_clamp => "tunnel.mss_clamp",
        ;
    )
}

fn fullnat(old: &Fullnat, new: &Fullnat) -> Vec<FieldChange> {
    fields!(Fullnat, old, new;
        pool => "fullnat.pool",
        ports => "fullnat.ports",
        ;
    )
}

fn affinity(old: &AffinityPolicy, new: &AffinityPolicy) -> Vec<FieldChange> {
    fields!(AffinityPolicy, old, new;
        duration => "affinity.duration",
        duration_cap => "affinity.duration_cap",
        lifetime_cap => "affinity.lifetime_cap",
        refresh => "affinity.refresh",
        on_conflict => "affinity.on_conflict",
        on_backend_down => "affinity.on_backend_down",
        widest_prefix_v4 => "affinity.widest_prefix (IPv4)",
        widest_prefix_v6 => "affinity.widest_prefix (IPv6)",
        ;
    )
}

fn backend(old: &Backend, new: &Backend) -> Option<BackendChange> {
    let fields = fields!(Backend, old, new;
        address => "address",
        port => "port",
        weight => "weight",
        identity => "identity",
        signal_from => "signal_from",
        ; name
    );
    let name = new.name.clone();
    match fields.as_slice() {
        [] => None,
        [only] if only.field == "weight" => Some(BackendChange::Reweighted {
            name,
            from: old.weight,
            to: new.weight,
        }),
        _ => Some(BackendChange::Changed { name, fields }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
        workers.cores = [1]
        port = [{ device = "0000:03:00.0", addresses = ["10.9.0.2/24"], gateway = "10.9.0.1" }]
        [[service]]
        name = "shop"
        address = "10.9.0.100"
        port = 80
        [[service.backend]]
        name = "shop-1"
        address = "10.9.0.11"
        [[service.backend]]
        name = "shop-2"
        address = "10.9.0.12"
        [[service]]
        name = "dns"
        address = "10.9.0.100"
        port = 53
        protocol = "udp"
    "#;

    fn diff(replacements: &[(&str, &str)]) -> Diff {
        let old = Config::parse("old", OLD).unwrap();
        let mut text = OLD.to_owned();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        Diff::between(&old, &Config::parse("new", &text).unwrap())
    }

    #[test]
    fn the_same_is_no_change() {
        assert!(diff(&[]).is_empty());
        assert_eq!(diff(&[]).to_string(), "");
    }

    #[test]
    fn order_alone_is_no_change() {
        let backends = OLD.find("[[service.backend]]").unwrap();
        let (first, second) =
            OLD[backends..].split_at(OLD[backends..].rfind("[[service.b").unwrap());
        let end = second.find("[[service]]").unwrap();
        let text = format!(
            "{}{}{first}{}",
            &OLD[..backends],
            &second[..end],
            &second[end..]
        );
        let [old, new] = [OLD, &text].map(|text| Config::parse("t", text).unwrap());
        assert_ne!(old, new);
        assert!(Diff::between(&old, &new).is_empty());
    }

    #[test]
    fn each_change_is_a_line() {
        for (from, to, line) in [
            ("[1]", "[1, 2]", "workers.cores changes: needs a restart\n"),
            ("0.2/24", "0.3/24", "port changes: needs a restart\n"),
            (
                "[[service]]",
                "control.metrics = \"127.0.0.1:1\"\n[[service]]",
                "control.metrics changes: needs a restart\n",
            ),
            (
                "[[service]]",
                "limits.affinities = 5\n[[service]]",
                "limits affinities: 1000000 -> 5\n",
            ),
            (
                "name = \"dns\"",
                "name = \"names\"",
                "service dns removed\nservice names added with 0 backends\n",
            ),
            (
                "port = 80",
                "port = 81\nforward = \"gue\"",
                "service shop port: 80 -> 81\nservice shop \
              forward: dsr -> gue\nservice shop backend shop-1 port: 80 -> 81\nservice shop backend \
              shop-2 port: 80 -> 81\n",
            ),
            (
                "port = 80",
                "port = 80\nforward = \"fullnat\"\nproxy_protocol = true\n\
                 fullnat.pool = [\"10.9.0.200\"]",
                "service shop forward: dsr -> fullnat\n\
                 service shop proxy_protocol: false -> true\n\
                 service shop fullnat.pool: [] -> [10.9.0.200/32]\n",
            ),
            (
                "port = 80",
                "port = 80\naffinity.duration_cap = \"8h\"\nhealth.check = \"tcp\"",
                "service shop health: none -> tcp every 2s, timeout 1s, rise 2, fall 3\n\
                 service shop affinity.duration_cap: none -> 8h\n",
            ),
            (
                "port = 80",
                "port = 80\nslow_start = \"30s\"\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.2.3\"]",
                "service shop slow_start: none -> 30s\n\
                 service shop allow: [] -> [10.0.0.0/8]\n\
                 service shop deny: [] -> [10.1.2.3/32]\n",
            ),
            (
                "port = 80",
                "port = 80\nlimits.new_flows_per_second = 9\n\
                 limits.new_flows_per_second_per_source = 3",
                "service shop limits.new_flows_per_second: none -> 9\n\
                 service shop limits.new_flows_per_second_per_source: none -> 3\n",
            ),
            (
                "address = \"10.9.0.100\"",
                "address = \"10.9.1.0/28\"",
                "service shop address: 10.9.0.100 -> 10.9.1.0\n\
                 service shop address (prefix length): 32 -> 28\n",
            ),
            (
                "port = 80",
                "port = 80\nforward = \"ipip\"\ntunnel.source_prefix = \"10.99.0.0/16\"",
                "service shop forward: dsr -> ipip\n\
                 service shop tunnel.source_prefix (IPv4): none -> 10.99.0.0/16\n",
            ),
            (
                "\"10.9.0.11\"",
                "\"10.9.0.11\"\nweight = 0",
                "service shop backend shop-1 weight: 1 -> 0\n",
            ),
            (
                "\"10.9.0.11\"",
                "\"10.9.0.13\"\nweight = 2",
                "service shop backend shop-1 address: 10.9.0.11 -> 10.9.0.13, weight: 1 -> 2, \
                 signal_from: [10.9.0.11] -> [10.9.0.13]\n",
            ),
            (
                "\"10.9.0.11\"",
                "\"10.9.0.11\"\nweight = 2\nidentity = \"x\"",
                "service shop backend shop-1 weight: 1 -> 2, identity: shop-1 -> x\n",
            ),
            (
                "name = \"shop-2\"",
                "name = \"shop-3\"",
                "service shop backend shop-2 removed\nservice shop backend shop-3 added at 10.9.0.12\n",
            ),
        ] {
            assert_eq!(diff(&[(from, to)]).to_string(), line, "{from} => {to}");
        }
    }

    #[test]
    fn other_certificates_need_no_restart_and_another_listener_does() {
        let with = |listener: &str| {
            let text = OLD.replacen("[[service]]", &format!("{listener}\n[[service]]"), 1);
            Config::parse("t", &text).unwrap()
        };
        let mtls = r#"
            [control]
            signal = "10.8.0.2:7470"
            tls = { certificate = "/a.pem", key = "/a.key", client_ca = "/ca.pem" }
        "#;
        let old = with(mtls);
        let other = with(&mtls.replace("/a.pem", "/b.pem"));
        let diff = Diff::between(&old, &other);
        assert_eq!(
            diff.to_string(),
            "control.tls certificate: /a.pem -> /b.pem\n"
        );
        assert!(!diff.is_empty());
        let by_address = "[control]\nsignal = \"10.8.0.2:7470\"\nauth = \"address\"";
        for new in [by_address, &mtls.replace("7470", "7471"), ""] {
            let diff = Diff::between(&old, &with(new));
            assert_eq!(diff.restart, ["control.signal or auth"], "{new}");
        }
    }

    #[test]
    fn a_weight_alone_is_told_apart() {
        let change = diff(&[("\"10.9.0.12\"", "\"10.9.0.12\"\nweight = 7")]);
        let reweighted = BackendChange::Reweighted {
            name: "shop-2".to_owned(),
            from: 1,
            to: 7,
        };
        assert_eq!(
            change.services,
            [ServiceChange::Changed {
                name: "shop".to_owned(),
                fields: Vec::new(),
                backends: vec![reweighted],
            }]
        );
    }
}
