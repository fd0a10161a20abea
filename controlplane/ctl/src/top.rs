//! The live screen of `top`: what is drawn of one interval.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row, Table},
};
use tether_api::operator::{Backend, BackendState, KEPT_FATES, Service};

use crate::{
    rates::{Rates, WorkerRates},
    units::{amount, count, duration},
};

/// Reasons for drops that are shown, the most frequent first.
const DROPS: usize = 6;

/// What the screen shows.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    pub(crate) uptime_ms: u64,
    pub(crate) rates: Rates,
    pub(crate) services: Vec<Service>,
}

/// A part of the screen: its columns, with their widths, and its rows.
struct Part {
    columns: Vec<(&'static str, Constraint)>,
    rows: Vec<(Vec<String>, Style)>,
}

/// Draws it, as much as there is room for.
pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let parts = [
        workers(&screen.rates),
        drops(&screen.rates),
        ports(&screen.rates),
        backends(&screen.services),
    ];
    let heights = parts.iter().map(Part::height).map(Constraint::Length);
    let heights = [Constraint::Length(2)].into_iter().chain(heights);
    let areas = Layout::vertical(heights).split(frame.area());
    let head = format!(
        "tetherd, up {}: {} received   q quits",
        duration(screen.uptime_ms),
        amount(received(&screen.rates), "packets/s")
    );
    frame.render_widget(Paragraph::new(Line::from(head)), areas[0]);
    for (part, area) in parts.into_iter().zip(areas.iter().skip(1)) {
        part.draw(frame, *area);
    }
}

fn received(rates: &Rates) -> f64 {
    rates.workers.iter().map(|it| it.received_per_second).sum()
}

impl Part {
    /// With its head, and a line between it and the next.
    fn height(&self) -> u16 {
        u16::try_from(self.rows.len() + 2).unwrap_or(u16::MAX)
    }

    fn draw(self, frame: &mut Frame<'_>, area: Rect) {
        let (names, widths): (Vec<_>, Vec<_>) = self.columns.into_iter().unzip();
        let bold = Style::default().add_modifier(Modifier::BOLD);
        let rows = self.rows.into_iter();
        let rows = rows.map(|(cells, style)| Row::new(cells).style(style));
        let table = Table::new(rows, widths).header(Row::new(names).style(bold));
        frame.render_widget(table, area);
    }
}

fn plain(cells: Vec<String>) -> (Vec<String>, Style) {
    (cells, Style::default())
}

fn workers(rates: &Rates) -> Part {
    let row = |worker: &WorkerRates| {
        let placed = |name: &str| {
            let rate = worker.placed_per_second.get(name).copied();
            amount(rate.unwrap_or_default(), "/s")
        };
        plain(vec![
            worker.core.to_string(),
            amount(worker.received_per_second, "packets/s"),
            worker
                .cycles_per_packet
                .map_or_else(|| "-".to_owned(), |it| format!("{it:.0}")),
            worker
                .busy
                .map_or_else(|| "-".to_owned(), |it| format!("{:.0} %", 100.0 * it)),
            amount(dropped(worker), "/s"),
            placed("scheduler"),
            placed("affinity"),
        ])
    };
    Part {
        columns: vec![
            ("CORE", Constraint::Length(5)),
            ("RECEIVED", Constraint::Length(16)),
            ("CYCLES/PACKET", Constraint::Length(14)),
            ("BUSY", Constraint::Length(7)),
            ("DROPPED", Constraint::Length(10)),
            ("NEW FLOWS", Constraint::Length(10)),
            ("BY AFFINITY", Constraint::Length(12)),
        ],
        rows: rates.workers.iter().map(row).collect(),
    }
}

fn dropped(worker: &WorkerRates) -> f64 {
    drops_of(worker).map(|(_, rate)| rate).sum()
}

fn drops_of(worker: &WorkerRates) -> impl Iterator<Item = (&str, f64)> {
    let fates = worker.fates_per_second.iter();
    let fates = fates.map(|(name, rate)| (name.as_str(), *rate));
    fates.filter(|(name, _)| !KEPT_FATES.contains(name))
}

/// By reason, of all workers together.
fn drops(rates: &Rates) -> Part {
    let mut reasons: Vec<(&str, f64)> = Vec::new();
    for (name, rate) in rates.workers.iter().flat_map(drops_of) {
        match reasons.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += rate,
            None => reasons.push((name, rate)),
        }
    }
    reasons.retain(|(_, rate)| *rate > 0.0);
    reasons.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    reasons.truncate(DROPS);
    let red = Style::default().fg(Color::Red);
    let rows = reasons.into_iter();
    let rows = rows.map(|(name, rate)| (vec![name.to_owned(), amount(rate, "/s")], red));
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        rows.push(plain(vec!["none".to_owned()]));
    }
    Part {
        columns: vec![
            ("DROPPED BECAUSE OF", Constraint::Length(22)),
            ("RATE", Constraint::Length(12)),
        ],
        rows,
    }
}

fn ports(rates: &Rates) -> Part {
    let rows = rates.ports.iter().map(|port| {
        let lost = port.lost_per_second;
        let style = if lost > 0.0 {
            Style::default().fg(Color::Red)
        } else {
            Style::default()
        };
        let cells = vec![
            port.device.clone(),
            amount(port.received_packets_per_second, "packets/s"),
            amount(port.received_bits_per_second, "b/s"),
            amount(port.transmitted_packets_per_second, "packets/s"),
            amount(port.transmitted_bits_per_second, "b/s"),
            amount(lost, "/s"),
        ];
        (cells, style)
    });
    Part {
        columns: vec![
            ("PORT", Constraint::Length(18)),
            ("RECEIVED", Constraint::Length(16)),
            ("", Constraint::Length(12)),
            ("TRANSMITTED", Constraint::Length(16)),
            ("", Constraint::Length(12)),
            ("LOST", Constraint::Length(10)),
        ],
        rows: rows.collect(),
    }
}

fn backends(services: &[Service]) -> Part {
    let rows = services.iter().flat_map(|service| {
        let bold = Style::default().add_modifier(Modifier::BOLD);
        let of_service = vec![
            service.name.clone(),
            String::new(),
            String::new(),
            count(service.flows),
            count(service.affinities),
        ];
        let backends = service.backends.iter().map(backend);
        [(of_service, bold)].into_iter().chain(backends)
    });
    Part {
        columns: vec![
            ("SERVICE", Constraint::Length(18)),
            ("BACKEND", Constraint::Length(18)),
            ("STATE", Constraint::Length(9)),
            ("FLOWS", Constraint::Length(12)),
            ("AFFINITIES", Constraint::Length(12)),
        ],
        rows: rows.collect(),
    }
}

fn backend(backend: &Backend) -> (Vec<String>, Style) {
    let (state, style) = match backend.state {
        BackendState::Up => ("up", Style::default()),
        BackendState::Draining => ("draining", Style::default().fg(Color::Yellow)),
        BackendState::Disabled => ("disabled", Style::default().fg(Color::Yellow)),
        BackendState::Down => ("down", Style::default().fg(Color::Red)),
    };
    let cells = vec![
        String::new(),
        backend.name.clone(),
        state.to_owned(),
        count(backend.flows),
        count(backend.affinities),
    ];
    (cells, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::PortRates;
    use ratatui::{Terminal, backend::TestBackend};
    use std::collections::BTreeMap;
    use tether_api::operator::Protocol;

    fn named(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs
            .iter()
            .map(|(name, rate)| ((*name).to_owned(), *rate))
            .collect()
    }

    fn worker(core: u32, fates: &[(&str, f64)]) -> WorkerRates {
        WorkerRates {
            core,
            received_per_second: 1_200_000.0,
            cycles_per_packet: Some(183.4),
            busy: Some(0.42),
            fates_per_second: named(fates),
            placed_per_second: named(&[("scheduler", 120.0), ("affinity", 3.0)]),
        }
    }

    fn backend(name: &str, state: BackendState) -> Backend {
        Backend {
            path_mtu: None,
            service: "shop".into(),
            name: name.into(),
            address: "10.9.0.11".parse().unwrap(),
            port: 80,
            weight: 1,
            state,
            flows: 1_234,
            affinities: 5,
            drained: false,
        }
    }

    fn screen() -> Screen {
        let port = PortRates {
            device: "net_af_packet0".into(),
            received_packets_per_second: 2_400_000.0,
            received_bits_per_second: 1.2e9,
            transmitted_packets_per_second: 2_400_000.0,
            transmitted_bits_per_second: 1.2e9,
            lost_per_second: 0.0,
        };
        let service = Service {
            name: "shop".into(),
            protocol: Protocol::Tcp,
            address: "10.9.0.100".parse().unwrap(),
            prefix_length: None,
            port: 80,
            scheduler: "maglev".into(),
            forward: "dsr".into(),
            affinity: true,
            affinities: 10,
            flows: 2_468,
            backends: vec![
                backend("shop-1", BackendState::Up),
                backend("shop-2", BackendState::Down),
            ],
        };
        Screen {
            uptime_ms: 7_384_000,
            rates: Rates {
                interval_ms: 1000,
                workers: vec![
                    worker(1, &[("forwarded", 1.0), ("no_service", 20.0)]),
                    worker(2, &[("no_service", 5.0), ("other_mac", 100.0)]),
                ],
                ports: vec![port],
                outcomes_per_second: BTreeMap::new(),
            },
            services: vec![service],
        }
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = (0..height).map(|y| {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    #[test]
    fn the_screen_has_workers_drops_ports_and_backends() {
        let expected = "\
tetherd, up 2h 3m: 2.4 Mpackets/s received   q quits

CORE  RECEIVED         CYCLES/PACKET  BUSY    DROPPED    NEW FLOWS  BY AFFINITY
1     1.2 Mpackets/s   183            42 %    20 /s      120 /s     3 /s
2     1.2 Mpackets/s   183            42 %    105 /s     120 /s     3 /s

DROPPED BECAUSE OF     RATE
other_mac              100 /s
no_service             25 /s

PORT               RECEIVED                      TRANSMITTED                   LOST
net_af_packet0     2.4 Mpackets/s   1.2 Gb/s     2.4 Mpackets/s   1.2 Gb/s     0 /s

SERVICE            BACKEND            STATE     FLOWS        AFFINITIES
shop                                            2,468        10
                   shop-1             up        1,234        5
                   shop-2             down      1,234        5

";
        assert_eq!(drawn(&screen(), 100, 18), expected.trim_end());
    }

    #[test]
    fn nothing_dropped_is_said_and_a_small_terminal_shows_what_fits() {
        let mut screen = screen();
        for worker in &mut screen.rates.workers {
            worker.fates_per_second = named(&[("forwarded", 1.0)]);
        }
        let text = drawn(&screen, 100, 20);
        assert!(
            text.contains("DROPPED BECAUSE OF     RATE\nnone\n"),
            "{text}"
        );
        for (width, height) in [(1, 1), (20, 5), (79, 8)] {
            drawn(&screen, width, height);
        }
    }
}
