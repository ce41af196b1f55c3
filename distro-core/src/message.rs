//! Messages: what members ask each other, and the replies.

use std::sync::Arc;

use crate::membership::{Contact, Phase};
use crate::operation::Operation;
use crate::record::{Key, Record, RecordId, Stamps};
use crate::slot::Slot;
use crate::stamp::MemberId;

/// A record and where it belongs.
#[derive(Debug)]
pub struct Entry<V> {
    /// The tag of its datum.
    pub tag: Arc<str>,
    /// Its key in the datum.
    pub key: Key,
    /// The record.
    pub record: Record<V>,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { tag: self.tag.clone(), key: self.key.clone(), record: self.record.clone() }
    }
}

/// A beat that was heard by another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The tag of the datum.
    pub tag: Arc<str>,
    /// The key in the datum.
    pub key: Key,
    /// How long ago it was heard, in milliseconds.
    pub age_ms: u64,
    /// How many members have passed it on after the one that heard it.
    pub hops: u8,
    /// The [`time`](crate::Stamp::time) of the registration that was heard. A member that knows
    /// only an older one asks for the record, and does not count the beat as a sign of life of it.
    pub written: u64,
}

/// What one member holds of a range of the keys of a datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampRange {
    /// The tag of the datum.
    pub tag: Arc<str>,
    /// The range begins after this key; at the start if `None`.
    pub after: Option<Key>,
    /// The range ends with this key; at the end if `None`.
    pub until: Option<Key>,
    /// All records in the range, tombstones included, in the order of their keys.
    pub stamps: Vec<(Key, Stamps)>,
}

/// What one member holds of a tag, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSum {
    /// The tag.
    pub tag: Arc<str>,
    /// Sum of the fingerprints of its visible records.
    pub sum: u64,
    /// Whether it is listed; `None`: does not say, as a member of an earlier version.
    pub is_open: Option<bool>,
}

/// What a member asks of another.
#[derive(Debug, Clone)]
pub enum Request<V> {
    /// Are you there, and whom have you heard?
    Probe {
        /// What the sender is.
        phase: Phase,
    },
    /// Merge these records.
    Replicate(Vec<Entry<V>>),
    /// These records were heard by others.
    Renew(Vec<Beat>),
    /// Do you hold the same?
    Verify {
        /// The checksum of all slots.
        root: u64,
        /// One number for all tags that are listed; `None`: does not compare that, as a member of an
        /// earlier version.
        open: Option<u64>,
    },
    /// The checksums of the tags of these slots.
    Tags(Vec<Slot>),
    /// What I hold of some datums; give me what is newer and tell me what you lack.
    Compare(Vec<StampRange>),
    /// The records of a range of slots, a page of them.
    Load {
        /// The first slot.
        first: Slot,
        /// The last slot.
        last: Slot,
        /// The last record of the page before, if that ended within the first slot.
        after: Option<RecordId>,
    },
    /// A client's write for a slot that the receiver owns.
    Forward(Operation<V>),
    /// When did you last hear the records of these slots, which the sender owns? Only to members
    /// that [understand](Request::needs_minor) it.
    Account {
        /// The slots, in their order.
        slots: Vec<Slot>,
        /// Where the account before stopped, in the first of these slots.
        after: Option<RecordId>,
    },
    /// Merge these durable records, and answer when they are on disk there. Only to
    /// members that [understand](Request::needs_minor) it.
    Persist(Vec<Entry<V>>),
    /// These clients have just set up a connection to the sender. Only to members that
    /// [understand](Request::needs_minor) it; nothing depends on its arrival.
    Arrived {
        /// What stands for each: see [`SharedStatus::note_arrival`](crate::SharedStatus::note_arrival).
        clients: Vec<u64>,
    },
    /// What the application of the sender wants to know of that of the receiver, such as who is
    /// connected to it. The protocol does not look into it. Only to who
    /// [understands](Request::needs_minor) it.
    Ask(Arc<[u8]>),
    /// The sender stops.
    Leave {
        /// Which start of it.
        incarnation: u32,
    },
}

impl<V> Request<V> {
    /// The minor version of the protocol from which on a member understands it. Those of an
    /// earlier one must not be asked.
    pub const fn needs_minor(&self) -> u32 {
        match self {
            Self::Persist(_) => 3,
            Self::Account { .. } => 4,
            Self::Arrived { .. } => 5,
            Self::Ask(_) => 6,
            _ => 0,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone)]
pub enum Reply<V> {
    /// To [`Request::Probe`].
    Probed {
        /// The start number of the member that answers.
        incarnation: u32,
        /// Its phase.
        phase: Phase,
        /// Whom it has heard, directly or by hearsay.
        contacts: Vec<Contact>,
        /// A checksum of its list of members; 0 if it does not say.
        list: u64,
        /// How many connections of clients it holds; `None` if it does not say, as a member of an
        /// earlier version or one that takes none.
        connections: Option<u32>,
    },
    /// To [`Request::Replicate`], [`Request::Persist`], [`Request::Arrived`] and [`Request::Leave`].
    Done,
    /// To [`Request::Replicate`]: done but for these records, which mean nothing to the receiver.
    /// It may be of another release.
    DoneBut(Vec<RecordId>),
    /// To [`Request::Renew`].
    Renewed {
        /// Records that were removed: to be merged.
        removed: Vec<Entry<V>>,
        /// Records that are not known or whose content is missing: to be given.
        unknown: Vec<RecordId>,
    },
    /// To [`Request::Verify`]: nothing differs.
    Same,
    /// To [`Request::Verify`].
    Differs {
        /// The checksum of each slot.
        sums: Vec<u64>,
        /// The sum of the listed tags of each slot; empty if that was not asked for.
        open: Vec<u64>,
    },
    /// To [`Request::Tags`].
    Tags {
        /// How many of the slots asked for are answered, from the first on; at least one.
        slots: usize,
        /// Their tags and the checksums of those.
        sums: Vec<TagSum>,
    },
    /// To [`Request::Compare`].
    Compared {
        /// Records that have news for the asker.
        given: Vec<Entry<V>>,
        /// Records of which the asker has news: to be given.
        wanted: Vec<RecordId>,
        /// Where the answer stops because it would be too long: the range, and the last key of it
        /// that was looked at.
        stopped: Option<(usize, Key)>,
        /// Given records that mean nothing to the asker. Filled in by the reader of the message.
        unread: Vec<RecordId>,
    },
    /// To [`Request::Load`].
    Page {
        /// The records.
        entries: Vec<Entry<V>>,
        /// Whether more of the range follow.
        more: bool,
        /// Where the page ends: its last record, even if that means nothing to the asker. Filled
        /// in by the reader of the message.
        last: Option<RecordId>,
    },
    /// To [`Request::Account`].
    Accounted {
        /// What the receiver has heard, itself or by a renewal, within the longest time-out.
        beats: Vec<Beat>,
        /// The slots of which this, with the accounts before it, is everything. From now on the
        /// receiver tells the sender what it hears of them. A slot that it takes for somebody
        /// else's is not among them.
        told: Vec<Slot>,
        /// Where the account stops because it would be too long.
        stopped: Option<RecordId>,
        /// For how long the receiver has listened to clients without a break, in milliseconds.
        listening_ms: u64,
    },
    /// To [`Request::Forward`].
    Forwarded {
        /// What the record is now; `None` if there is none.
        record: Option<Record<V>>,
        /// Nothing was written: what the write demands is not so (see
        /// [`Written::is_applied`](crate::Written::is_applied)).
        is_refused: bool,
    },
    /// To [`Request::Forward`] of a registration: the record is now exactly what was sent. Only to
    /// members that [understand](Sender::minor) it.
    AsSent,
    /// To [`Request::Ask`]: what the application answers.
    Told(Vec<u8>),
    /// The receiver was stopped and has not caught up, has no data yet, cannot put on disk what
    /// it was asked to hold, or has no answer to what was asked: ask another.
    Busy,
}

/// The sender of a request. Proves nothing by itself: the transport authenticates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The member.
    pub member: MemberId,
    /// Its start number.
    pub incarnation: u32,
    /// The minor version of the protocol that it speaks.
    pub minor: u32,
}

impl Sender {
    /// Whether it understands [`Reply::AsSent`], and holds what it forwards in any case: by the
    /// reply, or by a write of its own.
    pub(crate) fn holds_what_it_forwards(&self) -> bool {
        const SINCE_MINOR: u32 = 2;
        self.minor >= SINCE_MINOR
    }
}
