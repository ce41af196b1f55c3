//! Settings of what outlives a restart.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Config;
use super::check::{DAY_MS, within};

/// Where data is kept on disk, and whether ephemeral instances are part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folder of the data, for this server alone; it is made if there is none. Default empty: a
    /// folder of the user's data directory, named after the advertised or bound address and port.
    pub dir: String,
    /// Whether nothing is kept on disk. Default false for the program, and true for
    /// [`Config::default`](super::Config::default): a server within another program leaves no
    /// files unless it is told to.
    pub in_memory: bool,
    /// Whether ephemeral instances are saved too, within seconds, and shown again after a restart
    /// until their time-out is over. Default true; without effect in memory.
    pub save_instances: bool,
    /// Milliseconds for which a stop goes on saving ephemeral instances that changed just before it.
    /// Default 10,000; nearly always a few are enough. What systemd or Kubernetes allow for a stop
    /// must be longer.
    pub stop_grace_ms: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { dir: String::new(), in_memory: true, save_instances: true, stop_grace_ms: 10_000 }
    }
}

impl DataConfig {
    /// Data in this folder.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        let dir = folder.into().display().to_string();
        Self { dir, in_memory: false, ..Self::default() }
    }

    pub(crate) fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace_ms)
    }

    pub(super) fn check(&self) -> Result<()> {
        within("data.stop_grace_ms", self.stop_grace_ms, 0..=600_000)
    }
}

impl Config {
    /// How long ago ephemeral instances may have been saved to be shown again. After an hour their
    /// addresses may be anybody's; and the other members must still remember what was removed
    /// meanwhile.
    pub(crate) fn shown_again_within(&self) -> Duration {
        const HOUR: Duration = Duration::from_secs(3_600);
        match self.cluster.is_enabled() {
            true => HOUR.min(Duration::from_millis(self.cluster.tombstone_retention_ms / 6 * 5)),
            false => HOUR,
        }
    }
}

/// When a change of durable data is answered, and how long its removal is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DurableConfig {
    /// Whose disk must have a change before it is answered: `local` is this member's, `majority`
    /// those of more than half of the members in the list, this one included. Members that keep
    /// nothing on disk count as if they did. Default `local`.
    pub acks: Acks,
    /// Milliseconds after which a change that is not yet on disk is answered 503; it may still
    /// take effect. Default 3,000.
    pub ack_timeout_ms: u64,
    /// Milliseconds for which removals of durable records are remembered. Default 604,800,000, 7
    /// days. Too small forgets them while a member is away for repair, which may bring back what
    /// was removed; too large costs memory where much is removed. The same on all members.
    pub retention_ms: u64,
}

impl Default for DurableConfig {
    fn default() -> Self {
        Self { acks: Acks::Local, ack_timeout_ms: 3_000, retention_ms: 7 * DAY_MS }
    }
}

impl DurableConfig {
    pub(crate) fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_millis(self.retention_ms)
    }

    pub(crate) fn wants_majority(&self) -> bool {
        self.acks == Acks::Majority
    }

    /// `tombstone_retention_ms` is how long other removals are remembered.
    pub(super) fn check(&self, tombstone_retention_ms: u64) -> Result<()> {
        within("durable.ack_timeout_ms", self.ack_timeout_ms, 10..=60_000)?;
        within("durable.retention_ms", self.retention_ms, 60_000..=365 * DAY_MS)?;
        ensure!(
            self.retention_ms >= tombstone_retention_ms,
            "durable.retention_ms must not be below the retention of other removals, \
             {tombstone_retention_ms}"
        );
        Ok(())
    }
}

/// Whose disk must have a change before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// That of the member that answers.
    Local,
    /// Those of more than half of all members.
    Majority,
}
