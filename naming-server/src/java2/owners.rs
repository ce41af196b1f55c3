//! Which member answers for a client that beats.

use std::sync::Arc;

use crate::registry::java_hash;

/// The members that share the clients which beat: those that are up or suspicious, in the order of
/// their addresses as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owners(Vec<Arc<str>>);

impl Owners {
    /// Shares among these members.
    pub(crate) fn new(members: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        Self(members)
    }

    /// The owner of a client with this tag: the text of `<ip>:<port>` as its request has it.
    pub(crate) fn owner(&self, tag: &str) -> Option<&Arc<str>> {
        let members = u32::try_from(self.0.len()).ok().filter(|count| *count > 0)?;
        self.0.get((slot(tag) % members) as usize)
    }
}

/// Java takes the remainder before the absolute value, so the least hash is no trap.
fn slot(tag: &str) -> u32 {
    (java_hash(tag) % i32::MAX).unsigned_abs()
}

#[cfg(test)]
pub(super) fn slot_of(tag: &str) -> u32 {
    slot(tag)
}
