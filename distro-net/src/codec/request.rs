//! Requests.

use bytes::Bytes;
use distro_core::{Operation, Request, SLOT_COUNT};
use prost::Message;

use super::CodecError;
use super::parts::{
    Decoder, Encoder, beats, bytes, health, number, phase, place, read_health, read_phase,
    read_slot, read_stamp, sheet, stamp, unknown,
};
use super::wire::{self, kind};

impl<V> Encoder<'_, V> {
    /// The number of the message, and its body.
    pub(super) fn request(&self, request: &Request<V>) -> (u32, Vec<u8>) {
        let list = |items| wire::List { items }.encode_to_vec();
        match request {
            Request::Probe { phase: is } => {
                (kind::PROBE, wire::Probe { phase: phase(*is) }.encode_to_vec())
            }
            Request::Replicate(entries) => (kind::REPLICATE, list(self.entries(entries))),
            Request::Renew(heard) => (kind::RENEW, list(beats(heard))),
            Request::Verify(root) => (kind::VERIFY, wire::Verify { root: *root }.encode_to_vec()),
            Request::Tags(slots) => {
                let slots = slots.iter().map(|slot| number(slot.index())).collect();
                (kind::TAGS, wire::Slots { slots }.encode_to_vec())
            }
            Request::Compare(sheets) => (kind::COMPARE, list(sheets.iter().map(sheet).collect())),
            Request::Load { first, last, after } => {
                let load = wire::Load {
                    first: number(first.index()),
                    last: number(last.index()),
                    after: after.as_ref().map(|(tag, key)| place(tag, key)),
                };
                (kind::LOAD, load.encode_to_vec())
            }
            Request::Forward(operation) => {
                (kind::FORWARD, self.operation(operation).encode_to_vec())
            }
            Request::Leave { incarnation } => {
                (kind::LEAVE, bytes(&wire::Leave { incarnation: *incarnation }).into())
            }
        }
    }

    fn operation(&self, operation: &Operation<V>) -> wire::Operation {
        let place = Some(place(operation.tag(), operation.key()));
        match operation {
            Operation::Register { stamp: at, value, health: starts, .. } => wire::Operation {
                action: 0,
                place,
                stamp: stamp(*at),
                value: Some(self.value(value)),
                health: health(*starts),
            },
            Operation::Deregister { stamp: at, .. } => {
                wire::Operation { action: 1, place, stamp: stamp(*at), ..Default::default() }
            }
            Operation::Hear { .. } => wire::Operation { action: 2, place, ..Default::default() },
        }
    }
}

impl<V> Decoder<'_, V> {
    /// The request of this number and body.
    pub(super) fn request(mut self, kind: u32, body: Bytes) -> Result<Request<V>, CodecError> {
        Ok(match kind {
            kind::PROBE => Request::Probe { phase: read_phase(wire::Probe::decode(body)?.phase)? },
            kind::REPLICATE => {
                let list: wire::List = self.parse(body)?;
                Request::Replicate(self.entries(list.items)?)
            }
            kind::RENEW => {
                let list: wire::List = self.parse(body)?;
                Request::Renew(self.list(list.items, Self::beat)?)
            }
            kind::VERIFY => Request::Verify(wire::Verify::decode(body)?.root),
            kind::TAGS => {
                let list: wire::Slots = self.parse(body)?;
                if list.slots.len() > SLOT_COUNT {
                    return Err(CodecError::TooLarge { what: "the list", limit: SLOT_COUNT });
                }
                Request::Tags(list.slots.into_iter().map(read_slot).collect::<Result<_, _>>()?)
            }
            kind::COMPARE => {
                let list: wire::List = self.parse(body)?;
                Request::Compare(self.list(list.items, Self::sheet)?)
            }
            kind::LOAD => {
                let load = wire::Load::decode(body)?;
                Request::Load {
                    first: read_slot(load.first)?,
                    last: read_slot(load.last)?,
                    after: load.after.map(|place| self.place(Some(place))).transpose()?,
                }
            }
            kind::FORWARD => Request::Forward(self.operation(wire::Operation::decode(body)?)?),
            kind::LEAVE => Request::Leave { incarnation: wire::Leave::decode(body)?.incarnation },
            _ => return Err(unknown("request", kind)),
        })
    }

    fn operation(&mut self, operation: wire::Operation) -> Result<Operation<V>, CodecError> {
        let (tag, key) = self.place(operation.place)?;
        let stamp = || match read_stamp(operation.stamp)? {
            stamp if stamp.is_never() => Err(CodecError::Missing("the stamp")),
            stamp => Ok(stamp),
        };
        match operation.action {
            0 => {
                let value = operation.value.ok_or(CodecError::Missing("the value"))?;
                let (value, health) = (self.value(&value)?, read_health(operation.health)?);
                Ok(Operation::Register { tag, key, stamp: stamp()?, value, health })
            }
            1 => Ok(Operation::Deregister { tag, key, stamp: stamp()? }),
            2 => Ok(Operation::Hear { tag, key }),
            action => Err(unknown("action", action)),
        }
    }
}
