use distro_core::{
    Beat, Contact, Entry, Health, MemberId, Operation, Phase, Record, SLOT_COUNT, Slot, Stamp,
    StampRange, Stamps, TagSum,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::questions::{MOST_QUESTION_BYTES, MOST_TOLD_BYTES};

struct Texts;

impl ValueCodec<String> for Texts {
    fn encode(&self, value: &String, target: &mut Vec<u8>) {
        target.extend_from_slice(value.as_bytes());
    }
    fn decode(&self, source: &[u8]) -> Result<String, BadValue> {
        String::from_utf8(source.into()).map_err(|error| BadValue(error.to_string()))
    }
}

fn codec() -> Codec<String> {
    Codec::new(Arc::new(Texts), Limits::default())
}

fn name() -> impl Strategy<Value = Arc<str>> {
    // Few, so that neighbours in lists share tags.
    prop_oneof!["[ab]", "", "\\PC{0,20}"].prop_map(Arc::from)
}

fn tag_sum() -> impl Strategy<Value = TagSum> {
    (name(), any::<u64>(), option::of(any::<bool>())).prop_map(|(tag, sum, is_open)| TagSum {
        tag,
        sum,
        is_open,
    })
}

fn stamps() -> impl Strategy<Value = Stamp> {
    let issued = (1..=Stamp::LATEST_TIME, any::<u32>(), any::<u32>());
    let issued = issued.prop_map(|(time, id, start)| Stamp::from_parts(time, MemberId(id), start));
    prop_oneof![Just(Stamp::NEVER), issued]
}

fn healths() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Expired)]
}

fn phases() -> impl Strategy<Value = Phase> {
    use Phase::{Joining, Leaving, Loading, Up};
    prop_oneof![Just(Joining), Just(Loading), Just(Up), Just(Leaving)]
}

fn slots() -> impl Strategy<Value = Slot> {
    (0..SLOT_COUNT).prop_map(|index| Slot::at(index).unwrap())
}

fn records() -> impl Strategy<Value = Record<String>> {
    let value = option::of("\\PC{0,40}").prop_map(|value| value.map(Arc::new));
    (stamps(), stamps(), stamps(), healths(), value).prop_map(
        |(registration, liveness, deregistered, judged, value)| Record {
            registration,
            liveness,
            deregistered,
            judged,
            value,
        },
    )
}

fn entries() -> impl Strategy<Value = Vec<Entry<String>>> {
    let entry = (name(), name(), records());
    vec(entry.prop_map(|(tag, key, record)| Entry { tag, key, record }), 0..6)
}

fn ranges() -> impl Strategy<Value = StampRange> {
    let stamp = (stamps(), stamps(), stamps(), any::<bool>()).prop_map(
        |(registration, liveness, deregistered, is_visible)| Stamps {
            registration,
            liveness,
            deregistered,
            is_visible,
        },
    );
    (name(), option::of(name()), option::of(name()), vec((name(), stamp), 0..4))
        .prop_map(|(tag, after, until, stamps)| StampRange { tag, after, until, stamps })
}

fn operations() -> impl Strategy<Value = Operation<String>> {
    let issued = || stamps().prop_filter("issued", |stamp| !stamp.is_never());
    let value = "\\PC{0,40}".prop_map(Arc::new);
    let register = (name(), name(), issued(), value, healths(), option::of(stamps()));
    prop_oneof![
        register.prop_map(|(tag, key, stamp, value, health, expected)| Operation::Register {
            tag,
            key,
            stamp,
            value,
            health,
            expected
        }),
        (name(), name(), issued())
            .prop_map(|(tag, key, stamp)| Operation::deregister(tag, key, stamp)),
        (name(), name(), issued(), healths())
            .prop_map(|(tag, key, stamp, health)| Operation::judge(tag, key, stamp, health)),
        (name(), issued()).prop_map(|(tag, stamp)| Operation::close(tag, stamp)),
        (name(), name()).prop_map(|(tag, key)| Operation::hear(tag, key)),
    ]
}

fn beats() -> impl Strategy<Value = Vec<Beat>> {
    let beat = (name(), name(), any::<u64>(), any::<u8>(), 0..=Stamp::LATEST_TIME);
    let beat =
        beat.prop_map(|(tag, key, age_ms, hops, written)| Beat { tag, key, age_ms, hops, written });
    vec(beat, 0..6)
}

fn requests() -> impl Strategy<Value = Request<String>> {
    prop_oneof![
        (vec(slots(), 0..20), option::of((name(), name())))
            .prop_map(|(slots, after)| Request::Account { slots, after }),
        phases().prop_map(|phase| Request::Probe { phase }),
        entries().prop_map(Request::Replicate),
        entries().prop_map(Request::Persist),
        beats().prop_map(Request::Renew),
        (any::<u64>(), option::of(any::<u64>()))
            .prop_map(|(root, open)| Request::Verify { root, open }),
        vec(slots(), 0..20).prop_map(Request::Tags),
        vec(ranges(), 0..4).prop_map(Request::Compare),
        (slots(), slots(), option::of((name(), name())))
            .prop_map(|(first, last, after)| Request::Load { first, last, after }),
        operations().prop_map(Request::Forward),
        vec(any::<u64>(), 0..20).prop_map(|clients| Request::Arrived { clients }),
        vec(any::<u8>(), 0..200).prop_map(|question| Request::Ask(question.into())),
        any::<u32>().prop_map(|incarnation| Request::Leave { incarnation }),
    ]
}

fn replies() -> impl Strategy<Value = Reply<String>> {
    let contact = (any::<u32>(), any::<u32>(), phases(), any::<u64>()).prop_map(
        |(member, incarnation, phase, age_ms)| Contact {
            member: MemberId(member),
            incarnation,
            phase,
            age_ms,
        },
    );
    let places = || vec((name(), name()), 0..6);
    prop_oneof![
        (any::<u32>(), phases(), vec(contact, 0..5), any::<u64>(), any::<Option<u32>>()).prop_map(
            |(incarnation, phase, contacts, list, connections)| Reply::Probed {
                incarnation,
                phase,
                contacts,
                list,
                connections,
            }
        ),
        Just(()).prop_map(|()| Reply::Done),
        (entries(), places()).prop_map(|(removed, unknown)| Reply::Renewed { removed, unknown }),
        Just(()).prop_map(|()| Reply::Same),
        (vec(any::<u64>(), SLOT_COUNT), any::<bool>()).prop_map(|(sums, compares)| {
            let open = if compares { sums.clone() } else { Vec::new() };
            Reply::Differs { sums, open }
        }),
        (0..2_000_usize, vec(tag_sum(), 0..6))
            .prop_map(|(slots, sums)| Reply::Tags { slots, sums }),
        (entries(), places(), option::of((0..2_000_usize, name()))).prop_map(
            |(given, wanted, stopped)| Reply::Compared { given, wanted, stopped, unread: vec![] }
        ),
        vec((name(), name()), 1..6).prop_map(Reply::DoneBut),
        vec(any::<u8>(), 0..200).prop_map(Reply::Told),
        (entries(), any::<bool>()).prop_map(|(entries, more)| {
            let last = entries.last().map(|entry| (entry.tag.clone(), entry.key.clone()));
            Reply::Page { entries, more, last }
        }),
        (beats(), vec(slots(), 0..20), option::of((name(), name())), any::<u64>()).prop_map(
            |(beats, told, stopped, listening_ms)| Reply::Accounted {
                beats,
                told,
                stopped,
                listening_ms
            }
        ),
        (option::of(records()), any::<bool>())
            .prop_map(|(record, is_refused)| Reply::Forwarded { record, is_refused }),
        Just(()).prop_map(|()| Reply::AsSent),
        Just(()).prop_map(|()| Reply::Busy),
    ]
}

fn shown(message: &impl std::fmt::Debug) -> String {
    format!("{message:?}")
}

proptest! {
    #[test]
    fn requests_survive_the_way(request in requests()) {
        let bytes = codec().encode_request(&request).unwrap();
        let decoded = codec().decode_request(bytes.into()).unwrap();
        prop_assert_eq!(shown(&decoded), shown(&request));
    }

    #[test]
    fn replies_survive_the_way(reply in replies()) {
        let bytes = codec().encode_reply(&reply).unwrap();
        let decoded = codec().decode_reply(bytes.into()).unwrap();
        prop_assert_eq!(shown(&decoded), shown(&reply));
    }

    #[test]
    fn random_bytes_never_panic(kind in 0..80_u32, body in vec(any::<u8>(), 0..300)) {
        let _ = codec().decode_request(Bytes::from(body.clone()));
        let body = Some(Bytes::from(body));
        let inner = wire::Envelope { major: MAJOR, minor: MINOR, kind, body }.encode_to_vec();
        let _ = codec().decode_request(inner.clone().into());
        let _ = codec().decode_reply(inner.into());
    }

    #[test]
    fn a_message_cut_short_is_refused(request in requests(), part in 0.0..1.0_f64) {
        let mut bytes = codec().encode_request(&request).unwrap();
        let keep = (bytes.len() as f64 * part) as usize;
        bytes.truncate(keep);
        prop_assert!(codec().decode_request(bytes.into()).is_err());
    }

    #[test]
    fn changed_bytes_never_panic(
        request in requests(),
        reply in replies(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut messages =
            [codec().encode_request(&request).unwrap(), codec().encode_reply(&reply).unwrap()];
        for bytes in &mut messages {
            for (place, value) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *value;
            }
            let _ = codec().decode_request(bytes.clone().into());
            let _ = codec().decode_reply(bytes.clone().into());
        }
    }
}

fn with_body(major: u32, kind: u32, body: Vec<u8>) -> Bytes {
    wire::Envelope { major, minor: 0, kind, body: Some(body.into()) }.encode_to_vec().into()
}

#[test]
fn another_major_version_is_refused_and_a_newer_minor_is_not() {
    let other = with_body(2, wire::kind::DONE, vec![]);
    assert_eq!(codec().decode_reply(other).unwrap_err(), CodecError::Version { major: 2 });
    // Field 99, a varint, in the envelope and in the body: what a later minor version may add.
    let addition = [0x98, 0x06, 0x07];
    let mut body = wire::Probe { phase: 2 }.encode_to_vec();
    body.extend_from_slice(&addition);
    let mut newer =
        wire::Envelope { major: 1, minor: 7, kind: wire::kind::PROBE, body: Some(body.into()) }
            .encode_to_vec();
    newer.extend_from_slice(&addition);
    let decoded = codec().decode_request(newer.into()).unwrap();
    assert!(matches!(decoded, Request::Probe { phase: Phase::Up }));
}

#[test]
fn numbers_that_stand_for_nothing_are_refused() {
    use wire::kind;
    let probe = wire::Probe { phase: 4 }.encode_to_vec();
    let slots = wire::Slots { slots: vec![1, 1_024] }.encode_to_vec();
    let operation = wire::Operation {
        action: 5,
        place: Some(wire::Place { tag: Some("t".into()), key: "k".into() }),
        ..Default::default()
    };
    let few = wire::Differs { sums: vec![1; 1_023], open: Vec::new() }.encode_to_vec();
    for (kind, body) in [
        (99, vec![]),
        (kind::DONE, vec![]),
        (kind::PROBE, probe),
        (kind::TAGS, slots),
        (kind::FORWARD, operation.encode_to_vec()),
    ] {
        let error = codec().decode_request(with_body(MAJOR, kind, body)).unwrap_err();
        assert!(matches!(error, CodecError::Unknown { .. }), "{kind}: {error}");
    }
    let error = codec().decode_reply(with_body(MAJOR, kind::DIFFERS, few)).unwrap_err();
    assert!(matches!(error, CodecError::Unknown { .. }), "{error}");
}

#[test]
fn stamps_that_nobody_can_have_issued_are_refused() {
    let stamp = |time| Stamp::from_parts(time, MemberId(1), 1);
    let record = |registration, liveness, deregistered| {
        let record = Record { registration, liveness, deregistered, ..Record::default() };
        Request::Replicate(vec![Entry { tag: "t".into(), key: "k".into(), record }])
    };
    for (time, is_fine) in
        [(Stamp::LATEST_TIME, true), (Stamp::LATEST_TIME + 1, false), (u64::MAX, false)]
    {
        let (at, never) = (stamp(time), Stamp::NEVER);
        let beat = Beat { tag: "t".into(), key: "k".into(), age_ms: 0, hops: 1, written: time };
        for request in
            [record(at, never, never), record(never, at, never), record(never, never, at)]
        {
            let (entries, unread) = read(&request);
            assert_eq!((entries.len(), unread.len()), if is_fine { (1, 0) } else { (0, 1) });
        }
        for request in
            [Request::Forward(Operation::deregister("t", "k", at)), Request::Renew(vec![beat])]
        {
            let bytes = codec().encode_request(&request).unwrap();
            let decoded = codec().decode_request(bytes.into());
            assert_eq!(decoded.is_ok(), is_fine, "{time}: {request:?}");
        }
    }
}

/// What is read of a replication, and what cannot be read.
fn read(request: &Request<String>) -> (Vec<Entry<String>>, Vec<Unread>) {
    let (bytes, mut unread) = (codec().encode_request(request).unwrap(), Vec::new());
    match codec().decode_request_and_note(bytes.into(), &mut unread).unwrap() {
        Request::Replicate(entries) => (entries, unread),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_that_must_be_there_are_missed() {
    use wire::kind;
    let place =
        |tag: Option<&str>| Some(wire::Place { tag: tag.map(String::from), key: "k".into() });
    let list = |entry: wire::Entry| {
        wire::List { items: vec![entry.encode_to_vec().into()] }.encode_to_vec()
    };
    let record = Some(wire::Record::default());
    let zero = wire::Record {
        registration: Some(wire::Stamp { time: 0, member: 1, incarnation: 1 }),
        ..Default::default()
    };
    let operation =
        |action| wire::Operation { action, place: place(Some("t")), ..Default::default() };
    for (kind, body) in [
        (kind::REPLICATE, list(wire::Entry { place: place(None), record: record.clone() })),
        (kind::REPLICATE, list(wire::Entry { place: None, record })),
        (kind::REPLICATE, list(wire::Entry { place: place(Some("t")), record: None })),
        (kind::PERSIST, list(wire::Entry { place: place(Some("t")), record: Some(zero) })),
        (kind::FORWARD, operation(0).encode_to_vec()),
        (kind::FORWARD, operation(1).encode_to_vec()),
        (kind::FORWARD, operation(3).encode_to_vec()),
        (kind::FORWARD, operation(4).encode_to_vec()),
    ] {
        let error = codec().decode_request(with_body(MAJOR, kind, body)).unwrap_err();
        assert!(matches!(error, CodecError::Missing(_)), "{kind}: {error}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_takes_memory() {
    let limits = Limits { message_bytes: 4_000, items: 10, name_bytes: 5, value_bytes: 5 };
    let codec = Codec::new(Arc::new(Texts), limits);
    let entry = |tag: &str, value: &str| Entry {
        tag: tag.into(),
        key: "k".into(),
        record: Record {
            registration: Stamp::from_parts(1, MemberId(1), 1),
            value: Some(Arc::new(value.into())),
            ..Record::default()
        },
    };
    let refused = |request: &Request<String>| {
        let bytes = codec.encode_request(request).unwrap();
        match codec.decode_request(bytes.into()).unwrap_err() {
            CodecError::TooLarge { what, .. } => what,
            error => panic!("{error}"),
        }
    };
    assert_eq!(refused(&Request::Persist(vec![entry("t", "123456")])), "a value");
    assert_eq!(refused(&Request::Persist(vec![entry("123456", "")])), "a tag or key");
    let register = Operation::register(
        "t",
        "k",
        Stamp::from_parts(1, MemberId(1), 1),
        Arc::new("123456".into()),
        Health::Healthy,
    );
    assert_eq!(refused(&Request::Forward(register)), "a value");
    assert_eq!(refused(&Request::Replicate(vec![entry("t", ""); 11])), "the list");
    let range = StampRange {
        tag: "t".into(),
        after: None,
        until: None,
        stamps: vec![("k".into(), Stamps::default()); 5],
    };
    assert_eq!(refused(&Request::Compare(vec![range; 2])), "the list");
    let slots = vec![Slot::at(7).unwrap(); SLOT_COUNT + 1];
    assert_eq!(refused(&Request::Tags(slots.clone())), "the list");
    assert_eq!(refused(&Request::Account { slots, after: None }), "the list");
    assert_eq!(refused(&Request::Arrived { clients: vec![7; 11] }), "the list");
    let long = Request::Replicate(vec![entry("t", &"v".repeat(4_000))]);
    assert!(matches!(codec.encode_request(&long), Err(CodecError::TooLarge { .. })));
    let long = Bytes::from(vec![0; 4_001]);
    assert!(matches!(codec.decode_request(long), Err(CodecError::TooLarge { .. })));
}

#[test]
fn questions_and_answers_are_taken_up_to_their_limits() {
    let codec = codec();
    let question = |bytes: usize| {
        let request = Request::<String>::Ask(std::vec::from_elem(7, bytes).into());
        codec.decode_request(codec.encode_request(&request).unwrap().into())
    };
    let answer = |bytes: usize| {
        let reply = Reply::<String>::Told(std::vec::from_elem(7, bytes));
        codec.decode_reply(codec.encode_reply(&reply).unwrap().into())
    };
    question(MOST_QUESTION_BYTES).unwrap();
    answer(MOST_TOLD_BYTES).unwrap();
    let refused = question(MOST_QUESTION_BYTES + 1).unwrap_err();
    assert!(matches!(refused, CodecError::TooLarge { what: "the question", .. }), "{refused}");
    let refused = answer(MOST_TOLD_BYTES + 1).unwrap_err();
    assert!(matches!(refused, CodecError::TooLarge { what: "the answer", .. }), "{refused}");
}

#[test]
fn a_tag_is_sent_once_for_its_neighbours_and_shared_by_them() {
    let entry = || Entry { tag: "a-long-tag".into(), key: "k".into(), record: Record::default() };
    let one = codec().encode_request(&Request::Replicate(vec![entry()])).unwrap();
    let two = codec().encode_request(&Request::Replicate(vec![entry(), entry()])).unwrap();
    assert!(two.len() - one.len() < "a-long-tag".len());
    let Ok(Request::Replicate(entries)) = codec().decode_request(two.into()) else {
        panic!("a replication");
    };
    assert!(Arc::ptr_eq(&entries[0].tag, &entries[1].tag));
}

/// A release that cannot read what begins with a mark.
struct Earlier;

const MARK: char = '!';

impl ValueCodec<String> for Earlier {
    fn encode(&self, value: &String, target: &mut Vec<u8>) {
        Texts.encode(value, target);
    }
    fn decode(&self, source: &[u8]) -> Result<String, BadValue> {
        let value = Texts.decode(source)?;
        if value.starts_with(MARK) { Err(BadValue("of a later release".into())) } else { Ok(value) }
    }
}

fn written(tag: &str, key: &str, value: &str) -> Entry<String> {
    let registration = Stamp::from_parts(1, MemberId(1), 1);
    let record = Record { registration, value: Some(Arc::new(value.into())), ..Record::default() };
    Entry { tag: tag.into(), key: key.into(), record }
}

/// A list of which a member of an earlier release can read two of five, and not the last.
fn mixed() -> Vec<Entry<String>> {
    vec![
        written("t", "a", "!"),
        written("t", "b", "text"),
        written("u", "a", "!"),
        written("u", "b", "text"),
        written("u", &"k".repeat(Limits::default().name_bytes + 1), "text"),
    ]
}

fn places(entries: &[Entry<String>]) -> Vec<RecordId> {
    entries.iter().map(|entry| (entry.tag.clone(), entry.key.clone())).collect()
}

#[test]
fn a_record_that_cannot_be_read_is_left_out_and_does_not_spoil_its_neighbours() {
    let earlier = Codec::new(Arc::new(Earlier), Limits::default());
    let all = places(&mixed());
    let [readable, unreadable] = [[1, 3].as_slice(), &[0, 2, 4]]
        .map(|which| which.iter().map(|n: &usize| all[*n].clone()).collect::<Vec<_>>());
    let noted = |unread: Vec<Unread>| -> Vec<RecordId> {
        unread.into_iter().map(|unread| unread.place).collect()
    };

    let mut unread = Vec::new();
    let bytes = codec().encode_request(&Request::Replicate(mixed())).unwrap();
    let request = earlier.decode_request_and_note(bytes.into(), &mut unread).unwrap();
    let Request::Replicate(entries) = request else { panic!("a replication") };
    assert_eq!((places(&entries), noted(unread)), (readable.clone(), unreadable.clone()));

    let page = Reply::Page { entries: mixed(), more: true, last: None };
    let (bytes, mut unread) = (codec().encode_reply(&page).unwrap(), Vec::new());
    let reply = earlier.decode_reply_and_note(bytes.into(), &mut unread).unwrap();
    let Reply::Page { entries, more: true, last } = reply else { panic!("a page") };
    assert_eq!((places(&entries), noted(unread)), (readable.clone(), unreadable.clone()));
    assert_eq!(last.as_ref(), all.last(), "the next page begins after it");

    let compared =
        Reply::Compared { given: mixed(), wanted: vec![], stopped: None, unread: vec![] };
    let bytes = codec().encode_reply(&compared).unwrap();
    let Reply::Compared { given, unread, .. } = earlier.decode_reply(bytes.into()).unwrap() else {
        panic!("a comparison")
    };
    assert_eq!((places(&given), unread), (readable, unreadable));

    // A single write that cannot be read is refused, and so is the whole of what is to be on disk.
    let hold = codec().encode_request(&Request::Persist(mixed())).unwrap();
    assert!(earlier.decode_request(hold.into()).is_err());
    let forwarded = Reply::Forwarded {
        record: mixed().into_iter().next().map(|entry| entry.record),
        is_refused: false,
    };
    let forwarded = codec().encode_reply(&forwarded).unwrap();
    assert!(matches!(earlier.decode_reply(forwarded.into()), Err(CodecError::Value(_))));
}
