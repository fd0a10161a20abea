//! The place for one capture.

use crate::operator::Refused;
use std::sync::{Arc, Weak};

/// Whose capture is under way.
#[derive(Debug, Default)]
pub(crate) struct Place {
    uid: u32,
    taken: Weak<()>,
}

impl Place {
    /// Takes it, if nobody has it; it is free again when what is returned goes.
    pub(super) fn take(&mut self, uid: u32) -> Result<Arc<()>, Refused> {
        if self.taken.strong_count() > 0 {
            let message = format!(
                "user {} captures already, and there is one capture at a time",
                self.uid
            );
            let hint =
                "end the `tetherctl capture` that is still running, or wait for it".to_owned();
            return Err((message, Some(hint)));
        }
        let place = Arc::new(());
        *self = Self {
            uid,
            taken: Arc::downgrade(&place),
        };
        Ok(place)
    }
}
