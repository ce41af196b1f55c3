//! Settings of connections and requests.

use serde::{Deserialize, Serialize};

use super::or_all;
use crate::http::{AllowedOrigins, ConnectionLimits};

/// Connections and requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Origins whose pages may use this server from a visitor's browser, as
    /// `https://console.example,http://10.0.0.1:3000`. Default empty: only pages of the server
    /// itself. Too many let pages of others write with the reach of their visitors.
    pub allowed_origins: AllowedOrigins,
    /// Connections open at a time; further ones are closed at once, so that their clients try
    /// another server. Default 16,384. Idle ones cost about 11 KiB each, and the process must be
    /// allowed as many open files.
    pub max_connections: usize,
    /// Connections that one address may have open at a time, or one IPv6 network of 64 bits;
    /// loopback may have all. Default 8,192; 0 for no such limit. Too small for a proxy or a
    /// load balancer turns away clients behind it.
    pub max_connections_per_source: usize,
    /// Bytes of one request body; larger ones are answered 413. Default 8 MiB.
    pub max_body_bytes: usize,
    /// Bytes of all bodies being received at a time; above, requests are answered 503. Default
    /// 256 MiB. Not below `max_body_bytes`.
    pub max_buffered_body_bytes: usize,
    /// The same of those from one address, or one IPv6 network of 64 bits. Default 128 MiB; 0 for
    /// no such limit. Bodies of members count in neither.
    pub max_buffered_body_bytes_per_source: usize,
    /// Bytes of request line and headers; above, requests are answered 431. Default 512 KiB as in
    /// Nacos. The request target alone may have 65,534 bytes whatever is said here; longer ones
    /// are answered 414.
    pub max_header_bytes: usize,
    /// Bytes of all heads being received at a time, beyond the first 16 KiB of each; the connection
    /// whose head does not fit any more is closed. Default 64 MiB. Not below `max_header_bytes`.
    pub max_buffered_header_bytes: usize,
    /// Milliseconds from the first byte of a request to the end of its headers, then the
    /// connection is closed. Default 30,000. Too small cuts off slow clients, too large lets
    /// half-sent requests hold connections.
    pub header_timeout_ms: u64,
    /// Milliseconds from the end of the headers to the end of the body, then the request is
    /// answered 408. Default 30,000.
    pub body_timeout_ms: u64,
    /// Milliseconds a connection may be idle between requests or leave an answer unread, then it
    /// is closed. Default 90,000. Below 60,000 pooled clients meet closed connections.
    pub idle_timeout_ms: u64,
    /// Milliseconds from the stop signal until connections that still have requests in flight are
    /// cut. Default 4,500: the process ends within 5 seconds.
    pub drain_timeout_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::default(),
            max_connections: 16_384,
            max_connections_per_source: 8_192,
            max_body_bytes: 8 << 20,
            max_buffered_body_bytes: 256 << 20,
            max_buffered_body_bytes_per_source: 128 << 20,
            max_header_bytes: 512 << 10,
            max_buffered_header_bytes: 64 << 20,
            header_timeout_ms: 30_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 90_000,
            drain_timeout_ms: 4_500,
        }
    }
}

impl HttpConfig {
    /// How many connections may be open.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits::new(self.max_connections, or_all(self.max_connections_per_source))
    }

    /// Has these limits count from now on.
    pub(crate) fn change(&self, limits: &ConnectionLimits) {
        limits.change(self.max_connections, or_all(self.max_connections_per_source));
    }
}
