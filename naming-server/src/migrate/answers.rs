//! The parts of answers that are compared. Servers of both kinds have them; the rest is ignored.

use serde::Deserialize;

/// The envelope of `/v1/core/cluster`.
#[derive(Debug, Deserialize)]
pub(super) struct Wrapped<T> {
    pub(super) data: T,
}

/// A member, in its own words or in those of another.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) address: String,
    pub(super) state: String,
}

/// The switches of a server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Switches {
    pub(super) health_check_enabled: bool,
}

/// The counts of a server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) status: String,
    pub(super) service_count: u64,
    pub(super) instance_count: u64,
}
