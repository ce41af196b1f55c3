//! Requests.

use bytes::Bytes;
use distro_core::{Operation, Request};
use prost::Message;

use super::CodecError;
use super::parts::{
    Decoder, Encoder, beats, bytes, health, number, phase, place, read_health, read_phase,
    read_slot, read_slots, read_stamp, slots, stamp, stamp_range, too_large, unknown,
};
use super::wire::{self, action, kind};
use crate::questions::MOST_QUESTION_BYTES;

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
            Request::Verify { root, open } => {
                (kind::VERIFY, wire::Verify { root: *root, open: *open }.encode_to_vec())
            }
            Request::Tags(asked) => {
                (kind::TAGS, wire::Slots { slots: slots(asked) }.encode_to_vec())
            }
            Request::Compare(ranges) => {
                (kind::COMPARE, list(ranges.iter().map(stamp_range).collect()))
            }
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
            Request::Account { slots: asked, after } => {
                let after = after.as_ref().map(|(tag, key)| place(tag, key));
                let account = wire::Account { slots: slots(asked), after };
                (kind::ACCOUNT, account.encode_to_vec())
            }
            Request::Arrived { clients } => {
                (kind::ARRIVED, wire::Arrived { clients: clients.clone() }.encode_to_vec())
            }
            Request::Ask(question) => (kind::ASK, question.to_vec()),
            Request::Persist(entries) => (kind::PERSIST, list(self.entries(entries))),
            Request::Leave { incarnation } => {
                (kind::LEAVE, bytes(&wire::Leave { incarnation: *incarnation }).into())
            }
        }
    }

    fn operation(&self, operation: &Operation<V>) -> wire::Operation {
        let plain = wire::Operation {
            place: Some(place(operation.tag(), operation.key())),
            stamp: operation.stamp().and_then(stamp),
            ..Default::default()
        };
        match operation {
            Operation::Register { value, health: starts, expected, .. } => wire::Operation {
                action: action::REGISTER,
                value: Some(self.value(value)),
                health: health(*starts),
                expected: expected.map(|version| wire::Expected { version: stamp(version) }),
                ..plain
            },
            Operation::Deregister { .. } => wire::Operation { action: action::DEREGISTER, ..plain },
            Operation::Hear { .. } => wire::Operation { action: action::HEAR, ..plain },
            Operation::Judge { health: judged, .. } => {
                wire::Operation { action: action::JUDGE, health: health(*judged), ..plain }
            }
            Operation::Close { .. } => wire::Operation { action: action::CLOSE, ..plain },
        }
    }
}

impl<V> Decoder<'_, V> {
    /// The request of this number and body.
    pub(super) fn request(&mut self, kind: u32, body: Bytes) -> Result<Request<V>, CodecError> {
        Ok(match kind {
            kind::PROBE => Request::Probe { phase: read_phase(wire::Probe::decode(body)?.phase)? },
            kind::REPLICATE => {
                let list: wire::List = self.parse(body)?;
                Request::Replicate(self.entries(list.items)?)
            }
            kind::PERSIST => {
                let list: wire::List = self.parse(body)?;
                // All or nothing: what cannot be read cannot be held.
                Request::Persist(self.all_entries(list.items)?)
            }
            kind::RENEW => {
                let list: wire::List = self.parse(body)?;
                Request::Renew(self.list(list.items, Self::beat)?)
            }
            kind::VERIFY => {
                let verify = wire::Verify::decode(body)?;
                Request::Verify { root: verify.root, open: verify.open }
            }
            kind::TAGS => {
                let list: wire::Slots = self.parse(body)?;
                Request::Tags(read_slots(list.slots)?)
            }
            kind::ACCOUNT => {
                let account: wire::Account = self.parse(body)?;
                Request::Account {
                    slots: read_slots(account.slots)?,
                    after: account.after.map(|place| self.place(Some(place))).transpose()?,
                }
            }
            kind::COMPARE => {
                let list: wire::List = self.parse(body)?;
                Request::Compare(self.list(list.items, Self::stamp_range)?)
            }
            kind::LOAD => {
                let load = wire::Load::decode(body)?;
                Request::Load {
                    first: read_slot(load.first)?,
                    last: read_slot(load.last)?,
                    after: load.after.map(|place| self.place(Some(place))).transpose()?,
                }
            }
            kind::ARRIVED => {
                let limit = self.limits.items;
                let is_too_long = |clients: usize| clients > limit;
                // None takes more than nine bytes, so that this is known before it takes memory.
                let clients = match is_too_long(body.len() / 9) {
                    true => None,
                    false => Some(wire::Arrived::decode(body)?.clients),
                };
                let clients = clients.filter(|clients| !is_too_long(clients.len()));
                let clients = clients.ok_or_else(|| too_large("the list", limit))?;
                Request::Arrived { clients }
            }
            kind::ASK => match body.len() > MOST_QUESTION_BYTES {
                true => return Err(too_large("the question", MOST_QUESTION_BYTES)),
                false => Request::Ask((*body).into()),
            },
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
            action::REGISTER => {
                let value = operation.value.ok_or(CodecError::Missing("the value"))?;
                let (value, health) = (self.value(&value)?, read_health(operation.health)?);
                let version = operation.expected.map(|expected| expected.version);
                let expected = version.map(read_stamp).transpose()?;
                Ok(Operation::Register { tag, key, stamp: stamp()?, value, health, expected })
            }
            action::DEREGISTER => Ok(Operation::Deregister { tag, key, stamp: stamp()? }),
            action::HEAR => Ok(Operation::Hear { tag, key }),
            action::JUDGE => {
                let health = read_health(operation.health)?;
                Ok(Operation::Judge { tag, key, stamp: stamp()?, health })
            }
            action::CLOSE => Ok(Operation::Close { tag, stamp: stamp()? }),
            action => Err(unknown("action", action)),
        }
    }
}
