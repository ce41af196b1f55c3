//! Who is pushed to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use naming_model::ServiceKey;

use crate::registry::Flavour;

use super::udp::Delivery;
use super::udp::Target;

/// Longest text in bytes a subscriber may carry (clusters, agent, app, tenant).
const MAX_TEXT_BYTES: usize = 1_024;
/// A change so shortly after a poll may overtake the answer to it.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// So long after a poll its answer has been read.
const REPEAT_AFTER: Duration = Duration::from_millis(300);

/// As much of the kind of an agent as decides which packets it can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentFamily {
    /// Reads 4,024 bytes and cuts off the rest.
    Go,
    /// The same, and takes every packet for a list.
    Dns,
    /// Unpacks 655,359 bytes.
    Cpp,
    /// Reads any datagram.
    Other,
}

impl AgentFamily {
    /// Whether it acks a packet of a type that it does not know, and does nothing else.
    pub(super) fn acks_probes(self) -> bool {
        self != Self::Dns
    }
}

/// Why packets go to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The request came from there.
    Caller,
    /// The same, but the request names another address, where packets may not go: whether they
    /// arrive at this one is not known before the first ack.
    Guess,
    /// The request names it, and the operator allows that.
    Named,
}

/// Who wants to hear of the changes of a service. It is another one if service, address,
/// clusters or agent differ; flavour and family follow from the agent. What else changes at a
/// refresh is not taken over.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    /// The service; it need not exist.
    pub(crate) service: ServiceKey,
    /// Where packets go.
    pub(crate) address: SocketAddr,
    /// Why packets go there.
    pub(crate) place: Place,
    /// The clusters asked for, as text, trimmed.
    pub(crate) clusters: Arc<str>,
    /// The text of the agent.
    pub(crate) agent: Arc<str>,
    /// How its lists are written.
    pub(crate) flavour: Flavour,
    /// How much it can read.
    pub(crate) family: AgentFamily,
    /// What the client calls its application.
    pub(crate) app: Arc<str>,
    /// The parameter `tid`.
    pub(crate) tenant: Arc<str>,
}

impl Subscriber {
    /// Whether its texts are short enough to be kept.
    pub(super) fn is_short(&self) -> bool {
        let texts = [&self.clusters, &self.agent, &self.app, &self.tenant];
        texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES)
    }

    /// Bytes of its texts, namespace and name of the service included.
    pub(super) fn text_bytes(&self) -> u64 {
        let texts = [&self.clusters, &self.agent, &self.app, &self.tenant];
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        u64::try_from(bytes + self.service.as_str().len()).unwrap_or(u64::MAX)
    }
}

/// Why nothing will be pushed to a subscriber: it has to poll at the interval of those without
/// push. [`Self::Parked`], [`Self::Unproved`] and [`Self::TooLarge`] keep the subscription alive all the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscribeRefused {
    /// Pushing is switched off.
    #[error("push is switched off")]
    Disabled,
    /// The service has as many subscribers as it may have.
    #[error("the service has too many subscribers")]
    ServiceFull,
    /// The address has as many subscriptions as it may have.
    #[error("the address has too many subscriptions")]
    AddressFull,
    /// The node has as many subscribers as it may have.
    #[error("this node has too many subscribers")]
    TableFull,
    /// The texts of this node's subscribers take as many bytes as they may.
    #[error("the subscribers of this node have too much text")]
    TextsFull,
    /// No packet can be sent there: port 0, multicast, broadcast, an address of another family.
    #[error("no packet can be sent to the address")]
    Address,
    /// One of its texts is longer than 1,024 bytes.
    #[error("clusters, agent, app or tid is too long")]
    TooLong,
    /// It has acked nothing for long.
    #[error("the subscriber does not ack")]
    Parked,
    /// It has acked nothing so far, and names an address where packets may not go.
    #[error("whether packets arrive is not known yet")]
    Unproved,
    /// The last list was longer than its agent can read.
    #[error("the list is too large for a packet")]
    TooLarge,
}

impl SubscribeRefused {
    /// Whether a limit or the address kept the subscriber out of the table. Each reason decides
    /// here, so that a new limit is counted like the others.
    pub(super) fn is_turned_away(self) -> bool {
        match self {
            Self::ServiceFull
            | Self::AddressFull
            | Self::TableFull
            | Self::TextsFull
            | Self::Address
            | Self::TooLong => true,
            Self::Disabled | Self::Parked | Self::Unproved | Self::TooLarge => false,
        }
    }
}

/// A subscriber with its lease and what is on its way to it.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) subscriber: Subscriber,
    pub(super) target: Arc<Target>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    expires: Instant,
    lifetime: Duration,
    /// When it asked for the list again. The first time does not count: it comes only once.
    polled_at: Option<Instant>,
    /// Out of the table; nothing may be sent any more.
    pub(super) removed: bool,
    pub(super) too_large: bool,
    /// Its packet is put off: it is to be pushed to as soon as its address may get one.
    pub(super) waiting: bool,
    pub(super) delivery: Delivery,
    /// When the driver will look at the delivery next.
    pub(super) ticket_at: Option<Instant>,
}

impl State {
    pub(super) fn renew(&mut self, now: Instant) {
        self.expires = now + self.lifetime;
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        !self.removed && now < self.expires
    }

    /// When a packet that is sent now has to be sent once more because the answer to a poll, which
    /// shows the list as it was, may still be under way. Java clients take whatever comes last: the
    /// old list would then stay until their next poll.
    pub(super) fn repeat_at(&self, now: Instant) -> Option<Instant> {
        let polled_at = self.polled_at?;
        (now < polled_at + ANSWER_TIME).then_some(polled_at + REPEAT_AFTER)
    }

    /// Whether a packet may be sent now.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.is_alive(now) && self.delivery.is_ready(now)
    }
}

impl Subscription {
    pub(super) fn new(
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
    pub(super) fn kind(&self) -> (&str, Flavour) {
        (&self.subscriber.clusters, self.subscriber.flavour)
    }

    pub(super) fn refresh(&self, now: Instant, lifetime: Duration) -> Result<(), SubscribeRefused> {
        let mut state = self.state.lock();
        state.lifetime = lifetime;
        state.polled_at = Some(now);
        state.renew(now);
        drop(state);
        self.standing(now)
    }

    /// Whether changes will be pushed to it, as far as that is known.
    pub(super) fn standing(&self, now: Instant) -> Result<(), SubscribeRefused> {
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
