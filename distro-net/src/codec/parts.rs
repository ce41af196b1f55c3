//! What messages are made of.

use std::sync::Arc;

use bytes::Bytes;
use distro_core::{Beat, Contact, Entry, Health, Key, MemberId, Phase, Record, RecordId};
use distro_core::{SLOT_COUNT, Slot, Stamp, StampRange, Stamps};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{CodecError, Limits, Unread, ValueCodec, wire};

type Result<T> = std::result::Result<T, CodecError>;

/// Messages to bytes.
pub(super) struct Encoder<'a, V> {
    pub(super) values: &'a dyn ValueCodec<V>,
}

impl<V> Encoder<'_, V> {
    pub(super) fn entries(&self, entries: &[Entry<V>]) -> Vec<Bytes> {
        let mut last = None;
        let mut items = Vec::with_capacity(entries.len());
        for Entry { tag, key, record } in entries {
            let place = Some(next_place(&mut last, tag, key));
            items.push(bytes(&wire::Entry { place, record: Some(self.record(record)) }));
        }
        items
    }

    pub(super) fn record(&self, record: &Record<V>) -> wire::Record {
        wire::Record {
            registration: stamp(record.registration),
            liveness: stamp(record.liveness),
            deregistered: stamp(record.deregistered),
            judged: health(record.judged),
            value: record.value.as_deref().map(|value| self.value(value)),
        }
    }

    pub(super) fn value(&self, value: &V) -> Bytes {
        let mut target = Vec::new();
        self.values.encode(value, &mut target);
        target.into()
    }
}

pub(super) fn bytes(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

pub(super) fn stamp(stamp: Stamp) -> Option<wire::Stamp> {
    (!stamp.is_never()).then(|| wire::Stamp {
        time: stamp.time(),
        member: stamp.member().0,
        incarnation: stamp.incarnation(),
    })
}

pub(super) fn place(tag: &str, key: &str) -> wire::Place {
    wire::Place { tag: Some(tag.into()), key: key.into() }
}

pub(super) fn places(places: &[RecordId]) -> Vec<Bytes> {
    let mut last = None;
    places.iter().map(|(tag, key)| bytes(&next_place(&mut last, tag, key))).collect()
}

pub(super) fn beats(beats: &[Beat]) -> Vec<Bytes> {
    let mut last = None;
    let mut items = Vec::with_capacity(beats.len());
    for Beat { tag, key, age_ms, hops, written } in beats {
        let place = Some(next_place(&mut last, tag, key));
        items.push(bytes(&wire::Beat {
            place,
            age_ms: *age_ms,
            hops: u32::from(*hops),
            written: *written,
        }));
    }
    items
}

/// A place in a list: without the tag if it is that of the one before.
fn next_place<'a>(last: &mut Option<&'a str>, tag: &'a str, key: &str) -> wire::Place {
    let is_same = last.replace(tag) == Some(tag);
    wire::Place { tag: (!is_same).then(|| tag.into()), key: key.into() }
}

pub(super) fn stamp_range(range: &StampRange) -> Bytes {
    let stamps = range.stamps.iter().map(|(key, stamps)| {
        bytes(&wire::KeyStamps {
            key: (**key).into(),
            registration: stamp(stamps.registration),
            liveness: stamp(stamps.liveness),
            deregistered: stamp(stamps.deregistered),
            is_visible: stamps.is_visible,
        })
    });
    let text = |key: &Option<Key>| key.as_deref().map(String::from);
    bytes(&wire::StampRange {
        tag: (*range.tag).into(),
        after: text(&range.after),
        until: text(&range.until),
        stamps: stamps.collect(),
    })
}

pub(super) fn contact(contact: &Contact) -> Bytes {
    bytes(&wire::Contact {
        member: contact.member.0,
        incarnation: contact.incarnation,
        phase: phase(contact.phase),
        age_ms: contact.age_ms,
    })
}

pub(super) fn health(health: Health) -> u32 {
    match health {
        Health::Healthy => 0,
        Health::Unhealthy => 1,
        Health::Expired => 2,
    }
}

pub(super) fn phase(phase: Phase) -> u32 {
    match phase {
        Phase::Joining => 0,
        Phase::Loading => 1,
        Phase::Up => 2,
        Phase::Leaving => 3,
    }
}

/// Bytes to one message.
pub(super) struct Decoder<'a, V> {
    values: &'a dyn ValueCodec<V>,
    pub(super) limits: &'a Limits,
    /// How many more fields the lists of this message may have.
    left: usize,
    /// The tag of the last place of a list.
    last: Option<Arc<str>>,
    /// Records of lists that cannot be read.
    pub(super) unread: Vec<Unread>,
    /// Whether the last record of a list is one of these.
    ends_unread: bool,
}

impl<'a, V> Decoder<'a, V> {
    pub(super) fn new(values: &'a dyn ValueCodec<V>, limits: &'a Limits) -> Self {
        Self {
            values,
            limits,
            left: limits.items,
            last: None,
            unread: Vec::new(),
            ends_unread: false,
        }
    }

    /// Something that has lists: counts before memory is taken for them.
    pub(super) fn parse<M: Message + Default>(&mut self, source: Bytes) -> Result<M> {
        let mut rest = &*source;
        while !rest.is_empty() {
            let limit = self.limits.items;
            self.left =
                self.left.checked_sub(1).ok_or(CodecError::TooLarge { what: "the list", limit })?;
            let (tag, wire_type) = decode_key(&mut rest)?;
            skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        }
        Ok(M::decode(source)?)
    }

    pub(super) fn list<T>(
        &mut self,
        items: Vec<Bytes>,
        item: impl Fn(&mut Self, Bytes) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.last = None;
        items.into_iter().map(|bytes| item(self, bytes)).collect()
    }

    /// The records of a list, without those that mean nothing here: these are noted.
    pub(super) fn entries(&mut self, items: Vec<Bytes>) -> Result<Vec<Entry<V>>> {
        let all = self.list(items, Self::entry)?;
        Ok(all.into_iter().flatten().collect())
    }

    /// The records of a list, all of them.
    pub(super) fn all_entries(&mut self, items: Vec<Bytes>) -> Result<Vec<Entry<V>>> {
        let entries = self.entries(items)?;
        match std::mem::take(&mut self.unread).pop() {
            Some(unread) => Err(unread.error),
            None => Ok(entries),
        }
    }

    /// A record that means nothing here does not spoil the message that it comes in: it may be of
    /// another release. Bytes that are no entry do.
    fn entry(&mut self, source: Bytes) -> Result<Option<Entry<V>>> {
        let entry = wire::RawEntry::decode(source)?;
        let (tag, key) = self.place_of_any_length(entry.place)?;
        let source = entry.record.ok_or(CodecError::Missing("the record"))?;
        let names = self.check_name(&tag).and_then(|()| self.check_name(&key));
        let record = names.and_then(|()| Ok(wire::Record::decode(source)?));
        let record = record.and_then(|record| self.record(record));
        self.ends_unread = record.is_err();
        match record {
            Ok(record) => Ok(Some(Entry { tag, key, record })),
            Err(error) => {
                self.unread.push(Unread { place: (tag, key), error });
                Ok(None)
            }
        }
    }

    pub(super) fn places(&mut self, items: Vec<Bytes>) -> Result<Vec<RecordId>> {
        self.list(items, |decoder, bytes| decoder.place(Some(wire::Place::decode(bytes)?)))
    }

    pub(super) fn beat(&mut self, source: Bytes) -> Result<Beat> {
        let beat = wire::Beat::decode(source)?;
        let (tag, key) = self.place(beat.place)?;
        let hops = u8::try_from(beat.hops).map_err(|_| unknown("hop count", beat.hops))?;
        let written = read_time(beat.written)?;
        Ok(Beat { tag, key, age_ms: beat.age_ms, hops, written })
    }

    pub(super) fn place(&mut self, place: Option<wire::Place>) -> Result<RecordId> {
        let (tag, key) = self.place_of_any_length(place)?;
        self.check_name(&tag)?;
        self.check_name(&key)?;
        Ok((tag, key))
    }

    /// A place whose names may be longer than those of records that are taken.
    fn place_of_any_length(&mut self, place: Option<wire::Place>) -> Result<RecordId> {
        let place = place.ok_or(CodecError::Missing("the place"))?;
        let tag = match (place.tag, &self.last) {
            (None, None) => return Err(CodecError::Missing("the tag")),
            (None, Some(last)) => Arc::clone(last),
            (Some(tag), _) => tag.into(),
        };
        self.last = Some(Arc::clone(&tag));
        Ok((tag, place.key.into()))
    }

    pub(super) fn stamp_range(&mut self, source: Bytes) -> Result<StampRange> {
        let range: wire::StampRange = self.parse(source)?;
        let stamps = self.list(range.stamps, |decoder, bytes| {
            let stamps = wire::KeyStamps::decode(bytes)?;
            let key = decoder.name(&stamps.key)?;
            let stamps = Stamps {
                registration: read_stamp(stamps.registration)?,
                liveness: read_stamp(stamps.liveness)?,
                deregistered: read_stamp(stamps.deregistered)?,
                is_visible: stamps.is_visible,
            };
            Ok((key, stamps))
        })?;
        Ok(StampRange {
            tag: self.name(&range.tag)?,
            after: range.after.map(|key| self.name(&key)).transpose()?,
            until: range.until.map(|key| self.name(&key)).transpose()?,
            stamps,
        })
    }

    pub(super) fn record(&self, record: wire::Record) -> Result<Record<V>> {
        Ok(Record {
            registration: read_stamp(record.registration)?,
            liveness: read_stamp(record.liveness)?,
            deregistered: read_stamp(record.deregistered)?,
            judged: read_health(record.judged)?,
            value: record.value.map(|value| self.value(&value)).transpose()?,
        })
    }

    pub(super) fn value(&self, source: &[u8]) -> Result<Arc<V>> {
        let limit = self.limits.value_bytes;
        if source.len() > limit {
            return Err(CodecError::TooLarge { what: "a value", limit });
        }
        Ok(Arc::new(self.values.decode(source)?))
    }

    pub(super) fn name(&self, text: &str) -> Result<Arc<str>> {
        self.check_name(text)?;
        Ok(text.into())
    }

    fn check_name(&self, text: &str) -> Result<()> {
        let limit = self.limits.name_bytes;
        if text.len() > limit {
            return Err(CodecError::TooLarge { what: "a tag or key", limit });
        }
        Ok(())
    }

    /// The place of the last record of a list, of which these could be read.
    pub(super) fn last_place(&self, read: &[Entry<V>]) -> Option<RecordId> {
        if self.ends_unread {
            return self.unread.last().map(|unread| unread.place.clone());
        }
        read.last().map(|entry| (Arc::clone(&entry.tag), Arc::clone(&entry.key)))
    }

    /// The places of records that could not be read so far.
    pub(super) fn unread_places(&self) -> Vec<RecordId> {
        self.unread.iter().map(|unread| unread.place.clone()).collect()
    }
}

pub(super) fn unknown(what: &'static str, number: impl Into<u64>) -> CodecError {
    CodecError::Unknown { what, number: number.into() }
}

pub(super) fn too_large(what: &'static str, limit: usize) -> CodecError {
    CodecError::TooLarge { what, limit }
}

pub(super) fn read_stamp(stamp: Option<wire::Stamp>) -> Result<Stamp> {
    match stamp {
        None => Ok(Stamp::NEVER),
        // It would be a second "never", and not equal to the first.
        Some(wire::Stamp { time: 0, .. }) => Err(CodecError::Missing("the time of a stamp")),
        Some(wire::Stamp { time, member, incarnation }) => {
            let time = read_time(time)?;
            Ok(Stamp::from_parts(time, MemberId(member), incarnation))
        }
    }
}

/// The time of a stamp. One that nobody can have issued would be merged for ever.
pub(super) fn read_time(time: u64) -> Result<u64> {
    if time > Stamp::LATEST_TIME { Err(unknown("the time of a stamp", time)) } else { Ok(time) }
}

pub(super) fn read_contact(source: Bytes) -> Result<Contact> {
    let contact = wire::Contact::decode(source)?;
    Ok(Contact {
        member: MemberId(contact.member),
        incarnation: contact.incarnation,
        phase: read_phase(contact.phase)?,
        age_ms: contact.age_ms,
    })
}

pub(super) fn read_health(number: u32) -> Result<Health> {
    match number {
        0 => Ok(Health::Healthy),
        1 => Ok(Health::Unhealthy),
        2 => Ok(Health::Expired),
        _ => Err(unknown("health", number)),
    }
}

pub(super) fn read_phase(number: u32) -> Result<Phase> {
    match number {
        0 => Ok(Phase::Joining),
        1 => Ok(Phase::Loading),
        2 => Ok(Phase::Up),
        3 => Ok(Phase::Leaving),
        _ => Err(unknown("phase", number)),
    }
}

pub(super) fn read_slot(number: u32) -> Result<Slot> {
    let slot = usize::try_from(number).ok().and_then(Slot::at);
    slot.ok_or_else(|| unknown("slot", number))
}

/// Slots in a list: never more than there are.
pub(super) fn read_slots(numbers: Vec<u32>) -> Result<Vec<Slot>> {
    if numbers.len() > SLOT_COUNT {
        return Err(CodecError::TooLarge { what: "the list", limit: SLOT_COUNT });
    }
    numbers.into_iter().map(read_slot).collect()
}

pub(super) fn slots(slots: &[Slot]) -> Vec<u32> {
    slots.iter().map(|slot| number(slot.index())).collect()
}

/// Counts and positions. What is larger than the type on this machine is nonsense anyway.
pub(super) fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
