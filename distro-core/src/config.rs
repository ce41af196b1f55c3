//! Every number of the core that can be set.

use std::time::Duration;

/// Settings of a [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// How long a removed or expired record is remembered, counted from when this member learned
    /// of it. Longer than any cut that should heal without a full load; costs about 150 bytes for
    /// each removal meanwhile. Default 1 h.
    pub tombstone_retention: Duration,
    /// Tombstones a slot may hold before they are kept for [`Self::compensation_window`] only.
    /// Bounds the memory that a storm of registrations and removals can take. Default 1,024.
    pub tombstones_per_slot: u32,
    /// How long after a deregistration a late beat does not bring the record back. Too short
    /// revives instances whose last beat was slow; too long delays the return of an instance that
    /// only beats. Default 10 s.
    pub compensation_window: Duration,
    /// Seed of the hasher of the tag map. Random in production, so that nobody can choose names
    /// that collide; fixed in simulations. No result depends on it.
    pub hash_seed: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            tombstone_retention: Duration::from_secs(3_600),
            tombstones_per_slot: 1_024,
            compensation_window: Duration::from_secs(10),
            hash_seed: 0,
        }
    }
}

/// Settings of the protocol state machine, [`Distro`](crate::Distro).
#[derive(Debug, Clone)]
pub struct DistroConfig {
    /// How often the driver is woken to judge leases. A record is judged at most this plus
    /// 100 ms after its deadline. Default 100 ms.
    pub tick_period: Duration,
    /// A tick that comes this much late means that this process was stopped or starved: it
    /// did not listen, so it may not judge. Too small a value makes a busy machine never judge;
    /// above the shortest time-out in use it loses live records. Default 3 s.
    pub pause_threshold: Duration,
    /// Whether silent records are removed at all; unhealthy ones are shown as such either way.
    /// Default true.
    pub expire: bool,
}

impl Default for DistroConfig {
    fn default() -> Self {
        Self {
            tick_period: Duration::from_millis(100),
            pause_threshold: Duration::from_secs(3),
            expire: true,
        }
    }
}
