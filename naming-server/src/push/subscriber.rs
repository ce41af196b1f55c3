//! Subscribers, and why one is not pushed to.

use std::net::SocketAddr;
use std::sync::Arc;

use naming_model::ServiceKey;

use crate::registry::Flavour;

/// Longest text in bytes a subscriber may carry (clusters, agent, app, tenant).
const MAX_TEXT_BYTES: usize = 1_024;

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

/// A client that wants packets about the changes of a service. It is another one if service,
/// address, clusters or agent differ; flavour and family follow from the agent. What else changes
/// at a refresh is not taken over.
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
    /// The texts that count and whose length is limited.
    pub(super) fn texts(&self) -> Texts<'_> {
        Texts([&self.clusters, &self.agent, &self.app, &self.tenant])
    }

    /// How lists of subscribers show it.
    pub(super) fn listed(&self) -> Listed {
        Listed {
            address: self.address,
            agent: Arc::clone(&self.agent),
            clusters: Arc::clone(&self.clusters),
            app: Arc::clone(&self.app),
            tenant: Arc::clone(&self.tenant),
            connection: None,
        }
    }
}

/// A subscriber as lists of subscribers show it, whatever it is told by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    /// The other end: the socket that packets go to, or the client's end of the connection.
    pub(crate) address: SocketAddr,
    /// The text of the agent.
    pub(crate) agent: Arc<str>,
    /// The clusters asked for, as text.
    pub(crate) clusters: Arc<str>,
    /// What the client calls its application.
    pub(crate) app: Arc<str>,
    /// The parameter `tid`, or the tenant of the connection.
    pub(crate) tenant: Arc<str>,
    /// Which connection it is told over; `None` if it is told by packets.
    pub(crate) connection: Option<u64>,
}

impl Listed {
    /// The texts that count and whose length is limited.
    pub(super) fn texts(&self) -> Texts<'_> {
        Texts([&self.clusters, &self.agent, &self.app, &self.tenant])
    }
}

/// The texts of a subscriber.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a>([&'a str; 4]);

impl Texts<'_> {
    /// Whether they are short enough to be kept.
    pub(super) fn are_short(self) -> bool {
        self.0.iter().all(|text| text.len() <= MAX_TEXT_BYTES)
    }

    /// Their bytes, with namespace and name of the service.
    pub(super) fn bytes(self, service: &ServiceKey) -> u64 {
        let bytes: usize = self.0.iter().map(|text| text.len()).sum();
        u64::try_from(bytes + service.as_str().len()).unwrap_or(u64::MAX)
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
