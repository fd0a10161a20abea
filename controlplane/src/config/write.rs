//! A configuration as a file would say it: what is read back is equal. Every value is written, also
//! a default, so that the text means the same in later versions. The structs are taken apart by
//! name: a field that is forgotten here does not compile.

use super::{
    AffinityPolicy, Audit, Auth, Backend, Check, Config, Control, Dpdk, Forward, Fullnat, Health,
    Kernel, Limits, Neighbour, Port, Service, ServiceLimits, SignalListener, Tls, Tunnel, Workers,
    duration,
};
use std::{fmt::Display, net::IpAddr, path::Path, time::Duration};
use toml::Value;

/// The text so far.
#[derive(Debug, Default)]
struct Writer(String);

impl Config {
    /// The text of a file that says this configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self {
            dpdk: Dpdk { args },
            workers,
            ports,
            control,
            limits,
            services,
        } = self;
        let mut writer = Writer::default();
        writer.table("[dpdk]");
        writer.key("args", texts(args));
        writer.workers(workers);
        for port in ports {
            writer.port(port);
        }
        writer.control(control);
        writer.limits(limits);
        for service in services {
            writer.service(service);
        }
        writer.0
    }
}

fn text(value: impl Display) -> Value {
    Value::String(value.to_string())
}

fn texts<T: Display>(values: impl IntoIterator<Item = T>) -> Value {
    Value::Array(values.into_iter().map(text).collect())
}

fn numbers<T: Into<i64>>(values: impl IntoIterator<Item = T>) -> Value {
    let numbers = values.into_iter().map(|it| Value::Integer(it.into()));
    Value::Array(numbers.collect())
}

fn time(value: Duration) -> Value {
    text(duration::format(value))
}

fn path(path: &Path) -> Value {
    text(path.display())
}

impl Writer {
    fn table(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.extend([gap, header, "\n"]);
    }

    fn key(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into().to_string();
        self.0.extend([key, " = ", &value, "\n"]);
    }

    fn optional(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn workers(&mut self, workers: &Workers) {
        let Workers { cores, flows, idle } = workers;
        self.table("[workers]");
        self.key("cores", numbers(cores.iter().copied()));
        self.key("flows", i64::from(*flows));
        self.key("idle", text(idle));
    }

    fn port(&mut self, port: &Port) {
        let Port {
            device,
            addresses,
            gateway_v4,
            gateway_v6,
            vlan,
            mtu,
            neighbours,
            kernel,
        } = port;
        self.table("[[port]]");
        self.key("device", text(device));
        let addresses = addresses.iter();
        let addresses = addresses.map(|own| format!("{}/{}", own.address, own.prefix_length));
        self.key("addresses", texts(addresses));
        let gateways = gateway_v4.map(IpAddr::from).into_iter();
        let gateways: Vec<_> = gateways.chain(gateway_v6.map(IpAddr::from)).collect();
        if !gateways.is_empty() {
            self.key("gateway", texts(gateways));
        }
        self.optional("vlan", vlan.map(i64::from));
        self.optional("mtu", mtu.map(i64::from));
        if let Some(Kernel { interface, rate }) = kernel {
            self.key("kernel", text(interface));
            self.key("kernel_rate", i64::from(*rate));
        }
        for Neighbour { address, mac } in neighbours {
            self.table("[[port.neighbour]]");
            self.key("address", text(address));
            self.key("mac", text(mac));
        }
    }

    fn control(&mut self, control: &Control) {
        let Control {
            signal,
            operator,
            metrics,
            state,
            audit,
        } = control;
        self.table("[control]");
        let auth = signal.as_ref().map(|it| self.signal(it));
        self.key("operator", path(operator));
        self.optional("metrics", metrics.map(text));
        self.optional("state", state.as_deref().map(path));
        if let Some(audit) = audit {
            self.audit(audit);
        }
        if let Some(Auth::Mtls(tls)) = auth {
            self.tls(tls);
        }
    }

    fn audit(&mut self, audit: &Audit) {
        let Audit {
            path: file,
            lines_per_second,
            mask,
        } = audit;
        self.key("audit", path(file));
        self.key("audit_lines_per_second", i64::from(*lines_per_second));
        self.optional("audit_mask", mask.map(|(v4, v6)| numbers([v4, v6])));
    }

    fn signal<'a>(&mut self, listener: &'a SignalListener) -> &'a Auth {
        let SignalListener { address, auth } = listener;
        self.key("signal", text(address));
        self.key(
            "auth",
            text(match auth {
                Auth::Mtls(_) => "mtls",
                Auth::Address => "address",
            }),
        );
        auth
    }

    fn tls(&mut self, tls: &Tls) {
        let Tls {
            certificate,
            key,
            client_ca,
        } = tls;
        self.table("[control.tls]");
        self.key("certificate", path(certificate));
        self.key("key", path(key));
        self.key("client_ca", path(client_ca));
    }

    fn limits(&mut self, limits: &Limits) {
        let Limits {
            affinities,
            affinities_per_service,
            affinities_per_backend,
            signals_per_second_per_backend,
        } = *limits;
        self.table("[limits]");
        self.key("affinities", i64::from(affinities));
        let per_service = i64::from(affinities_per_service);
        self.key("affinities_per_service", per_service);
        let per_backend = i64::from(affinities_per_backend);
        self.key("affinities_per_backend", per_backend);
        let rate = i64::from(signals_per_second_per_backend);
        self.key("signals_per_second_per_backend", rate);
    }

    fn service(&mut self, service: &Service) {
        let Service {
            name,
            address,
            prefix_length: _,
            port,
            protocol,
            scheduler,
            forward,
            tunnel,
            fullnat,
            proxy_protocol,
            flow_timeout,
            slow_start,
            allow,
            deny,
            limits,
            affinity,
            health,
            backends,
        } = service;
        self.table("[[service]]");
        self.key("name", text(name));
        let vips = service.vips();
        let one = vips.is_one().then(|| text(address));
        self.key("address", one.unwrap_or_else(|| text(vips)));
        self.key("port", i64::from(*port));
        self.key("protocol", text(protocol));
        self.key("scheduler", text(scheduler));
        self.key("forward", text(forward));
        if *proxy_protocol {
            self.key("proxy_protocol", true);
        }
        self.key("flow_timeout", time(*flow_timeout));
        self.optional("slow_start", slow_start.map(time));
        for (key, list) in [("allow", allow), ("deny", deny)] {
            if !list.is_empty() {
                self.key(key, texts(list));
            }
        }
        self.service_limits(limits);
        self.tunnel(*forward, tunnel);
        self.fullnat(*forward, fullnat);
        self.affinity(affinity);
        if let Some(health) = health {
            self.health(health);
        }
        for backend in backends {
            self.backend(backend, *port);
        }
    }

    fn service_limits(&mut self, limits: &ServiceLimits) {
        let ServiceLimits {
            new_flows_per_second: all,
            new_flows_per_second_per_source: of_one,
        } = *limits;
        if all.or(of_one).is_some() {
            self.table("[service.limits]");
        }
        self.optional("new_flows_per_second", all.map(i64::from));
        self.optional("new_flows_per_second_per_source", of_one.map(i64::from));
    }

    /// Only of a service that has one, with only the keys that it may have.
    fn tunnel(&mut self, forward: Forward, tunnel: &Tunnel) {
        if !matches!(forward, Forward::Ipip | Forward::Gre | Forward::Gue) {
            return;
        }
        let Tunnel {
            port,
            variant,
            source_v4,
            source_v6,
            mss_clamp,
        } = *tunnel;
        self.table("[service.tunnel]");
        if forward == Forward::Gue {
            self.key("port", i64::from(port));
            self.key("variant", i64::from(variant));
        }
        let sources: Vec<_> = source_v4.into_iter().chain(source_v6).collect();
        if !sources.is_empty() {
            self.key("source_prefix", texts(sources));
        }
        self.optional("mss_clamp", mss_clamp.map(i64::from));
    }

    /// Only of a service that has one.
    fn fullnat(&mut self, forward: Forward, fullnat: &Fullnat) {
        if forward != Forward::Fullnat {
            return;
        }
        let Fullnat {
            pool,
            ports: (low, high),
        } = fullnat;
        self.table("[service.fullnat]");
        self.key("pool", texts(pool));
        self.key("ports", numbers([*low, *high]));
    }

    fn affinity(&mut self, affinity: &AffinityPolicy) {
        let AffinityPolicy {
            duration,
            duration_cap,
            lifetime_cap,
            refresh,
            on_conflict,
            on_backend_down,
            widest_prefix_v4,
            widest_prefix_v6,
        } = *affinity;
        self.table("[service.affinity]");
        self.key("duration", time(duration));
        self.optional("duration_cap", duration_cap.map(time));
        self.optional("lifetime_cap", lifetime_cap.map(time));
        self.key("refresh", text(refresh));
        self.key("on_conflict", text(on_conflict));
        self.key("on_backend_down", text(on_backend_down));
        let widest = [widest_prefix_v4, widest_prefix_v6];
        self.key("widest_prefix", numbers(widest));
    }

    fn health(&mut self, health: &Health) {
        let Health {
            check,
            interval,
            timeout,
            rise,
            fall,
        } = health;
        self.table("[service.health]");
        match check {
            Check::Tcp => self.key("check", "tcp"),
            Check::Http { path } => {
                self.key("check", "http");
                self.key("path", text(path));
            }
        }
        self.key("interval", time(*interval));
        self.key("timeout", time(*timeout));
        self.key("rise", i64::from(*rise));
        self.key("fall", i64::from(*fall));
    }

    fn backend(&mut self, backend: &Backend, service_port: u16) {
        let Backend {
            name,
            address,
            port,
            weight,
            identity,
            signal_from,
        } = backend;
        self.table("[[service.backend]]");
        self.key("name", text(name));
        self.key("address", text(address));
        // A file cannot say 0, which is what it means without a word where the service has every port.
        let port = (*port != service_port).then_some(*port);
        self.optional("port", port.map(i64::from));
        self.key("weight", i64::from(*weight));
        self.key("identity", text(identity));
        self.key("signal_from", texts(signal_from));
    }
}
