//! What members tell each other of a client: its services, its instances, its revision.
//!
//! Java keeps four parallel arrays and unboxes what is in them without a look: a weight without a
//! decimal point, a missing `extendDatum` or a flag written as text is taken with a yes, and then
//! the whole service can be listed no more. So such content is refused here, and never written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BadContent;

/// Services that one client may publish.
pub(super) const MOST_SERVICES: usize = 20_000;
/// Instances that one client may publish.
pub(super) const MOST_INSTANCES: usize = 100_000;
/// Bytes of the id of a client.
pub(super) const MOST_ID_BYTES: usize = 512;

/// What a member tells of one client.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ClientData {
    /// A connection (no `#`), or an address that beats (`<ip>:<port>#true`).
    pub(crate) id: String,
    /// The count or the hash by which members see that they know the same.
    pub(crate) revision: i32,
    /// What the client publishes, one entry for each service.
    pub(crate) published: Vec<Published>,
}

/// What a client publishes in one service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) namespace: String,
    pub(crate) group: String,
    /// Without the group.
    pub(crate) service: String,
    pub(crate) instances: Instances,
}

/// One instance, or a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Instances {
    One(PublishedInstance),
    Batch(Vec<PublishedInstance>),
}

impl Instances {
    /// The same without when they were last heard.
    fn unheard(&self) -> Vec<PublishedInstance> {
        let unheard =
            |one: &PublishedInstance| PublishedInstance { last_beat_ms: None, ..one.clone() };
        self.all().iter().map(unheard).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[PublishedInstance] {
        match self {
            Self::One(instance) => std::slice::from_ref(instance),
            Self::Batch(instances) => instances,
        }
    }
}

/// An instance as a client publishes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PublishedInstance {
    pub(crate) ip: String,
    pub(crate) port: i32,
    pub(crate) healthy: bool,
    pub(crate) cluster: String,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    pub(crate) id: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// When its client was last heard, in milliseconds since the epoch, if that is told. Every
    /// receiver counts by its own clock.
    pub(crate) last_beat_ms: Option<i64>,
}

impl ClientData {
    /// Whether two publish the same: when they were last heard does not count, nor the order.
    pub(crate) fn publishes_like(&self, other: &Self) -> bool {
        let key = |one: &Published| {
            (one.namespace.clone(), one.group.clone(), one.service.clone(), one.instances.unheard())
        };
        let all = |data: &Self| {
            let mut all: Vec<_> = data.published.iter().map(key).collect();
            all.sort_by(|one, other| (&one.0, &one.1, &one.2).cmp(&(&other.0, &other.1, &other.2)));
            all
        };
        all(self) == all(other)
    }
}

/// What a `VERIFY` asks: whether this client is known at this revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verified {
    pub(crate) client_id: String,
    #[serde(default)]
    pub(crate) revision: i64,
}

impl Verified {
    /// Reads the content of a `VERIFY`.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, BadContent> {
        let verified: Self = serde_json::from_slice(content)
            .map_err(|error| BadContent::of_json("the content is no VERIFY", &error))?;
        check_id(&verified.client_id)?;
        Ok(verified)
    }

    /// The content of a `VERIFY`.
    pub(crate) fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a text and a number can be written")
    }
}

/// Whether the id is that of an address which beats: `<ip>:<port>#true`.
pub(crate) fn address_of(id: &str) -> Option<&str> {
    id.strip_suffix("#true")
}

/// Checks the id of a client of which members tell each other.
pub(super) fn check_id(id: &str) -> Result<(), BadContent> {
    let is_good = !id.is_empty() && !id.chars().any(char::is_control);
    if !is_good || id.len() > MOST_ID_BYTES {
        return Err(BadContent::about("clientId: no id of a client", id));
    }
    match id.split_once('#') {
        None | Some((_, "true")) => Ok(()),
        // Java keeps those in Raft and fails on them here.
        Some(_) => Err(BadContent::about("clientId: not that of an ephemeral client", id)),
    }
}
