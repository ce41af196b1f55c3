//! Which packets a subscriber can read.

use super::{PacketSize, Subscription, TargetRules, Template};
use crate::push::subscriber::AgentFamily;
use crate::push::{PushSettings, Shared};

/// Most bytes that the SDK of C++ unpacks: its buffer has one more.
const MAX_CPP_PLAIN_BYTES: usize = 655_359;

impl PushSettings {
    /// What an agent of this family can read.
    pub(super) fn limits(&self, family: AgentFamily) -> Limits {
        let (datagram_bytes, plain_bytes) = match family {
            AgentFamily::Go | AgentFamily::Dns => (self.max_go_packet_bytes, usize::MAX),
            AgentFamily::Cpp => (self.max_packet_bytes, MAX_CPP_PLAIN_BYTES),
            AgentFamily::Other => (self.max_packet_bytes, usize::MAX),
        };
        Limits(PacketSize { datagram_bytes, plain_bytes })
    }

    pub(in crate::push) fn target_rules(&self) -> TargetRules {
        TargetRules {
            limits_loopback: self.limits_loopback,
            bytes_per_second: self.max_bytes_per_second,
            second_after: self.second_after,
            unproved_bytes: self.unproved_bytes,
            ack_timeout: self.ack_timeout,
            probe_interval: self.probe_interval,
            max_subscriptions: self.max_subscribers_per_address,
        }
    }
}

/// The longest packet that somebody can read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits(PacketSize);

impl Limits {
    pub(super) fn allow(self, size: PacketSize) -> bool {
        let Self(most) = self;
        size.datagram_bytes <= most.datagram_bytes && size.plain_bytes <= most.plain_bytes
    }
}

impl Shared {
    /// Whether the list is short enough by now for a packet to this subscriber.
    pub(in crate::push) fn fits(&self, subscription: &Subscription) -> bool {
        let service = &subscription.subscriber.service;
        let limits = self.settings.limits(subscription.subscriber.family);
        let (clusters, flavour) = subscription.kind();
        let (revision, bytes) = self.source.length(service, clusters, flavour);
        // Packing never makes it twice as long.
        if bytes <= limits.0.datagram_bytes / 2 {
            return true;
        }
        let Some(topic) = self.table.find(service.as_str()) else { return true };
        let measure = || {
            let data = self.source.render(service, clusters, flavour).data;
            Template::encode(0, &data, &self.udp.budget).map(|template| template.size())
        };
        let size = topic.pace.packet_size(subscription, revision, measure);
        size.is_some_and(|size| limits.allow(size))
    }
}
