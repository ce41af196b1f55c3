//! One subscription to packets: its lease, and what is on its way to it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Delivery, Target};
use crate::push::subscriber::{Place, SubscribeRefused, Subscriber};
use crate::registry::Flavour;

/// A change so shortly after a poll may overtake the answer to it.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// So long after a poll its answer has been read.
const REPEAT_AFTER: Duration = Duration::from_millis(300);

/// A subscriber with its lease and what is on its way to it.
#[derive(Debug)]
pub(in crate::push) struct Subscription {
    pub(in crate::push) subscriber: Subscriber,
    pub(in crate::push) target: Arc<Target>,
    pub(in crate::push) state: Mutex<State>,
}

#[derive(Debug)]
pub(in crate::push) struct State {
    expires: Instant,
    lifetime: Duration,
    /// When it asked for the list again. The first time does not count: it comes only once.
    polled_at: Option<Instant>,
    /// Out of the table; nothing may be sent any more.
    pub(in crate::push) removed: bool,
    pub(in crate::push) too_large: bool,
    /// Its packet is put off: it is to be pushed to as soon as its address may get one.
    pub(in crate::push) waiting: bool,
    pub(in crate::push) delivery: Delivery,
    /// When the driver will look at the delivery next.
    pub(in crate::push) ticket_at: Option<Instant>,
}

impl State {
    pub(in crate::push) fn renew(&mut self, now: Instant) {
        self.expires = now + self.lifetime;
    }

    pub(in crate::push) fn is_alive(&self, now: Instant) -> bool {
        !self.removed && now < self.expires
    }

    /// When a packet that is sent now has to be sent once more because the answer to a poll, which
    /// shows the list as it was, may still be under way. Java clients take whatever comes last: the
    /// old list would then stay until their next poll.
    pub(in crate::push) fn repeat_at(&self, now: Instant) -> Option<Instant> {
        let polled_at = self.polled_at?;
        (now < polled_at + ANSWER_TIME).then_some(polled_at + REPEAT_AFTER)
    }

    /// Whether a packet may be sent now.
    pub(in crate::push) fn is_ready(&self, now: Instant) -> bool {
        self.is_alive(now) && self.delivery.is_ready(now)
    }
}

impl Subscription {
    pub(in crate::push) fn new(
        subscriber: Subscriber,
        target: Arc<Target>,
        now: Instant,
        lifetime: Duration,
    ) -> Self {
        let state = State {
            expires: now + lifetime,
            lifetime,
            polled_at: None,
            removed: false,
            too_large: false,
            waiting: false,
            delivery: Delivery::default(),
            ticket_at: None,
        };
        Self { subscriber, target, state: Mutex::new(state) }
    }

    /// What its packets depend on.
    pub(in crate::push) fn kind(&self) -> (&str, Flavour) {
        (&self.subscriber.clusters, self.subscriber.flavour)
    }

    pub(in crate::push) fn refresh(
        &self,
        now: Instant,
        lifetime: Duration,
    ) -> Result<(), SubscribeRefused> {
        let mut state = self.state.lock();
        state.lifetime = lifetime;
        state.polled_at = Some(now);
        state.renew(now);
        drop(state);
        self.standing(now)
    }

    /// Whether changes will be pushed to it, as far as that is known.
    pub(in crate::push) fn standing(&self, now: Instant) -> Result<(), SubscribeRefused> {
        let state = self.state.lock();
        if state.delivery.is_parked() || self.target.is_mute(now) {
            Err(SubscribeRefused::Parked)
        } else if state.too_large {
            Err(SubscribeRefused::TooLarge)
        } else if self.subscriber.place == Place::Guess && !self.target.is_proved() {
            Err(SubscribeRefused::Unproved)
        } else {
            Ok(())
        }
    }
}
