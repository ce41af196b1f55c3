//! The owner's side: beats that other members heard.

use std::time::Duration;

use crate::answer::Answer;
use crate::journal::HeardAt;
use crate::message::{Beat, Entry, Reply};
use crate::record::Value;
use crate::store::HeardOf;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    /// Counts what others heard as heard here, and names what is not known here or was removed.
    pub(crate) fn renew(&self, beats: Vec<Beat>, in_transit: Duration, now: Tick) -> Reply<V> {
        let (mut removed, mut unknown) = (Vec::new(), Vec::new());
        for Beat { tag, key, age_ms, hops, written } in beats {
            let age = Duration::from_millis(age_ms).saturating_add(in_transit);
            let heard = now.before(age).map(|tick| HeardAt { tick, hops, written });
            match self.store.hear_of(&tag, &key, heard, written, now) {
                HeardOf::Known { is_behind: true, .. } => unknown.push((tag, key)),
                HeardOf::Known { .. } => {}
                HeardOf::Removed(record) => removed.push(Entry { tag, key, record }),
                HeardOf::Unknown => unknown.push((tag, key)),
            }
        }
        Reply::Renewed { removed, unknown }
    }
}
