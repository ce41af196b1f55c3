//! The messages of every release so far must be understood by this one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use distro_core::{
    Beat, Contact, Entry, Health, MemberId, Operation, Phase, Record, Reply, Request, SLOT_COUNT,
    Slot, Stamp, StampRange, Stamps, TagSum,
};
use distro_net::{BadValue, Codec, Limits, MAJOR, MINOR, ValueCodec};

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

enum Message {
    Request(Request<String>),
    Reply(Reply<String>),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => codec().encode_request(request).unwrap(),
            Self::Reply(reply) => codec().encode_reply(reply).unwrap(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Request(request) => format!("{request:?}"),
            Self::Reply(reply) => format!("{reply:?}"),
        }
    }

    /// What bytes mean that should be a message of this kind.
    fn decode(&self, bytes: Bytes) -> String {
        match self {
            Self::Request(_) => format!("{:?}", codec().decode_request(bytes).unwrap()),
            Self::Reply(_) => format!("{:?}", codec().decode_reply(bytes).unwrap()),
        }
    }
}

fn stamp(n: u64) -> Stamp {
    Stamp::from_parts((1_700_000_000_000 + n) << 16 | n, MemberId(0xdead_beef), 1_700_000_000)
}

fn entries() -> Vec<Entry<String>> {
    let tag = "public##DEFAULT_GROUP@@demo";
    let entry = |key: &str, record| Entry { tag: tag.into(), key: key.into(), record };
    let visible = Record {
        registration: stamp(1),
        liveness: stamp(2),
        judged: Health::Unhealthy,
        value: Some(Arc::new("a value".into())),
        ..Record::default()
    };
    let expired = Record {
        registration: stamp(1),
        liveness: stamp(3),
        judged: Health::Expired,
        ..Record::default()
    };
    let removed = Record { deregistered: stamp(4), ..Record::default() };
    let settings = Record { value: Some(Arc::new(String::new())), ..visible.clone() };
    let other = Entry { tag: "other".into(), key: "".into(), record: settings };
    vec![entry("1", visible), entry("2", expired), entry("3", removed), other]
}

fn places() -> Vec<(Arc<str>, Arc<str>)> {
    [("t", "1"), ("t", "2"), ("u", "")].map(|(tag, key)| (tag.into(), key.into())).into()
}

fn requests() -> Vec<(&'static str, Request<String>)> {
    let (tag, key): (Arc<str>, Arc<str>) = ("t".into(), "k".into());
    let slot = |index| Slot::at(index).unwrap();
    let beat = |key: &str, age_ms, hops| Beat {
        tag: "t".into(),
        key: key.into(),
        age_ms,
        hops,
        written: stamp(9).time(),
    };
    let stamps = Stamps {
        registration: stamp(1),
        liveness: stamp(2),
        deregistered: Stamp::NEVER,
        is_visible: true,
    };
    let whole = StampRange {
        tag: tag.clone(),
        after: None,
        until: None,
        stamps: vec![("1".into(), stamps), ("2".into(), Stamps::default())],
    };
    let part = StampRange { after: Some("1".into()), until: Some("2".into()), ..whole.clone() };
    let value = Arc::new(String::from("a value"));
    let register = Operation::register("t", "k", stamp(7), value, Health::Unhealthy);
    let forward = Request::Forward;
    let (first, last) = (slot(0), slot(1_023));
    let place = Some((tag.clone(), key.clone()));
    vec![
        ("probe", Request::Probe { phase: Phase::Loading }),
        ("replicate", Request::Replicate(entries())),
        ("hold", Request::Persist(entries())),
        ("renew", Request::Renew(vec![beat("1", 0, 0), beat("2", 12_345, 2)])),
        ("verify", Request::Verify { root: 0x0123_4567_89ab_cdef, open: None }),
        ("verify-open", Request::Verify { root: 0x0123_4567_89ab_cdef, open: Some(9) }),
        ("tags", Request::Tags(vec![slot(0), slot(438), slot(1_023)])),
        ("compare", Request::Compare(vec![whole, part])),
        ("account", Request::Account { slots: vec![slot(0), slot(1_023)], after: None }),
        ("account-after", Request::Account { slots: vec![slot(438)], after: place.clone() }),
        ("load", Request::Load { first, last, after: None }),
        ("load-after", Request::Load { first, last, after: place }),
        ("forward-register", forward(register.clone())),
        ("forward-register-if", forward(register.clone().expecting(stamp(6)))),
        ("forward-register-new", forward(register.expecting(Stamp::NEVER))),
        ("forward-deregister", forward(Operation::deregister("t", "k", stamp(8)))),
        ("forward-hear", forward(Operation::hear("t", "k"))),
        ("forward-judge", forward(Operation::judge("t", "k", stamp(9), Health::Unhealthy))),
        ("forward-close", forward(Operation::close("t", stamp(10)))),
        ("arrived", Request::Arrived { clients: vec![0, 0x0123_4567_89ab_cdef, u64::MAX] }),
        ("ask", Request::Ask((*b"{\"who\":\"is there?\"}").into())),
        ("leave", Request::Leave { incarnation: 1_700_000_000 }),
    ]
}

fn compared(
    given: Vec<Entry<String>>,
    wanted: Vec<(Arc<str>, Arc<str>)>,
    stopped: Option<(usize, Arc<str>)>,
) -> Reply<String> {
    Reply::Compared { given, wanted, stopped, unread: vec![] }
}

fn last_of(entries: &[Entry<String>]) -> Option<(Arc<str>, Arc<str>)> {
    entries.last().map(|entry| (entry.tag.clone(), entry.key.clone()))
}

fn replies() -> Vec<(&'static str, Reply<String>)> {
    let contact = |member, phase| Contact {
        member: MemberId(member),
        incarnation: 1_700_000_000,
        phase,
        age_ms: 250,
    };
    let contacts = vec![contact(1, Phase::Up), contact(u32::MAX, Phase::Leaving)];
    let sums: Vec<u64> =
        (0..SLOT_COUNT as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let record = entries().into_iter().next().map(|entry| entry.record);
    let stopped = Some((1, "k".into()));
    let probed = |contacts, list| {
        let (incarnation, phase) = (1_700_000_000, Phase::Up);
        Reply::Probed { incarnation, phase, contacts, list, connections: None }
    };
    let written = stamp(9).time();
    let beat = Beat { tag: "t".into(), key: "k".into(), age_ms: 12_345, hops: 0, written };
    let accounted = |beats, stopped| {
        let told = vec![Slot::at(0).unwrap(), Slot::at(1_023).unwrap()];
        Reply::Accounted { beats, told, stopped, listening_ms: 3_600_000 }
    };
    vec![
        ("probed", probed(contacts.clone(), 0)),
        ("probed-list", probed(contacts, 0x0123_4567_89ab_cdef)),
        ("done", Reply::Done),
        ("done-but", Reply::DoneBut(places())),
        ("renewed", Reply::Renewed { removed: entries(), unknown: places() }),
        ("same", Reply::Same),
        ("differs", Reply::Differs { sums: sums.clone(), open: Vec::new() }),
        ("differs-open", Reply::Differs { open: sums.clone(), sums }),
        (
            "tag-sums",
            Reply::Tags { slots: 3, sums: vec![tag_sum("t", 7, None), tag_sum("u", 8, None)] },
        ),
        (
            "tag-sums-open",
            Reply::Tags {
                slots: 3,
                sums: vec![tag_sum("t", 7, Some(true)), tag_sum("u", 0, Some(false))],
            },
        ),
        ("compared", compared(entries(), places(), stopped)),
        ("compared-whole", compared(vec![], vec![], None)),
        ("accounted", accounted(vec![beat], None)),
        ("accounted-stopped", accounted(vec![], Some(("t".into(), "k".into())))),
        ("page", Reply::Page { last: last_of(&entries()), entries: entries(), more: true }),
        ("forwarded", Reply::Forwarded { record: record.clone(), is_refused: false }),
        ("forwarded-refused", Reply::Forwarded { record, is_refused: true }),
        ("forwarded-none", Reply::Forwarded { record: None, is_refused: false }),
        ("as-sent", Reply::AsSent),
        ("told", Reply::Told(b"{\"here\":[]}".into())),
        ("busy", Reply::Busy),
    ]
}

fn messages() -> Vec<(&'static str, Message)> {
    let requests = requests().into_iter().map(|(name, it)| (name, Message::Request(it)));
    requests.chain(replies().into_iter().map(|(name, it)| (name, Message::Reply(it)))).collect()
}

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn this_release() -> PathBuf {
    folder(&format!("{MAJOR}.{MINOR}"))
}

fn tag_sum(tag: &str, sum: u64, is_open: Option<bool>) -> TagSum {
    TagSum { tag: tag.into(), sum, is_open }
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(40) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// What each minor version added.
const ADDED: [&[&str]; MINOR as usize] = [
    &[
        "forward-register-if",
        "forward-register-new",
        "forward-judge",
        "forward-close",
        "forwarded-refused",
        "probed-list",
    ],
    &["as-sent"],
    &["hold"],
    &[
        "account",
        "account-after",
        "accounted",
        "accounted-stopped",
        "differs-open",
        "done-but",
        "tag-sums-open",
        "verify-open",
    ],
    &["arrived"],
    &["ask", "told"],
];

#[test]
fn messages_of_every_version_so_far_still_mean_the_same() {
    for minor in 0..=MINOR as usize {
        let later: BTreeSet<&str> = ADDED[minor..].concat().into_iter().collect();
        let folder = folder(&format!("{MAJOR}.{minor}"));
        let mut known = BTreeSet::new();
        for (name, message) in messages().into_iter().filter(|(name, _)| !later.contains(name)) {
            let file = format!("{name}.hex");
            let bytes = from_hex(&fs::read_to_string(folder.join(&file)).unwrap());
            assert_eq!(message.decode(bytes.into()), message.shown(), "1.{minor} {name}");
            known.insert(file);
        }
        let files = fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(known, files);
    }
}

/// What is sent may change only with the version, and then its messages are kept here, too.
#[test]
fn this_release_sends_what_is_kept_for_its_version() {
    for (name, message) in messages() {
        let kept = fs::read_to_string(this_release().join(format!("{name}.hex"))).unwrap();
        assert_eq!(to_hex(&message.encode()), kept, "{name}");
    }
}

#[test]
#[ignore = "writes the fixtures of this release; to be run once for each new version"]
fn keep_the_messages_of_this_release() {
    fs::create_dir_all(this_release()).unwrap();
    for (name, message) in messages() {
        fs::write(this_release().join(format!("{name}.hex")), to_hex(&message.encode())).unwrap();
    }
}
