//! The messages as bytes, protocol version 1.4. Field numbers are for ever: a field that goes
//! leaves its number unused, a field that comes gets the next one and a meaning for its absence.
//!
//! Lists are lists of bytes, decoded one by one under a budget: what a peer sends is never turned
//! into more memory than its size and the limits allow.

use bytes::Bytes;
use prost::Message;

/// Around every message.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Envelope {
    #[prost(uint32, tag = "1")]
    pub(crate) major: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) minor: u32,
    /// Which message the body is, see [`kind`].
    #[prost(uint32, tag = "3")]
    pub(crate) kind: u32,
    /// Always there and last, so that no message that was cut short looks like a whole one.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) body: Option<Bytes>,
}

/// Numbers of the messages. Requests are below 64, replies from there on.
pub(crate) mod kind {
    pub(crate) const PROBE: u32 = 1;
    pub(crate) const REPLICATE: u32 = 2;
    pub(crate) const RENEW: u32 = 3;
    pub(crate) const VERIFY: u32 = 4;
    pub(crate) const TAGS: u32 = 5;
    pub(crate) const COMPARE: u32 = 6;
    pub(crate) const LOAD: u32 = 7;
    pub(crate) const FORWARD: u32 = 8;
    pub(crate) const LEAVE: u32 = 9;
    /// Since 1.3, and sent to members of 1.3 only. Its body is that of [`REPLICATE`].
    pub(crate) const PERSIST: u32 = 10;
    /// Since 1.4, and sent to members of 1.4 only.
    pub(crate) const ACCOUNT: u32 = 11;
    /// Since 1.5, and sent to members of 1.5 only.
    pub(crate) const ARRIVED: u32 = 12;
    /// Since 1.6, and sent to members of 1.6 only. Its body is the question.
    pub(crate) const ASK: u32 = 13;

    pub(crate) const PROBED: u32 = 64;
    /// Since 1.4 with a body, a list of the places of records that could not be read; members of
    /// before do not look at it.
    pub(crate) const DONE: u32 = 65;
    pub(crate) const RENEWED: u32 = 66;
    pub(crate) const SAME: u32 = 67;
    pub(crate) const DIFFERS: u32 = 68;
    pub(crate) const TAG_SUMS: u32 = 69;
    pub(crate) const COMPARED: u32 = 70;
    pub(crate) const PAGE: u32 = 71;
    pub(crate) const FORWARDED: u32 = 72;
    pub(crate) const BUSY: u32 = 73;
    /// Since 1.2, and sent to members of 1.2 only.
    pub(crate) const AS_SENT: u32 = 74;
    /// Since 1.4, in reply to [`ACCOUNT`] only.
    pub(crate) const ACCOUNTED: u32 = 75;
    /// Since 1.6, in reply to [`ASK`] only. Its body is the answer.
    pub(crate) const TOLD: u32 = 76;
}

/// Numbers of the operations.
pub(crate) mod action {
    pub(crate) const REGISTER: u32 = 0;
    pub(crate) const DEREGISTER: u32 = 1;
    pub(crate) const HEAR: u32 = 2;
    /// Since 1.1, like the next. A member of 1.0 refuses them; then they are carried out where
    /// the client spoke to.
    pub(crate) const JUDGE: u32 = 3;
    pub(crate) const CLOSE: u32 = 4;
}

/// Absent where the core says "never".
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Stamp {
    #[prost(fixed64, tag = "1")]
    pub(crate) time: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) member: u32,
    #[prost(fixed32, tag = "3")]
    pub(crate) incarnation: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Record {
    #[prost(message, optional, tag = "1")]
    pub(crate) registration: Option<Stamp>,
    #[prost(message, optional, tag = "2")]
    pub(crate) liveness: Option<Stamp>,
    #[prost(message, optional, tag = "3")]
    pub(crate) deregistered: Option<Stamp>,
    /// 0 healthy, 1 unhealthy, 2 expired.
    #[prost(uint32, tag = "4")]
    pub(crate) judged: u32,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(crate) value: Option<Bytes>,
}

/// Where something is. In lists the tag is absent if it is that of the place before.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Place {
    #[prost(string, optional, tag = "1")]
    pub(crate) tag: Option<String>,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
}

/// An [`Entry`] as it is read: the record by itself, so that one which cannot be read does not take
/// its place with it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawEntry {
    #[prost(message, optional, tag = "1")]
    pub(crate) place: Option<Place>,
    /// Of [`Record`].
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) record: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(crate) place: Option<Place>,
    #[prost(message, optional, tag = "2")]
    pub(crate) record: Option<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Beat {
    #[prost(message, optional, tag = "1")]
    pub(crate) place: Option<Place>,
    #[prost(uint64, tag = "2")]
    pub(crate) age_ms: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) hops: u32,
    /// The time of the stamp of the registration that was heard.
    #[prost(fixed64, tag = "4")]
    pub(crate) written: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyStamps {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) registration: Option<Stamp>,
    #[prost(message, optional, tag = "3")]
    pub(crate) liveness: Option<Stamp>,
    #[prost(message, optional, tag = "4")]
    pub(crate) deregistered: Option<Stamp>,
    #[prost(bool, tag = "5")]
    pub(crate) is_visible: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StampRange {
    #[prost(string, tag = "1")]
    pub(crate) tag: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) after: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) until: Option<String>,
    /// Of [`KeyStamps`].
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(crate) stamps: Vec<Bytes>,
}

/// A phase: 0 joining, 1 loading, 2 up, 3 leaving.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Probe {
    #[prost(uint32, tag = "1")]
    pub(crate) phase: u32,
}

/// The body of every message that is one list.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct List {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) items: Vec<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Verify {
    #[prost(fixed64, tag = "1")]
    pub(crate) root: u64,
    /// Since 1.4. Absent: what is listed is not compared.
    #[prost(fixed64, optional, tag = "2")]
    pub(crate) open: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Slots {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) slots: Vec<u32>,
}

/// Since 1.5.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Arrived {
    #[prost(fixed64, repeated, tag = "1")]
    pub(crate) clients: Vec<u64>,
}

/// Since 1.4.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Account {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) slots: Vec<u32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) after: Option<Place>,
}

/// Since 1.4.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Accounted {
    /// Of [`Beat`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) beats: Vec<Bytes>,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) told: Vec<u32>,
    #[prost(message, optional, tag = "3")]
    pub(crate) stopped: Option<Place>,
    #[prost(uint64, tag = "4")]
    pub(crate) listening_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Load {
    #[prost(uint32, tag = "1")]
    pub(crate) first: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) last: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) after: Option<Place>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Operation {
    /// Which operation, see [`action`].
    #[prost(uint32, tag = "1")]
    pub(crate) action: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) place: Option<Place>,
    #[prost(message, optional, tag = "3")]
    pub(crate) stamp: Option<Stamp>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) value: Option<Bytes>,
    #[prost(uint32, tag = "5")]
    pub(crate) health: u32,
    /// Since 1.1. Absent: write whatever is there, which a member of 1.0 does in any case.
    #[prost(message, optional, tag = "6")]
    pub(crate) expected: Option<Expected>,
}

/// What a conditional registration expects.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Expected {
    /// Absent: that there is nothing.
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Stamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Leave {
    #[prost(fixed32, tag = "1")]
    pub(crate) incarnation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Contact {
    #[prost(fixed32, tag = "1")]
    pub(crate) member: u32,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) phase: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) age_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Probed {
    #[prost(fixed32, tag = "1")]
    pub(crate) incarnation: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) phase: u32,
    /// Of [`Contact`].
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(crate) contacts: Vec<Bytes>,
    /// Since 1.1. Absent: it does not say.
    #[prost(fixed64, tag = "4")]
    pub(crate) list: u64,
    /// Since 1.5. Absent: it does not say.
    #[prost(uint32, optional, tag = "5")]
    pub(crate) connections: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Renewed {
    /// Of [`Entry`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) removed: Vec<Bytes>,
    /// Of [`Place`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) unknown: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Differs {
    #[prost(fixed64, repeated, tag = "1")]
    pub(crate) sums: Vec<u64>,
    /// Since 1.4. Absent: what is listed is not compared.
    #[prost(fixed64, repeated, tag = "2")]
    pub(crate) open: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TagSum {
    #[prost(string, tag = "1")]
    pub(crate) tag: String,
    #[prost(fixed64, tag = "2")]
    pub(crate) sum: u64,
    /// Since 1.4. Absent: does not say whether it is listed.
    #[prost(bool, optional, tag = "3")]
    pub(crate) is_open: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TagSums {
    #[prost(uint32, tag = "1")]
    pub(crate) slots: u32,
    /// Of [`TagSum`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) sums: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stop {
    #[prost(uint32, tag = "1")]
    pub(crate) range: u32,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Compared {
    /// Of [`Entry`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) given: Vec<Bytes>,
    /// Of [`Place`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) wanted: Vec<Bytes>,
    #[prost(message, optional, tag = "3")]
    pub(crate) stopped: Option<Stop>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Page {
    /// Of [`Entry`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) entries: Vec<Bytes>,
    #[prost(bool, tag = "2")]
    pub(crate) more: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Forwarded {
    #[prost(message, optional, tag = "1")]
    pub(crate) record: Option<Record>,
    /// Since 1.1. A member of 1.0 refuses nothing.
    #[prost(bool, tag = "2")]
    pub(crate) is_refused: bool,
}
