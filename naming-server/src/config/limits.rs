//! Settings of how often one address may call.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::check::within;
use super::this_machine;
use crate::naming::RateSettings;
use crate::networks::Networks;

/// How often one address, or one IPv6 network of 64 bits, may call the naming APIs in a second, over
/// HTTP and gRPC together; further calls are answered 503, which clients take for "elsewhere, or
/// later". 0 for any number. Addresses behind a proxy or address translation count as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Lists and all else that changes nothing. Default 0. Too small leaves clients with old lists.
    pub reads_per_second_per_source: u32,
    /// Registrations, removals and changes. Default 0. Too small delays clients that all start at
    /// once.
    pub writes_per_second_per_source: u32,
    /// Beats of clients of 1.x. Default 0. Too small lets instances expire whose clients live.
    pub beats_per_second_per_source: u32,
    /// Networks whose calls are not counted. Default this machine. Name those of proxies, and of
    /// Java servers that pass calls of their clients on.
    pub exempt_networks: Networks,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            reads_per_second_per_source: 0,
            writes_per_second_per_source: 0,
            beats_per_second_per_source: 0,
            exempt_networks: this_machine(),
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<()> {
        let [reads, writes, beats] = self.most();
        within("limits.reads_per_second_per_source", reads, 0..=100_000_000)?;
        within("limits.writes_per_second_per_source", writes, 0..=100_000_000)?;
        within("limits.beats_per_second_per_source", beats, 0..=100_000_000)
    }

    fn most(&self) -> [u32; 3] {
        [
            self.reads_per_second_per_source,
            self.writes_per_second_per_source,
            self.beats_per_second_per_source,
        ]
    }

    pub(crate) fn settings(&self) -> RateSettings {
        RateSettings { most: self.most(), exempt: self.exempt_networks.clone() }
    }
}
