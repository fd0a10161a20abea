//! Questions to workers and whose answers are whose: a worker answers in order, in its own time,
//! perhaps after the asker has given up.

use hashbrown::HashMap;
use std::collections::VecDeque;
use tether_dataplane::plane::{Answer, Question, Writer};

/// A question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

/// What was asked and not yet answered, and what was answered and not yet taken.
#[derive(Debug)]
pub(crate) struct Inquiry {
    /// By worker, the oldest first; `None`: nobody waits for the answer any more.
    asked: Vec<VecDeque<Option<Ticket>>>,
    answered: HashMap<Ticket, Answer>,
    last: u64,
}

impl Inquiry {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            asked: vec![VecDeque::new(); workers],
            answered: HashMap::new(),
            last: 0,
        }
    }

    /// How many workers there are to ask.
    pub(crate) fn workers(&self) -> usize {
        self.asked.len()
    }

    /// Asks a worker; `None` where too many questions wait for it.
    pub(crate) fn ask(
        &mut self,
        writer: &Writer,
        worker: usize,
        question: Question,
    ) -> Option<Ticket> {
        writer.ask(worker, question).ok()?;
        self.last += 1;
        let ticket = Ticket(self.last);
        self.asked[worker].push_back(Some(ticket));
        Some(ticket)
    }

    /// Takes in what the workers have answered.
    pub(crate) fn collect(&mut self, writer: &Writer) {
        for (worker, asked) in self.asked.iter_mut().enumerate() {
            while !asked.is_empty()
                && let Some(answer) = writer.answer(worker)
            {
                if let Some(Some(ticket)) = asked.pop_front() {
                    self.answered.insert(ticket, answer);
                }
            }
        }
    }

    /// The answer, if it has come.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answered.remove(&ticket)
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.answered.remove(&ticket);
        let asked = self.asked.iter_mut().flatten();
        for waiting in asked.filter(|it| **it == Some(ticket)) {
            *waiting = None;
        }
    }
}
