//! Settings of notices to subscribers.

use serde::{Deserialize, Serialize};

use crate::networks::Networks;

/// UDP notices to subscribers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// Whether subscribers get notices at all; without, they poll every 3 seconds. Default true.
    pub enabled: bool,
    /// UDP port the notices come from and the acks go to; 0 takes any free one. Default 0.
    pub bind_port: u16,
    /// Least milliseconds between two notices about a service to a subscriber: the first change
    /// goes at once, those that follow within this time go together at its end. Default 100. Too small sends more packets, too large tells subscribers late.
    pub debounce_ms: u64,
    /// Milliseconds to wait for an ack before the notice is sent once more. Default 10,000.
    pub ack_timeout_ms: u64,
    /// Milliseconds added to a subscriber's promised next poll before it is forgotten. Default
    /// 10,000. Too small loses subscribers that are a little late.
    pub lifetime_margin_ms: u64,
    /// Subscribers of all services together; further ones poll. Default 200,000.
    pub max_subscribers: usize,
    /// Subscribers of one service; further ones poll. Default 20,000.
    pub max_subscribers_per_service: usize,
    /// Bytes of the texts of all subscribers (service, clusters, agent, app, tenant); further
    /// ones poll. Default 256 MiB.
    pub max_subscriber_bytes: u64,
    /// Bytes of one packet; larger notices are not sent, their subscribers poll. Default 65,507,
    /// the most UDP can carry.
    pub max_packet_bytes: usize,
    /// The same for Go clients and the DNS plugin. Default 4,024: their buffer is fixed and cuts off
    /// the rest.
    pub max_go_packet_bytes: usize,
    /// Networks into which notices go because a client names an address there (`clientIP`),
    /// `10.0.0.0/8,fd00::/8`. Default empty: they go to the address that the request came from, so
    /// that nobody can have them sent to others. Set it where clients are behind address
    /// translation or a proxy, and this server reaches them all the same.
    pub client_networks: Networks,
    /// Bytes that notices may have to one address in a second; those above come later, with the
    /// list as it is then. Before the first ack it is one part in 128. Loopback has no such limit.
    /// Default 8 MiB. Too small tells hosts with many clients late.
    pub max_bytes_per_second: u64,
    /// Subscriptions from one address; further ones poll. Default 20,000.
    pub max_subscribers_per_address: usize,
    /// Notices without ack in a row after which a subscriber is parked: it is told to poll like
    /// those without push and gets one notice in 5 minutes, until it acks one. Default 3; 0 never
    /// parks.
    pub park_after_misses: u32,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            bind_port: 0,
            debounce_ms: 100,
            ack_timeout_ms: 10_000,
            lifetime_margin_ms: 10_000,
            max_subscribers: 200_000,
            max_subscribers_per_service: 20_000,
            max_subscriber_bytes: 256 << 20,
            max_packet_bytes: 65_507,
            max_go_packet_bytes: 4_024,
            client_networks: Networks::default(),
            max_bytes_per_second: 8 << 20,
            max_subscribers_per_address: 20_000,
            park_after_misses: 3,
        }
    }
}
