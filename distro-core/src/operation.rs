//! Operations: what clients and operators do to records.

use std::sync::Arc;

use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::stamp::Stamp;

/// A write on behalf of a client, with the stamp of the member that the client spoke to: what
/// arrives late or twice changes nothing.
#[derive(Debug)]
pub enum Operation<V> {
    /// Write a value.
    Register {
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// Its moment.
        stamp: Stamp,
        /// The value.
        value: Arc<V>,
        /// The health to start with.
        health: Health,
        /// Write only if the record is still of this [version](Record::version); always if
        /// `None`.
        expected: Option<Stamp>,
    },
    /// Remove a record.
    Deregister {
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// Its moment.
        stamp: Stamp,
    },
    /// Set the health of a record that readers see, by hand. Lasts until the next judgement: a
    /// member that hears a record with a lease contradicts at once.
    Judge {
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// Its moment.
        stamp: Stamp,
        /// What it is from now on.
        health: Health,
    },
    /// Remove all records of a datum, and the datum itself.
    Close {
        /// The tag of the datum.
        tag: Arc<str>,
        /// Its moment. What was registered later stays.
        stamp: Stamp,
    },
    /// A beat for a record that the member which heard it does not know.
    Hear {
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
    },
}

impl<V> Operation<V> {
    /// Writes a value, whatever is there.
    pub fn register(
        tag: impl Into<Arc<str>>,
        key: impl Into<Key>,
        stamp: Stamp,
        value: Arc<V>,
        health: Health,
    ) -> Self {
        let (tag, key) = (tag.into(), key.into());
        Self::Register { tag, key, stamp, value, health, expected: None }
    }

    /// The same, but only if the record is still of this [version](Record::version);
    /// [`Stamp::NEVER`]: only if readers see none. Makes a [`Self::Register`] conditional and
    /// leaves everything else as it is.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use distro_core::{Health, Operation, Stamp};
    /// # let (stamp, read) = (Stamp::NEVER, Stamp::NEVER);
    /// let update = Operation::register("tag", "key", stamp, Arc::new("value"), Health::Healthy)
    ///     .expecting(read);
    /// # assert!(matches!(update, Operation::Register { expected: Some(Stamp::NEVER), .. }));
    /// ```
    #[must_use]
    pub fn expecting(mut self, version: Stamp) -> Self {
        if let Self::Register { expected, .. } = &mut self {
            *expected = Some(version);
        }
        self
    }

    /// Removes a record.
    pub fn deregister(tag: impl Into<Arc<str>>, key: impl Into<Key>, stamp: Stamp) -> Self {
        Self::Deregister { tag: tag.into(), key: key.into(), stamp }
    }

    /// Sets the health of a record by hand.
    pub fn judge(
        tag: impl Into<Arc<str>>,
        key: impl Into<Key>,
        stamp: Stamp,
        health: Health,
    ) -> Self {
        Self::Judge { tag: tag.into(), key: key.into(), stamp, health }
    }

    /// Removes a datum and all that is in it.
    pub fn close(tag: impl Into<Arc<str>>, stamp: Stamp) -> Self {
        Self::Close { tag: tag.into(), stamp }
    }

    /// A beat for a record that is not known here.
    pub fn hear(tag: impl Into<Arc<str>>, key: impl Into<Key>) -> Self {
        Self::Hear { tag: tag.into(), key: key.into() }
    }

    /// The tag that it is about.
    pub fn tag(&self) -> &Arc<str> {
        match self {
            Self::Register { tag, .. }
            | Self::Deregister { tag, .. }
            | Self::Judge { tag, .. }
            | Self::Close { tag, .. }
            | Self::Hear { tag, .. } => tag,
        }
    }

    /// The key that it is about; [`DATUM_KEY`] if that is the datum as a whole.
    pub fn key(&self) -> &str {
        match self {
            Self::Register { key, .. }
            | Self::Deregister { key, .. }
            | Self::Judge { key, .. }
            | Self::Hear { key, .. } => key,
            Self::Close { .. } => DATUM_KEY,
        }
    }

    /// Its moment, if it has one.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Register { stamp, .. }
            | Self::Deregister { stamp, .. }
            | Self::Judge { stamp, .. }
            | Self::Close { stamp, .. } => Some(*stamp),
            Self::Hear { .. } => None,
        }
    }

    pub(crate) fn restamp(&mut self, fresh: Stamp) {
        match self {
            Self::Register { stamp, .. }
            | Self::Deregister { stamp, .. }
            | Self::Judge { stamp, .. }
            | Self::Close { stamp, .. } => *stamp = fresh,
            Self::Hear { .. } => {}
        }
    }
}

impl<V: Value> Operation<V> {
    /// What a record is that came from this alone, if it is a registration.
    pub(crate) fn as_record(&self) -> Option<Record<V>> {
        match self {
            Self::Register { stamp, value, health, .. } => {
                Some(Record::registered(*stamp, Arc::clone(value), *health))
            }
            _ => None,
        }
    }

    /// Whether it has effect wherever it arrives, whatever is there: its forwarder does the
    /// same itself if it gets no answer.
    pub(crate) fn is_unconditional(&self) -> bool {
        matches!(self, Self::Register { expected: None, .. } | Self::Deregister { .. })
    }

    /// Whether something with a greater stamp stood in its way.
    pub(crate) fn is_lost(&self, record: &Record<V>) -> bool {
        match self {
            Self::Register { stamp, .. } => {
                record.registration > *stamp || record.deregistered > *stamp
            }
            Self::Deregister { stamp, .. } | Self::Close { stamp, .. } => {
                record.registration > *stamp
            }
            Self::Judge { stamp, .. } => {
                record.is_visible() && record.registration.max(record.liveness) > *stamp
            }
            Self::Hear { .. } => false,
        }
    }
}

impl<V> Clone for Operation<V> {
    fn clone(&self) -> Self {
        let (tag, key) = (self.tag().clone(), self.key());
        match self {
            Self::Register { key, stamp, value, health, expected, .. } => Self::Register {
                tag,
                key: key.clone(),
                stamp: *stamp,
                value: value.clone(),
                health: *health,
                expected: *expected,
            },
            Self::Deregister { stamp, .. } => Self::deregister(tag, key, *stamp),
            Self::Judge { stamp, health, .. } => Self::judge(tag, key, *stamp, *health),
            Self::Close { stamp, .. } => Self::close(tag, *stamp),
            Self::Hear { .. } => Self::hear(tag, key),
        }
    }
}

/// What came of a write.
#[derive(Debug)]
pub struct Written<V> {
    /// What the record is now; `None` if there is none. Of [`Operation::Close`] it is the one that
    /// speaks for the datum.
    pub record: Option<Record<V>>,
    /// Whether the write had effect. If not, [`Self::record`] is what stood in its way; this
    /// member holds it from now on, so that a second try, which reads again, gets further:
    ///
    /// * the record of a conditional registration was not of the version that it expected;
    /// * readers did not see the record whose health was to be set, or that was heard;
    /// * a write of another client came in between, and has the greater stamp.
    ///
    /// Writes that need not find anything, registrations without condition and removals, end
    /// like that in the last case only, and are as good as done just before the other.
    pub is_applied: bool,
}

impl<V: Value> Written<V> {
    pub(crate) fn of(
        operation: &Operation<V>,
        record: Option<Record<V>>,
        is_refused: bool,
    ) -> Self {
        let is_lost = record.as_ref().is_some_and(|record| operation.is_lost(record));
        Self { record, is_applied: !is_refused && !is_lost }
    }
}

impl<V> Clone for Written<V> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), is_applied: self.is_applied }
    }
}
