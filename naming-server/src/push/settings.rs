//! What can be set about pushing.

use std::time::Duration;

use crate::networks::Networks;

/// What can be set about pushing.
#[derive(Debug, Clone)]
pub(crate) struct PushSettings {
    /// Least time between two packets about a service to a subscriber. Longer merges more
    /// changes and delays all but the first. Default 100 ms.
    pub(crate) debounce: Duration,
    /// Without ack for this long a packet is sent again, once. Default 10 s, as in Nacos.
    pub(crate) ack_timeout: Duration,
    /// How much longer than its polling interval a subscriber is remembered. Too short loses
    /// those who are a little late, too long sends to those who have gone. Default 10 s.
    pub(crate) lifetime_margin: Duration,
    /// Most subscriptions of this node. More are refused and poll. Default 200,000.
    pub(crate) max_subscribers: usize,
    /// Most subscriptions of one service. Default 20,000.
    pub(crate) max_subscribers_per_service: usize,
    /// Most bytes of the texts of all subscriptions. More are refused and poll. Default 256 MiB.
    pub(crate) max_subscriber_bytes: u64,
    /// Longest packet. Default 65,507 bytes, the most UDP over IPv4 can carry.
    pub(crate) max_packet_bytes: usize,
    /// Longest packet to an agent of Go or the DNS plugin, whose buffer cuts off the rest. Default
    /// 4,024 bytes.
    pub(crate) max_go_packet_bytes: usize,
    /// So many times in a row without ack (each 20 s of silence with the default time-out): the
    /// subscriber is parked. 0 never gives up. Default 3.
    pub(crate) park_after_misses: u32,
    /// A parked subscriber gets one packet in this time, to find out whether it acks again.
    /// Default 5 min.
    pub(crate) probe_interval: Duration,
    /// Networks into which packets go because a client names an address there. Default none: they
    /// go to the address that the client calls from.
    pub(crate) client_networks: Networks,
    /// Whether packets to this machine count as well; it needs no server to flood itself. Default
    /// false.
    pub(crate) limits_loopback: bool,
    /// Bytes to an address in a second. Default 8 MiB.
    pub(crate) max_bytes_per_second: u64,
    /// Most subscriptions from an address. Default 20,000.
    pub(crate) max_subscribers_per_address: usize,
    /// Time between two short packets to a socket that has acked nothing, at the address that the
    /// request came from. Default 250 ms.
    pub(crate) second_after: Duration,
    /// Longest packet to a socket that has acked nothing yet. Default 1,200 bytes: one datagram of
    /// the network, too.
    pub(crate) unproved_bytes: usize,
    /// Bytes of packets kept for a second send. Packets above are sent once only. Default 64 MiB.
    pub(crate) max_kept_bytes: usize,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            ack_timeout: Duration::from_secs(10),
            lifetime_margin: Duration::from_secs(10),
            max_subscribers: 200_000,
            max_subscribers_per_service: 20_000,
            max_subscriber_bytes: 256 << 20,
            max_packet_bytes: 65_507,
            max_go_packet_bytes: 4_024,
            park_after_misses: 3,
            probe_interval: Duration::from_secs(300),
            client_networks: Networks::default(),
            limits_loopback: false,
            max_bytes_per_second: 8 << 20,
            max_subscribers_per_address: 20_000,
            second_after: Duration::from_millis(250),
            unproved_bytes: 1_200,
            max_kept_bytes: 64 << 20,
        }
    }
}
