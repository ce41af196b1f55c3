//! Settings of what is kept.

use serde::{Deserialize, Serialize};

use crate::registry::RegistryLimits;

/// What is kept of services and instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Instances of all services together; further registrations are refused. Default 10,000,000.
    pub max_instances: usize,
    /// Bytes that all instances and services together carry (names, metadata, ids, applications,
    /// settings); what would make them more is refused. 0 for no limit. Default 4 GiB.
    pub max_instance_bytes: u64,
    /// Bytes of all metadata keys and values of one instance or service. Default 32,768.
    pub max_metadata_bytes: usize,
    /// Bytes of rendered instance lists kept for the next reader. Default 256 MiB. Too small
    /// costs time, lists are rendered again; never correctness.
    pub rendered_bytes: usize,
    /// Whether a service with protect threshold 0 whose instances are all unhealthy shows them
    /// all as healthy. Default true, the rule of Nacos: an empty list helps nobody.
    pub protect_at_zero: bool,
    /// Whether weight, enabled and metadata keys that an operator sets of an instance (PUT, PATCH,
    /// metadata batch) outlast its later registrations, until the operator clears them. Default
    /// false, the rule of Nacos: a registration replaces everything. The same on all members of a
    /// cluster.
    pub keep_operator_values: bool,
    /// Seconds for which a service whose last instances have expired or lapsed goes on showing them;
    /// instances that are deregistered are gone at once. A service may say otherwise in its metadata
    /// (`preserved.empty.protection.seconds`). Default 0, the rule of Nacos: an empty list is shown.
    /// At most 3,600. Too large has clients call the dead for longer.
    pub empty_protection_seconds: u64,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            max_instances: 10_000_000,
            max_instance_bytes: 4 << 30,
            max_metadata_bytes: 32_768,
            rendered_bytes: 256 << 20,
            protect_at_zero: true,
            keep_operator_values: false,
            empty_protection_seconds: 0,
        }
    }
}

impl RegistryConfig {
    /// How much may be held at a time.
    pub(crate) fn limits(&self) -> RegistryLimits {
        RegistryLimits::new(self.max_instances as u64, self.max_instance_bytes)
    }

    /// Has these limits count from now on.
    pub(crate) fn change(&self, limits: &RegistryLimits) {
        limits.change(self.max_instances as u64, self.max_instance_bytes);
    }
}
