//! `top`: reads the counters again and again, and draws what happened between.

use std::{
    io::IsTerminal as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tether_api::operator::{Payload, Request, Service};

use super::Session;
use crate::{
    error::Error,
    rates,
    top::{self, Screen},
};

impl Session<'_> {
    /// Until `q`.
    pub(super) fn top(&mut self, interval: Duration) -> Result<ExitCode, Error> {
        let before = self.read_stats()?;
        // What the counters say of the time since the start of the daemon, until there is an interval.
        let mut terminal = ratatui::try_init().map_err(Error::Output)?;
        let shown = self.show(&mut terminal, before, interval);
        ratatui::restore();
        shown.map(|()| ExitCode::SUCCESS)
    }

    fn show(
        &mut self,
        terminal: &mut DefaultTerminal,
        mut before: tether_api::operator::Stats,
        interval: Duration,
    ) -> Result<(), Error> {
        // The first interval is short, so that there is something to see at once.
        let mut next = Instant::now() + interval.min(Duration::from_millis(200));
        let mut screen: Option<Screen> = None;
        loop {
            if let Some(screen) = &screen {
                let drawn = terminal.draw(|frame| top::draw(frame, screen));
                drawn.map_err(Error::Output)?;
            }
            if quits_before(next)? {
                return Ok(());
            }
            if Instant::now() >= next {
                let after = self.read_stats()?;
                screen = Some(Screen {
                    uptime_ms: after.uptime_ms,
                    rates: rates::between(&before, &after),
                    services: self.read_services()?,
                });
                before = after;
                next = Instant::now() + interval;
            }
        }
    }

    fn read_services(&mut self) -> Result<Vec<Service>, Error> {
        match self.daemon.ask(&Request::ServiceList)? {
            Payload::Services(services) => Ok(services),
            _ => Err(Error::Protocol(
                "something else where services were due".into(),
            )),
        }
    }
}

/// `top` is for people; programs have `stats --interval`.
pub(super) fn check_terminal(json: bool) -> Result<(), Error> {
    if json {
        return Err(Error::Usage(
            "top is a screen and has no JSON: stats --interval 1 --json writes an object a second",
        ));
    }
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::Usage(
        "top draws on a terminal, and this is none: stats --interval 1 writes lines",
    ))
}

/// Waits for a key until then, or for what else the terminal has to say; whether it means to quit.
fn quits_before(then: Instant) -> Result<bool, Error> {
    let wait = then.saturating_duration_since(Instant::now());
    if !event::poll(wait).map_err(Error::Output)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read().map_err(Error::Output)? else {
        return Ok(false);
    };
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
    let quits = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) || is_interrupt;
    Ok(quits && key.kind == KeyEventKind::Press)
}
