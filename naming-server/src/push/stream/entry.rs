//! One subscription of a connection, and how far its list has got.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::rules::{Heard, OutboxRules};

/// Numbers under which one list may have been sent and its ack still counts.
const MAX_IDS: usize = 4;

/// A subscription of a connection.
#[derive(Debug)]
pub(super) struct Entry {
    /// The clusters asked for.
    pub(super) clusters: Arc<str>,
    /// Its place among those to be sent.
    pub(super) ready: Option<u64>,
    /// Its place among the timers.
    pub(super) timer: Option<(Instant, u64)>,
    /// When the push is due that follows the first subscription.
    first_at: Option<Instant>,
    /// The oldest change that no list shows yet.
    mark: Option<Instant>,
    flight: Option<Flight>,
    /// The first number since the last ack, if a newer list has taken its place. Its ack still
    /// proves life: behind a slow line acks never meet the newest one.
    earlier: Option<u64>,
    /// Since when nothing was acked although something was sent.
    silent_since: Option<Instant>,
}

/// A list on its way.
#[derive(Debug)]
struct Flight {
    /// Its numbers with the moments when it was sent under them: each time another one.
    sends: Vec<(u64, Instant)>,
    sent_at: Instant,
    /// When it is sent once more.
    again_at: Instant,
    /// The client has said that it could not take it.
    has_failed: bool,
}

/// What became of a subscription by sending its list.
#[derive(Debug)]
pub(super) struct Sent {
    /// Nothing has changed since the last time.
    pub(super) is_again: bool,
    /// The oldest change that the list shows and no list before did.
    pub(super) changed_at: Option<Instant>,
    /// Numbers that are no longer waited for.
    pub(super) released: Vec<u64>,
}

/// What an answer of the client meant to a subscription.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) meaning: Heard,
    /// How long the ack took.
    pub(super) ack_delay: Option<Duration>,
    /// Numbers that are no longer waited for.
    pub(super) released: Vec<u64>,
}

impl Answer {
    fn of(meaning: Heard) -> Self {
        Self { meaning, ack_delay: None, released: Vec::new() }
    }
}

impl Entry {
    pub(super) fn new(clusters: Arc<str>, first_at: Instant) -> Self {
        let (ready, timer, mark, flight, earlier, silent_since) = Default::default();
        let first_at = Some(first_at);
        Self { clusters, ready, timer, first_at, mark, flight, earlier, silent_since }
    }

    /// Notes a change.
    pub(super) fn mark(&mut self, changed_at: Instant) {
        self.mark.get_or_insert(changed_at);
    }

    /// When its list may be sent, if there is a reason to.
    pub(super) fn send_at(&self, rules: &OutboxRules) -> Option<Instant> {
        match (&self.flight, self.mark) {
            (None, Some(changed_at)) => Some(changed_at),
            (None, None) => self.first_at,
            (Some(flight), None) => Some(flight.again_at),
            (Some(flight), Some(_)) => {
                Some(flight.again_at.min(flight.sent_at + rules.replace_after))
            }
        }
    }

    /// When the silence of the client has lasted too long.
    pub(super) fn silence_ends(&self, rules: &OutboxRules) -> Option<Instant> {
        Some(self.silent_since? + rules.close_after)
    }

    /// When to look at it next.
    pub(super) fn due(&self, rules: &OutboxRules) -> Option<Instant> {
        let send_at = self.send_at(rules).filter(|_| self.ready.is_none());
        [send_at, self.silence_ends(rules)].into_iter().flatten().min()
    }

    /// Every number that is waited for.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        let sends = self.flight.iter().flat_map(|flight| &flight.sends);
        sends.map(|(id, _)| *id).chain(self.earlier)
    }

    /// Notes that the list, as it is now, is being sent under this number.
    pub(super) fn send(&mut self, id: u64, now: Instant, rules: &OutboxRules) -> Sent {
        self.first_at = None;
        self.silent_since.get_or_insert(now);
        let changed_at = self.mark.take();
        let again_at = now + rules.ack_timeout;
        let mut released = Vec::new();
        if let Some(flight) = &mut self.flight
            && changed_at.is_none()
        {
            if flight.sends.len() >= MAX_IDS {
                released.push(flight.sends.remove(0).0);
            }
            flight.sends.push((id, now));
            (flight.sent_at, flight.again_at) = (now, again_at);
            return Sent { is_again: true, changed_at, released };
        }
        let (sends, has_failed) = (vec![(id, now)], false);
        let flight = Flight { sends, sent_at: now, again_at, has_failed };
        let replaced = self.flight.replace(flight);
        for (id, _) in replaced.into_iter().flat_map(|flight| flight.sends) {
            if self.earlier.is_none() {
                self.earlier = Some(id);
            } else {
                released.push(id);
            }
        }
        Sent { is_again: false, changed_at, released }
    }

    /// Notes that the client has acked this number.
    pub(super) fn acked(&mut self, id: u64, now: Instant) -> Answer {
        if self.earlier == Some(id) {
            self.earlier = None;
            self.silent_since = self.flight.as_ref().map(|_| now);
            return Answer::of(Heard::Lives);
        }
        let is_its = |flight: &mut Flight| flight.sends.iter().any(|(sent, _)| *sent == id);
        let Some(flight) = self.flight.take_if(is_its) else { return Answer::of(Heard::Unknown) };
        self.silent_since = None;
        let sent = flight.sends.iter().find(|(sent, _)| *sent == id);
        let ack_delay = sent.map(|(_, sent_at)| now.saturating_duration_since(*sent_at));
        let others = flight.sends.iter().map(|(sent, _)| *sent).filter(|sent| *sent != id);
        let released = others.chain(self.earlier.take()).collect();
        Answer { meaning: Heard::Acked, ack_delay, released }
    }

    /// Notes that the client could not take the list with this number. It comes once more soon; if
    /// that fails as well, when it would without an answer.
    pub(super) fn failed(&mut self, id: u64, now: Instant, rules: &OutboxRules) -> Answer {
        self.earlier.take_if(|earlier| *earlier == id);
        if let Some(flight) = &mut self.flight
            && let Some(place) = flight.sends.iter().position(|(sent, _)| *sent == id)
        {
            flight.sends.remove(place);
            if !std::mem::replace(&mut flight.has_failed, true) {
                flight.again_at = flight.again_at.min(now + rules.retry_after_error);
            }
        }
        Answer::of(Heard::Failed)
    }
}
