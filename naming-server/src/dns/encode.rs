//! Answers as bytes, within a number of bytes.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::cookie;

/// Bytes of the head of a message.
pub(super) const HEAD_BYTES: usize = 12;
/// Bytes of the record that carries EDNS, without options.
const EDNS_BYTES: usize = 11;
/// Bytes before the content of an option.
const OPTION_BYTES: usize = 4;
/// Code of the option that carries a cookie.
pub(super) const COOKIE_OPTION: u16 = 10;

/// What a message says.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Left out where they do not fit: nobody asked for them.
    pub(super) additionals: Vec<Record>,
}

/// What answers a question with EDNS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension {
    /// Bytes of a datagram that this server takes.
    pub(super) payload: u16,
    /// Whether the question asked for DNSSEC: to be repeated.
    pub(super) dnssec_ok: bool,
    /// For the client to show with its next question, if there is room for it.
    pub(super) cookie: Option<[u8; cookie::BYTES]>,
}

/// A message of at most `limit` bytes. What does not fit is left out and the message says so; of a
/// question that does not fit there is only the head.
pub(super) fn encode(
    head: Metadata,
    query: &Query,
    sections: &Sections,
    extension: Option<Extension>,
    limit: u16,
) -> Result<Encoded, ProtoError> {
    let with_cookie = encode_with(head, query, sections, extension, limit);
    let has_room = |encoded: &Result<Encoded, ProtoError>| {
        encoded.as_ref().is_ok_and(|encoded| !encoded.is_truncated)
    };
    match extension {
        // Rather the answer than the cookie.
        Some(Extension { cookie: Some(_), .. }) if !has_room(&with_cookie) => {
            let extension = extension.map(|it| Extension { cookie: None, ..it });
            let without = encode_with(head, query, sections, extension, limit);
            if has_room(&without) || with_cookie.is_err() { without } else { with_cookie }
        }
        _ => with_cookie,
    }
}

/// A message as bytes.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) is_truncated: bool,
}

fn encode_with(
    head: Metadata,
    query: &Query,
    sections: &Sections,
    extension: Option<Extension>,
    limit: u16,
) -> Result<Encoded, ProtoError> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    let kept_free = u16::try_from(extension.map_or(0, |it| it.bytes())).unwrap_or(u16::MAX);
    encoder.set_max_size(limit.saturating_sub(kept_free));
    let place = encoder.place::<Header>()?;
    query.emit(&mut encoder)?;
    let mut counts = HeaderCounts { queries: 1, ..HeaderCounts::default() };
    let mut fits = true;
    let wanted = [&sections.answers, &sections.authorities, &sections.additionals];
    let counters = [&mut counts.answers, &mut counts.authorities, &mut counts.additionals];
    for (is_asked_for, (records, counter)) in
        [true, true, false].into_iter().zip(wanted.into_iter().zip(counters))
    {
        if !fits {
            break;
        }
        let (count, is_whole) = match encoder.emit_all(records.iter()) {
            Ok(count) => (count, true),
            Err(ProtoError::NotAllRecordsWritten { count, .. }) => (count, false),
            Err(error) => return Err(error),
        };
        *counter = u16::try_from(count).unwrap_or(u16::MAX);
        fits = is_whole || !is_asked_for;
    }
    encoder.set_max_size(limit);
    if let Some(extension) = extension {
        extension.edns(head.response_code).emit(&mut encoder)?;
        counts.additionals = counts.additionals.saturating_add(1);
    }
    let is_truncated = head.truncation || !fits;
    let mut metadata = head;
    metadata.truncation = is_truncated;
    place.replace(&mut encoder, Header { metadata, counts })?;
    // What was taken back is still there behind the end.
    let length = encoder.offset();
    bytes.truncate(length);
    Ok(Encoded { bytes, is_truncated })
}

impl Extension {
    fn bytes(self) -> usize {
        EDNS_BYTES + self.cookie.map_or(0, |cookie| OPTION_BYTES + cookie.len())
    }

    fn edns(self, code: ResponseCode) -> Edns {
        let mut edns = Edns::new();
        edns.set_rcode_high(code.high());
        edns.set_max_payload(self.payload).set_dnssec_ok(self.dnssec_ok);
        if let Some(cookie) = self.cookie {
            edns.options_mut().insert(EdnsOption::Unknown(COOKIE_OPTION, cookie.into()));
        }
        edns
    }
}

/// The answer to what cannot be read, or not be repeated: the head alone.
pub(super) fn head_only(head: Metadata) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    let header = Header { metadata: head, counts: HeaderCounts::default() };
    let written = header.emit(&mut BinEncoder::new(&mut bytes));
    debug_assert!(written.is_ok(), "a head always fits");
    bytes
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;

    fn sections(count: u8) -> Sections {
        let name = Name::from_ascii("orders.nacos.internal.").unwrap();
        let record = |n| Record::from_rdata(name.clone(), 5, RData::A(A::new(10, 0, 0, n)));
        let answers: Vec<_> = (0..count).map(record).collect();
        Sections { answers: answers.clone(), additionals: answers, ..Sections::default() }
    }

    fn message(count: u8, cookie: bool, limit: u16) -> (Message, usize) {
        let head = Metadata::new(7, MessageType::Response, OpCode::Query);
        let name = Name::from_ascii("Orders.nacos.internal.").unwrap();
        let query = Query::query(name, RecordType::A);
        let cookie = cookie.then_some([1; cookie::BYTES]);
        let extension = Extension { payload: 1_232, dnssec_ok: false, cookie };
        let encoded = encode(head, &query, &sections(count), Some(extension), limit).unwrap();
        let message = Message::from_vec(&encoded.bytes).unwrap();
        assert_eq!(message.metadata.truncation, encoded.is_truncated);
        (message, encoded.bytes.len())
    }

    #[test]
    fn every_limit_is_kept_and_what_is_left_is_whole() {
        let least = HEAD_BYTES + 27 + EDNS_BYTES;
        let (_, most) = message(20, true, u16::MAX);
        for limit in least..=most {
            let (message, length) = message(20, true, limit as u16);
            assert!(length <= limit, "{length} of {limit}");
            assert!(message.edns.is_some() && message.queries.len() == 1);
            assert_eq!(message.metadata.truncation, message.answers.len() < 20);
            assert!(message.answers.len() == 20 || message.additionals.is_empty());
        }
    }

    #[test]
    fn a_cookie_goes_where_there_is_room_for_it() {
        let has_cookie = |limit| {
            let (message, _) = message(1, true, limit);
            let edns = message.edns.unwrap();
            (message.answers.len(), !edns.options().as_ref().is_empty())
        };
        let (_, bare) = message(1, false, 60 + 16 + 11);
        assert_eq!(has_cookie(512), (1, true));
        assert_eq!(has_cookie(bare as u16), (1, false), "rather the answer than the cookie");
    }
}
