//! A filter's names, found in the configuration that runs.

use crate::{
    config,
    control::Control,
    operator::{Refused, backends_named, service_named},
};
use tether_api::operator::{CaptureFilter, CaptureTest};
use tether_dataplane::capture::{Direction, Filter, Outcome, Term, Test};

/// The filter as workers ask it.
pub(super) fn resolved(control: &Control, filter: &CaptureFilter) -> Result<Filter, Refused> {
    let terms = filter.0.iter().map(|term| {
        Ok(Term {
            negated: term.negated,
            test: test(control, &term.test)?,
        })
    });
    let terms: Result<Vec<_>, Refused> = terms.collect();
    Ok(Filter::new(terms?))
}

fn test(control: &Control, test: &CaptureTest) -> Result<Test, Refused> {
    Ok(match test {
        CaptureTest::Tcp => Test::Tcp,
        CaptureTest::Udp => Test::Udp,
        CaptureTest::Icmp => Test::Icmp,
        CaptureTest::Arp => Test::Arp,
        CaptureTest::In => Test::Direction(Direction::In),
        CaptureTest::Out => Test::Direction(Direction::Out),
        CaptureTest::Dropped => Test::Dropped,
        CaptureTest::Host(address) => Test::Host(*address),
        CaptureTest::Src(address) => Test::Source(*address),
        CaptureTest::Dst(address) => Test::Destination(*address),
        CaptureTest::Net(address, length) => Test::Net(*address, *length),
        CaptureTest::Port(port) => Test::Port(*port),
        CaptureTest::Service(name) => Test::Service(service_named(control, name)?.id),
        CaptureTest::Backend(name) => {
            let backends = backends_named(control, None, name)?;
            Test::Backend(backends.into_iter().collect())
        }
        CaptureTest::Fate(name) => Test::Outcome(outcome(name)?),
    })
}

fn outcome(name: &str) -> Result<Outcome, Refused> {
    Outcome::all().find(|it| it.name() == name).ok_or_else(|| {
        let hint = match config::closest(name, Outcome::all().map(Outcome::name)) {
            Some(similar) => format!("did you mean {similar:?}?"),
            None => "tetherctl stats shows the fates that packets have had".to_owned(),
        };
        (format!("there is no fate {name:?}"), Some(hint))
    })
}
