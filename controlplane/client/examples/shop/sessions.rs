//! Who is logged in here, in the memory of this process only.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use tether_client::Affinity;

/// One customer.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) cart: Vec<String>,
    /// Ends when the session does.
    pub(crate) affinity: Affinity,
}

/// All customers of this process, by their session id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: HashMap<String, Session>,
    opened: u64,
}

impl Sessions {
    /// Opens a session under a new id; 128 bits that the customer cannot guess.
    pub(crate) fn open(&mut self, affinity: Affinity) -> String {
        self.opened += 1;
        let half = || RandomState::new().hash_one(self.opened);
        let id = format!("{:016x}{:016x}", half(), half());
        self.by_id.insert(
            id.clone(),
            Session {
                cart: Vec::new(),
                affinity,
            },
        );
        id
    }

    pub(crate) fn get(&mut self, id: &str) -> Option<&mut Session> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn close(&mut self, id: &str) -> Option<Session> {
        self.by_id.remove(id)
    }

    pub(crate) fn close_all(&mut self) -> Vec<Session> {
        self.by_id.drain().map(|(_, session)| session).collect()
    }
}
