//! Questions about what members have seen: events of instances, and administrative writes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::part::Ask;
use super::words::Rows;
use crate::http::v1::{Api, EventFilter};

/// The latest events that are meant, the newest first: so many.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct EventsSeen {
    pub(in crate::http) filter: EventFilter,
    pub(in crate::http) most: usize,
}

impl Ask for EventsSeen {
    const NAME: &'static str = "events";
    type Part = Rows<Value>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let events = api.events_seen(&self.filter, self.most);
        Some(Rows::within(bytes, events.len(), events.into_iter()))
    }
}

/// The latest administrative writes, the newest first: so many.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct Changes {
    pub(in crate::http) most: usize,
}

impl Ask for Changes {
    const NAME: &'static str = "changes";
    type Part = Rows<Box<RawValue>>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let lines = api.latest_changes(self.most);
        let read = lines.iter().filter_map(|line| serde_json::from_slice(line).ok());
        Some(Rows::within(bytes, lines.len(), read))
    }
}
