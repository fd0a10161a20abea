//! Random signals against a model that could not be simpler, compared after every step.

use super::*;
use OutcomeCode::{
    Conflict, Created, Ended, Extended, NotFound, NotOwner, Refreshed, Replaced, Unavailable,
};
use hashbrown::HashMap;
use proptest::prelude::*;

/// From the broadest to the most specific: what a client at 192.0.2.7:5000 meets.
const SOURCES: [&str; 4] = [
    "192.0.0.0/16",
    "192.0.2.0/24",
    "192.0.2.7",
    "192.0.2.7:5000",
];
const SENDERS: [&str; 2] = [ONE, TWO];
const NAMES: [&str; 2] = ["shop-1", "shop-2"];
const CAP_MS: u64 = 90_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Start {
        sender: usize,
        source: usize,
        ms: u64,
    },
    Extend {
        sender: usize,
        source: usize,
        ms: u64,
    },
    End {
        sender: usize,
        source: usize,
    },
    Health {
        backend: usize,
        up: bool,
    },
    Wait {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (sender, source) = (0..2_usize, 0..SOURCES.len());
    let ms = prop_oneof![
        Just(1),
        Just(1_000),
        Just(60_000),
        Just(CAP_MS + 1),
        1..100_000_u64
    ];
    let step = prop_oneof![
        4 => (sender.clone(), source.clone(), ms.clone())
            .prop_map(|(sender, source, ms)| Step::Start { sender, source, ms }),
        2 => (sender.clone(), source.clone(), ms.clone())
            .prop_map(|(sender, source, ms)| Step::Extend { sender, source, ms }),
        2 => (sender.clone(), source).prop_map(|(sender, source)| Step::End { sender, source }),
        1 => (sender, any::<bool>()).prop_map(|(backend, up)| Step::Health { backend, up }),
        2 => ms.prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Owner and deadline by source.
#[derive(Default)]
struct Model {
    held: HashMap<usize, (usize, u64)>,
    is_down: [bool; 2],
    now: u64,
}

impl Model {
    fn live(&self, source: usize) -> Option<(usize, u64)> {
        self.held
            .get(&source)
            .copied()
            .filter(|(_, deadline)| *deadline > self.now)
    }

    fn start(&mut self, sender: usize, source: usize, ms: u64) -> OutcomeCode {
        if self.is_down[sender] {
            return Unavailable;
        }
        let wanted = self.now + ms.min(CAP_MS);
        let (code, deadline) = match self.live(source) {
            None => (Created, wanted),
            Some((owner, deadline)) if owner == sender => (Refreshed, deadline.max(wanted)),
            Some((owner, _)) if self.is_down[owner] => (Replaced, wanted),
            Some(_) => return Conflict,
        };
        self.held.insert(source, (sender, deadline));
        code
    }

    fn own(
        &mut self,
        sender: usize,
        source: usize,
        then: impl FnOnce(&mut Self, u64) -> OutcomeCode,
    ) -> OutcomeCode {
        match self.live(source) {
            None => NotFound,
            Some((owner, _)) if owner != sender => NotOwner,
            Some((_, deadline)) => then(self, deadline),
        }
    }

    fn step(&mut self, step: Step) -> Option<OutcomeCode> {
        match step {
            Step::Start { sender, source, ms } => Some(self.start(sender, source, ms)),
            Step::Extend { sender, source, ms } => {
                Some(self.own(sender, source, |it, deadline| {
                    let deadline = deadline.max(it.now + ms.min(CAP_MS));
                    it.held.insert(source, (sender, deadline));
                    Extended
                }))
            }
            Step::End { sender, source } => Some(self.own(sender, source, |it, _| {
                it.held.remove(&source);
                Ended
            })),
            Step::Health { backend, up } => {
                self.is_down[backend] = !up;
                None
            }
            Step::Wait { ms } => {
                self.now += ms;
                None
            }
        }
    }

    /// What the client at 192.0.2.7 and this port sticks to.
    fn decides(&self, port: u16) -> Option<(usize, usize)> {
        let sources = (0..SOURCES.len()).rev();
        let mut matching = sources.filter(|it| *it != 3 || port == 5000);
        matching.find_map(|source| self.live(source).map(|(owner, _)| (source, owner)))
    }
}

fn take(bench: &mut Bench, step: Step) -> Option<Outcome> {
    match step {
        Step::Start { sender, source, ms } => {
            let asked = Asked::Milliseconds(ms);
            Some(bench.start_for(SENDERS[sender], SOURCES[source], asked))
        }
        Step::Extend { sender, source, ms } => {
            let asked = Asked::Milliseconds(ms);
            Some(bench.extend(SENDERS[sender], SOURCES[source], asked))
        }
        Step::End { sender, source } => Some(bench.end(SENDERS[sender], SOURCES[source])),
        Step::Health { backend, up } => {
            bench.health(NAMES[backend], up);
            None
        }
        Step::Wait { ms } => {
            bench.after(ms);
            None
        }
    }
}

fn source_of(step: Step) -> Option<usize> {
    match step {
        Step::Start { source, .. } | Step::Extend { source, .. } | Step::End { source, .. } => {
            Some(source)
        }
        Step::Health { .. } | Step::Wait { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn signals_do_what_the_model_does(steps in steps()) {
        let mut bench = Bench::with_rule(&format!("duration_cap = \"{}s\"", CAP_MS / 1000));
        let mut model = Model { now: bench.now.0, ..Model::default() };
        let mut last_generation = 0;
        for step in steps {
            let outcome = take(&mut bench, step);
            let expected = model.step(step);
            prop_assert_eq!(outcome.as_ref().map(|it| it.code), expected, "{:?}", step);
            if let (Some(outcome), Some(source)) = (outcome, source_of(step)) {
                let held = model.live(source);
                let remaining = held.map_or(0, |(_, deadline)| deadline - model.now);
                let owner = held.map_or("", |(owner, _)| NAMES[owner]);
                if outcome.code != Unavailable {
                    prop_assert_eq!(outcome.remaining_ms, remaining);
                    prop_assert_eq!(outcome.owner.as_str(), owner);
                }
                if matches!(outcome.code, Created | Replaced) {
                    prop_assert!(outcome.generation > last_generation);
                    last_generation = outcome.generation;
                }
            }
            for port in [5000, 5001] {
                let found = bench.find("shop", &format!("192.0.2.7:{port}"));
                let found = found.map(|it| (it.source.to_string(), usize::from(it.owner.0)));
                let expected = model.decides(port);
                let expected = expected.map(|(source, owner)| (SOURCES[source].to_owned(), owner));
                prop_assert_eq!(found, expected, "port {} after {:?}", port, step);
            }
            bench.assert_consistent();
        }
    }
}
