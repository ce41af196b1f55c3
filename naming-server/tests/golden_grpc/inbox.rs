//! What the server has sent on the stream of a connection, and how that has ended.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::payload::Incoming;

/// Messages that no step has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Incoming>,
    end: Option<(String, Instant)>,
}

impl Inbox {
    pub(crate) fn push(&self, message: Incoming) {
        self.lock().messages.push(message);
        self.arrived.notify_all();
    }

    /// Notes with which status the stream has ended.
    pub(crate) fn end(&self, status: String) {
        self.lock().end.get_or_insert_with(|| (status, Instant::now()));
        self.arrived.notify_all();
    }

    /// With which status the stream has ended, and when.
    pub(crate) fn ended(&self) -> Option<(String, Instant)> {
        self.lock().end.clone()
    }

    /// Takes the first message that `is_wanted` accepts, with all older ones about the same. Waits
    /// for it until `deadline`.
    pub(crate) fn take(
        &self,
        mut is_wanted: impl FnMut(&Incoming) -> bool,
        deadline: Instant,
    ) -> Option<Incoming> {
        let mut state = self.lock();
        loop {
            if let Some(at) = state.messages.iter().position(&mut is_wanted) {
                let message = state.messages.remove(at);
                let topic = message.topic();
                let mut index = 0;
                state.messages.retain(|other| {
                    index += 1;
                    index > at || other.topic() != topic
                });
                return Some(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.end.is_some() && state.messages.is_empty() {
                return None;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
