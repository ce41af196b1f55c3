//! Services watched by a pattern, over the connection.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::messages::{FuzzyNotice, Request};
use crate::call::Core;
use crate::error::Error;
use crate::names::ServiceName;
use crate::pattern::ServicePattern;
use crate::watch::PatternTopic;

/// Who watches what.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    topics: Mutex<HashMap<String, Vec<Arc<PatternTopic>>>>,
}

impl Watches {
    /// Notices about the pattern go to `topic` from now on.
    pub(crate) fn enter(&self, wire: &str, topic: &Arc<PatternTopic>) {
        self.topics.lock().entry(wire.to_owned()).or_default().push(topic.clone());
    }

    /// They do not any more; tells whether nobody watches the pattern now.
    pub(crate) fn leave(&self, wire: &str, topic: &Arc<PatternTopic>) -> bool {
        let mut topics = self.topics.lock();
        let Some(there) = topics.get_mut(wire) else { return false };
        there.retain(|known| !Arc::ptr_eq(known, topic));
        let is_last = there.is_empty();
        if is_last {
            topics.remove(wire);
        }
        is_last
    }

    /// Uses a notice of the server.
    pub(super) fn take(&self, notice: &FuzzyNotice) {
        if notice.service_key.is_empty() {
            let topics = self.topics.lock().get(&notice.group_key_pattern).cloned();
            for topic in topics.unwrap_or_default() {
                for change in &notice.contexts {
                    tell(&topic, &change.service_key, &change.changed_type);
                }
                if notice.sync_type == "FINISH_FUZZY_WATCH_INIT_NOTIFY" {
                    topic.loaded();
                }
            }
            return;
        }
        // A change names no pattern.
        let topics: Vec<Arc<PatternTopic>> =
            self.topics.lock().values().flatten().cloned().collect();
        for topic in topics {
            tell(&topic, &notice.service_key, &notice.changed_type);
        }
    }
}

fn tell(topic: &PatternTopic, key: &str, kind: &str) {
    let mut parts = key.splitn(3, "@@");
    let (Some(namespace), Some(group), Some(name)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let Ok(service) = ServiceName::new(group, name) else { return };
    if namespace == topic.namespace.as_str() && topic.pattern.matches(&service) {
        match kind {
            "ADD_SERVICE" => topic.come(service),
            "DELETE_SERVICE" => topic.gone(&service),
            _ => {}
        }
    }
}

/// The pattern as it is written on the wire.
pub(crate) fn wire_pattern(core: &Core, pattern: &ServicePattern) -> String {
    format!("{}>>{}>>{}", core.namespace.as_str(), pattern.group(), pattern.service())
}

/// The request that begins or ends a watch.
pub(crate) fn request(
    core: &Core,
    topic: &PatternTopic,
    wire: &str,
    watch: bool,
) -> Result<Request, Error> {
    let namespace = core.namespace.as_str();
    let known = topic.known().into_iter();
    let known =
        known.map(|service| format!("{namespace}@@{}@@{}", service.group(), service.service()));
    let known: Vec<String> = if watch { known.collect() } else { Vec::new() };
    Request::fuzzy_watch(&core.namespace, wire, known, !topic.is_loaded(), watch)
}
