//! One place: what a write of it carries, and what follows from its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use naming_model::Instance;

use super::{Change, Flight, Landing, Slot};
use crate::beat::Entry;
use crate::call::PATIENT_ATTEMPTS;
use crate::error::{Attempt, Error};
use crate::names::ServiceName;
use crate::servers::backoff;

/// Pause before a write that failed is made again, doubled with each failure up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(super) const LAST_RETRY: Duration = Duration::from_secs(10);

impl Slot {
    /// Puts together what the place is to be.
    pub(super) fn depart(&mut self, service: &ServiceName, connection: u64) -> Option<Flight> {
        let mut group = self.split.pop().unwrap_or_else(|| std::mem::take(&mut self.waiting));
        // A caller that is gone has no wish; what it wanted to take out goes all the same.
        group.retain(|change| change.wish.is_none() || !change.is_given_up());
        if group.is_empty() && !self.redo {
            return None;
        }
        let mut wanted: BTreeMap<u64, Instance> = BTreeMap::new();
        for (id, entry) in &self.held {
            wanted.insert(*id, entry.instance.lock().clone());
        }
        let mut gone = None;
        for change in &group {
            match &change.wish {
                Some(instance) => drop(wanted.insert(change.entry.id, instance.clone())),
                None => gone = Some(change.entry.instance.lock().clone()),
            }
        }
        let is_redo = std::mem::take(&mut self.redo);
        self.is_flying = true;
        let instances = wanted.into_values().collect();
        Some(Flight { service: service.clone(), instances, gone, group, is_redo, connection })
    }

    pub(super) fn arrive(&mut self, group: Vec<Change>, is_redo: bool, is_current: bool) {
        self.failures = 0;
        for entry in self.held.values() {
            entry.note_confirmed();
            if is_redo {
                entry.note_written();
            }
        }
        for mut change in group {
            if let Some(instance) = change.wish.take() {
                if change.is_given_up() {
                    // The caller has given up: the old values count, and have to be written again.
                    self.redo = true;
                    continue;
                }
                *change.entry.instance.lock() = instance;
                change.entry.note_written();
                self.held.insert(change.entry.id, change.entry.clone());
            }
            // Who has gone meanwhile deregisters.
            change.tell(Landing::Done(Ok(())));
        }
        // Over an earlier connection it was worth nothing.
        self.redo |= !is_current;
    }

    /// One change that is refused is told so; of several the guilty ones are found by halves. So
    /// are those that were held before, when they are refused all together.
    pub(super) fn refuse(
        &mut self,
        mut group: Vec<Change>,
        error: &Error,
        homeless: Option<&mut Vec<Arc<Entry>>>,
    ) -> Option<Duration> {
        if group.is_empty() {
            group = std::mem::take(&mut self.held).into_values().map(held_before).collect();
            self.redo = false;
        }
        if group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            self.split.push(rest);
            self.split.push(group);
            return None;
        }
        let change = group.pop()?;
        let by_http = matches!(error, Error::Refused { status: 302 | 501, .. });
        let homeless = homeless.filter(|_| by_http && change.wish.is_some());
        match (&change.reply, homeless) {
            (None, Some(homeless)) => homeless.push(change.entry),
            (None, None) => {
                tracing::warn!(service = %change.entry.service, %error,
                    "the server refuses an instance that was registered elsewhere");
                change.entry.note_failure(error);
                self.refused.insert(change.entry.id, change.entry);
            }
            (Some(_), Some(_)) => change.tell(Landing::ByHttp),
            (Some(_), None) => {
                let error = crate::call::after_attempts(error.clone(), &change.attempts);
                change.tell(Landing::Done(Err(error)));
            }
        }
        None
    }

    /// Puts the changes back for another attempt, unless they have had enough.
    pub(super) fn fail(&mut self, group: Vec<Change>, attempt: &Attempt) -> Option<Duration> {
        let mut again = Vec::new();
        for mut change in group {
            change.attempts.push(attempt.clone());
            if change.attempts.len() < PATIENT_ATTEMPTS {
                again.push(change);
                continue;
            }
            if change.reply.is_none() {
                // Nobody has had enough of an instance that was held before.
                change.attempts.clear();
                again.push(change);
                continue;
            }
            let error = Error::NoServer { attempts: std::mem::take(&mut change.attempts) };
            change.tell(Landing::Done(Err(error)));
        }
        if !again.is_empty() {
            self.split.push(again);
        }
        let error = Error::NoServer { attempts: vec![attempt.clone()] };
        Some(self.note_failure(&error))
    }

    pub(super) fn note_failure(&mut self, error: &Error) -> Duration {
        // Nobody knows what the server has now.
        self.redo = true;
        self.failures = self.failures.saturating_add(1);
        for entry in self.held.values() {
            entry.note_failure(error);
        }
        backoff(FIRST_RETRY, LAST_RETRY, self.failures)
    }
}

/// An instance that was held, to be looked at by itself.
fn held_before(entry: Arc<Entry>) -> Change {
    let wish = Some(entry.instance.lock().clone());
    Change { entry, wish, attempts: Vec::new(), reply: None }
}
