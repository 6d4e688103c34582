//! Who waits for something to change.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// So many that have given up may be kept before they are looked for.
const STALE_MAX: usize = 32;

/// Those who want to be told once of the next change. Whoever drops its [`Notify`] has given up.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<Weak<Notify>>>);

impl Waiting {
    pub(super) fn add(&self, notify: &Arc<Notify>) {
        let mut waiting = self.0.lock();
        if waiting.len() >= STALE_MAX {
            waiting.retain(|other| other.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(notify));
    }

    pub(super) fn wake(&self) {
        for notify in std::mem::take(&mut *self.0.lock()).iter().filter_map(Weak::upgrade) {
            notify.notify_one();
        }
    }
}
