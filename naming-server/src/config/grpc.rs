//! Settings of the gRPC front.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::check::within;
use super::or_all;
use crate::http::ConnectionLimits;

/// How far above the main port clients look for gRPC.
pub(super) const PORT_OFFSET: u16 = 1_000;
/// Bytes of one message: a budget must hold a few.
const LEAST_BUDGET: usize = 16 << 20;

/// gRPC, as Nacos clients of 2.x and 3.x speak it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// TCP port of gRPC; 0 for no gRPC port. Default: the main port + 1,000, where clients look for
    /// it; any free port if the main port is any free port.
    pub port: Option<u16>,
    /// Whether the main port takes gRPC, too: a connection that begins with the preface of HTTP/2 is
    /// served as gRPC. Default false. Clients must be told to look for gRPC there.
    pub shared_port: bool,
    /// Connections open at a time; further ones are closed at once, so that their clients try
    /// another server. Default 16,384. An idle one costs less than 30 KiB, and the process must be
    /// allowed as many open files.
    pub max_connections: usize,
    /// Connections that one address may have open at a time, or one IPv6 network of 64 bits;
    /// loopback may have all. Default 8,192; 0 for no such limit. Too small turns away clients
    /// behind address translation.
    pub max_connections_per_source: usize,
    /// Connections that clients of one address may set up in a second; loopback may set up any
    /// number. Default 2,000; 0 for no such limit. Too small delays clients behind address
    /// translation when they all come back at once.
    pub max_setups_per_second_per_source: u32,
    /// Bytes of all requests being received and all answers being sent at a time; above, a call
    /// fails with RESOURCE_EXHAUSTED. Default 256 MiB.
    pub max_buffered_bytes: usize,
    /// The same of one connection. Default 64 MiB.
    pub max_buffered_bytes_per_connection: usize,
    /// Calls of one connection under way at a time; HTTP/2 tells clients, which wait. Default 256.
    pub max_concurrent_calls: u32,
    /// Milliseconds for which the clients of a server that stops have time to go elsewhere before
    /// their connections are closed. Default 1,000.
    pub drain_ms: u64,
    /// Clients that a member with many more connections than the others asks to go elsewhere in a
    /// second, until no member holds more than 1.25 times the mean. Default 20; 0 asks nobody. Too
    /// large has many clients register again at the same time.
    pub rebalance_per_second: u32,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            port: None,
            shared_port: false,
            max_connections: 16_384,
            max_connections_per_source: 8_192,
            max_setups_per_second_per_source: 2_000,
            max_buffered_bytes: 256 << 20,
            max_buffered_bytes_per_connection: 64 << 20,
            max_concurrent_calls: 256,
            drain_ms: 1_000,
            rebalance_per_second: 20,
        }
    }
}

impl GrpcConfig {
    /// Whether clients are taken at all.
    pub(crate) fn listens(&self) -> bool {
        self.shared_port || self.port != Some(0)
    }

    /// The port to listen on beside this main port: `None` for none, 0 for any free one.
    ///
    /// # Errors
    /// The default is above the greatest port.
    pub(crate) fn port_beside(&self, main: u16) -> Result<Option<u16>> {
        match self.port {
            Some(0) => Ok(None),
            Some(port) => Ok(Some(port)),
            None if main == 0 => Ok(Some(0)),
            None => {
                let port = main.checked_add(PORT_OFFSET);
                ensure!(
                    port.is_some(),
                    "port {main} leaves no room for the gRPC port {PORT_OFFSET} above it; set \
                     grpc.port, 0 for none"
                );
                Ok(port)
            }
        }
    }

    /// How many connections may be open.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits::new(self.max_connections, or_all(self.max_connections_per_source))
    }

    /// Has these limits count from now on.
    pub(crate) fn change(&self, limits: &ConnectionLimits) {
        limits.change(self.max_connections, or_all(self.max_connections_per_source));
    }

    pub(super) fn check(&self, main: u16) -> Result<()> {
        self.port_beside(main)?;
        let is_apart = self.port.is_none_or(|port| port == 0 || port != main);
        ensure!(is_apart, "grpc.port must not be the main port");
        within("grpc.max_connections", self.max_connections, 1..=10_000_000)?;
        let per_source = self.max_connections_per_source;
        within("grpc.max_connections_per_source", per_source, 0..=10_000_000)?;
        let setups = self.max_setups_per_second_per_source;
        within("grpc.max_setups_per_second_per_source", setups, 0..=1_000_000)?;
        within("grpc.max_buffered_bytes", self.max_buffered_bytes, LEAST_BUDGET..=1 << 40)?;
        let (own, most) = (self.max_buffered_bytes_per_connection, self.max_buffered_bytes);
        within("grpc.max_buffered_bytes_per_connection", own, LEAST_BUDGET..=most)?;
        within("grpc.max_concurrent_calls", self.max_concurrent_calls, 1..=10_000)?;
        within("grpc.rebalance_per_second", self.rebalance_per_second, 0..=10_000)?;
        within("grpc.drain_ms", self.drain_ms, 0..=60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_a_thousand_above_the_main_port_unless_it_is_named() {
        let beside = |port, main| GrpcConfig { port, ..GrpcConfig::default() }.port_beside(main);
        assert_eq!(beside(None, 8_848).unwrap(), Some(9_848));
        assert_eq!(beside(None, 0).unwrap(), Some(0), "any free port beside any free port");
        assert_eq!(beside(Some(9_000), 8_848).unwrap(), Some(9_000));
        assert_eq!(beside(Some(0), 8_848).unwrap(), None);
        assert_eq!(beside(None, 64_535).unwrap(), Some(65_535));
        assert!(beside(None, 64_536).unwrap_err().to_string().contains("grpc.port"));
    }
}
