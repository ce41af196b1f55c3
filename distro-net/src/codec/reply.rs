//! Replies.

use bytes::Bytes;
use distro_core::{Reply, SLOT_COUNT, TagSum};
use prost::Message;

use super::CodecError;
use super::parts::{
    Decoder, Encoder, beats, bytes, contact, number, phase, place, places, read_contact,
    read_phase, read_slots, slots, too_large, unknown,
};
use super::wire::{self, kind};
use crate::questions::MOST_TOLD_BYTES;

impl<V> Encoder<'_, V> {
    /// The number of the message, and its body.
    pub(super) fn reply(&self, reply: &Reply<V>) -> (u32, Vec<u8>) {
        match reply {
            Reply::Probed { incarnation, phase: is, contacts, list, connections } => {
                let contacts = contacts.iter().map(contact).collect();
                let probed = wire::Probed {
                    incarnation: *incarnation,
                    phase: phase(*is),
                    contacts,
                    list: *list,
                    connections: *connections,
                };
                (kind::PROBED, probed.encode_to_vec())
            }
            Reply::Done => (kind::DONE, Vec::new()),
            Reply::DoneBut(unread) => {
                (kind::DONE, wire::List { items: places(unread) }.encode_to_vec())
            }
            Reply::Renewed { removed, unknown } => {
                let (removed, unknown) = (self.entries(removed), places(unknown));
                (kind::RENEWED, wire::Renewed { removed, unknown }.encode_to_vec())
            }
            Reply::Same => (kind::SAME, Vec::new()),
            Reply::Differs { sums, open } => {
                let differs = wire::Differs { sums: sums.clone(), open: open.clone() };
                (kind::DIFFERS, differs.encode_to_vec())
            }
            Reply::Tags { slots, sums } => {
                let sum = |TagSum { tag, sum, is_open }: &TagSum| {
                    bytes(&wire::TagSum { tag: (**tag).into(), sum: *sum, is_open: *is_open })
                };
                let sums = sums.iter().map(sum).collect();
                (kind::TAG_SUMS, wire::TagSums { slots: number(*slots), sums }.encode_to_vec())
            }
            Reply::Compared { given, wanted, stopped, unread: _ } => {
                let stop = |(range, key): &(usize, distro_core::Key)| wire::Stop {
                    range: number(*range),
                    key: (**key).into(),
                };
                let compared = wire::Compared {
                    given: self.entries(given),
                    wanted: places(wanted),
                    stopped: stopped.as_ref().map(stop),
                };
                (kind::COMPARED, compared.encode_to_vec())
            }
            Reply::Page { entries, more, last: _ } => {
                let page = wire::Page { entries: self.entries(entries), more: *more };
                (kind::PAGE, page.encode_to_vec())
            }
            Reply::Accounted { beats: heard, told, stopped, listening_ms } => {
                let accounted = wire::Accounted {
                    beats: beats(heard),
                    told: slots(told),
                    stopped: stopped.as_ref().map(|(tag, key)| place(tag, key)),
                    listening_ms: *listening_ms,
                };
                (kind::ACCOUNTED, accounted.encode_to_vec())
            }
            Reply::Forwarded { record, is_refused } => {
                let record = record.as_ref().map(|record| self.record(record));
                let forwarded = wire::Forwarded { record, is_refused: *is_refused };
                (kind::FORWARDED, forwarded.encode_to_vec())
            }
            Reply::AsSent => (kind::AS_SENT, Vec::new()),
            Reply::Told(answer) => (kind::TOLD, answer.clone()),
            Reply::Busy => (kind::BUSY, Vec::new()),
        }
    }
}

impl<V> Decoder<'_, V> {
    /// The reply of this number and body.
    pub(super) fn reply(&mut self, kind: u32, body: Bytes) -> Result<Reply<V>, CodecError> {
        Ok(match kind {
            kind::PROBED => {
                let probed: wire::Probed = self.parse(body)?;
                Reply::Probed {
                    incarnation: probed.incarnation,
                    phase: read_phase(probed.phase)?,
                    contacts: self.list(probed.contacts, |_, bytes| read_contact(bytes))?,
                    list: probed.list,
                    connections: probed.connections,
                }
            }
            kind::DONE => {
                let list: wire::List = self.parse(body)?;
                match self.places(list.items)? {
                    unread if unread.is_empty() => Reply::Done,
                    unread => Reply::DoneBut(unread),
                }
            }
            kind::RENEWED => {
                let renewed: wire::Renewed = self.parse(body)?;
                let removed = self.entries(renewed.removed)?;
                Reply::Renewed { removed, unknown: self.places(renewed.unknown)? }
            }
            kind::SAME => Reply::Same,
            kind::DIFFERS => {
                let differs: wire::Differs = self.parse(body)?;
                if differs.sums.len() != SLOT_COUNT {
                    return Err(unknown("slot count", number(differs.sums.len())));
                }
                if ![0, SLOT_COUNT].contains(&differs.open.len()) {
                    return Err(unknown("slot count", number(differs.open.len())));
                }
                Reply::Differs { sums: differs.sums, open: differs.open }
            }
            kind::TAG_SUMS => {
                let tags: wire::TagSums = self.parse(body)?;
                let sums = self.list(tags.sums, |decoder, bytes| {
                    let sum = wire::TagSum::decode(bytes)?;
                    let tag = decoder.name(&sum.tag)?;
                    Ok(TagSum { tag, sum: sum.sum, is_open: sum.is_open })
                })?;
                Reply::Tags { slots: position(tags.slots)?, sums }
            }
            kind::COMPARED => {
                let compared: wire::Compared = self.parse(body)?;
                let given = self.entries(compared.given)?;
                let wanted = self.places(compared.wanted)?;
                let stopped = match compared.stopped {
                    Some(stop) => Some((position(stop.range)?, self.name(&stop.key)?)),
                    None => None,
                };
                Reply::Compared { given, wanted, stopped, unread: self.unread_places() }
            }
            kind::PAGE => {
                let page: wire::Page = self.parse(body)?;
                let entries = self.entries(page.entries)?;
                let last = self.last_place(&entries);
                Reply::Page { entries, more: page.more, last }
            }
            kind::ACCOUNTED => {
                let accounted: wire::Accounted = self.parse(body)?;
                let stopped = accounted.stopped.map(|place| self.place(Some(place)));
                Reply::Accounted {
                    stopped: stopped.transpose()?,
                    beats: self.list(accounted.beats, Self::beat)?,
                    told: read_slots(accounted.told)?,
                    listening_ms: accounted.listening_ms,
                }
            }
            kind::FORWARDED => {
                let forwarded = wire::Forwarded::decode(body)?;
                let record = forwarded.record.map(|record| self.record(record)).transpose()?;
                Reply::Forwarded { record, is_refused: forwarded.is_refused }
            }
            kind::AS_SENT => Reply::AsSent,
            kind::TOLD => match body.len() > MOST_TOLD_BYTES {
                true => return Err(too_large("the answer", MOST_TOLD_BYTES)),
                false => Reply::Told(body.into()),
            },
            kind::BUSY => Reply::Busy,
            _ => return Err(unknown("reply", kind)),
        })
    }
}

fn position(number: u32) -> Result<usize, CodecError> {
    usize::try_from(number).map_err(|_| unknown("position", number))
}
