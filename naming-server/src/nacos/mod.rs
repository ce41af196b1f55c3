//! The dialect of Java servers of Nacos 1.4: what they say to each other, as text.
//!
//! Nothing here does IO or keeps state: bytes in, plain values out, and back. It stands in this
//! crate because its messages are full of naming words (services, instances, clusters), which
//! the crates below do not know.
//!
//! Reading is as lenient as Java's, but what makes a Java server misbehave is refused as a whole:
//! a list with `null` in it, a datum without key or value, a name that cannot be stored. Writing
//! is exact: the fields of Java in the order of Java.

mod absences;
mod adapter;
mod caller;
mod checksum;
mod datum;
mod identity;
mod instance;
mod member;
mod outbox;
mod owner;
mod rings;
pub(crate) mod roster;
mod scalar;
mod states;
mod status;
#[cfg(test)]
mod tests;
mod voter;
mod wire;

pub(crate) use adapter::{
    Adapter, AdapterParts, AdapterSettings, Found, OtherShown, Outboxes, Owner, RetainedWrite,
    Sender,
};
pub(crate) use caller::{Caller, Redirect, Reported};
pub(crate) use checksum::{list_checksum, parse_checksums, render_checksums};
pub(crate) use datum::{PeerDatum, parse_datums, parse_keys, render_datums, render_keys};
pub(crate) use identity::PeerIdentity;
pub(crate) use instance::PeerInstance;
pub(crate) use member::{BadReport, PeerState, parse_report, report_answer};
pub(crate) use owner::owner_number;
pub(crate) use status::{
    InstanceStatus, parse_instance_statuses, parse_statuses, render_instance_statuses,
    render_statuses,
};
pub(crate) use voter::{RaftPeer, parse_leader_beat, parse_vote};
pub(crate) use wire::CallError;

use crate::registry::{push_display, push_string};
use crate::text::cut;

/// Bytes of a broken message that are shown in the error.
const MAX_SHOWN: usize = 80;

/// A message that cannot be taken. Nothing of it may be used: it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadMessage(String);

impl BadMessage {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What is no JSON, or JSON of another shape.
    fn of_json(what: &str, error: &serde_json::Error) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// What is wrong with a text from the message; its beginning is shown.
    fn about(problem: &str, text: &str) -> Self {
        Self(format!("{problem}: {}", cut(text, MAX_SHOWN)))
    }
}

/// The text of a body.
fn text_of<'a>(what: &str, body: &'a [u8]) -> Result<&'a str, BadMessage> {
    std::str::from_utf8(body).map_err(|_| BadMessage(format!("{what}: the body is not UTF-8")))
}

/// Reads a body as one JSON value.
fn parse_json<'a, T: serde::Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T, BadMessage> {
    serde_json::from_str(text_of(what, body)?).map_err(|error| BadMessage::of_json(what, &error))
}

/// Appends `text` as a JSON string of ASCII characters only: some Java servers take what they
/// receive for text in the character set of their machine.
fn push_ascii_string(out: &mut String, text: &str) {
    let start = out.len();
    push_string(out, text);
    if text.is_ascii() {
        return;
    }
    let quoted = out.split_off(start);
    for c in quoted.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            push_display(out, format_args!("\\u{unit:04x}"));
        }
    }
}
