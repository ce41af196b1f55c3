//! What is stored of an instance.

use std::collections::BTreeMap;
use std::ops::Range;

use naming_model::{
    DEFAULT_BEAT_INTERVAL_MS, DEFAULT_BEAT_TIMEOUT_MS, DEFAULT_DELETE_TIMEOUT_MS, InstanceKey,
    MAX_WEIGHT, META_BEAT_INTERVAL, META_BEAT_TIMEOUT, META_DELETE_TIMEOUT, META_ID_GENERATOR,
    MIN_NONZERO_WEIGHT, RecordKey, is_unprintable,
};

use super::RegistryError;
use super::held::Held;
use super::json::{push_double, push_number, push_string};
use super::plain::visit_plain;

mod app;
mod hold;

use app::App;

/// Longest address text in bytes; the longest host name has 253.
const MAX_ADDRESS: usize = 255;
/// Least silence that makes an instance unhealthy, unless its beats come more often: nobody can be
/// late before the next beat is due.
const LEAST_SILENCE_MS: u32 = 3_500;
/// Least silence that has consequences however often beats come: the pause of a busy machine is no
/// silence. Nacos, which looks every 5 s, hardly ever sees one.
const PAUSE_MS: u32 = 1_000;
/// Pairs of metadata that are read into room made at once.
const USUAL_PAIRS: usize = 8;
/// Longest application name in bytes.
const MAX_APP: usize = 256;

/// An instance as a client wrote it. Its address and cluster are in its key, its health in its
/// record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    /// 0 to 10,000.
    pub(crate) weight: f64,
    /// What was given as `metadata`.
    pub(crate) metadata: Metadata,
    /// The id if it is not the simple one, which follows from the key.
    pub(crate) id: Option<Box<str>>,
    /// Name of the application, as the client gave it.
    pub(crate) app: Option<App>,
    /// Whether clients should use it.
    pub(crate) enabled: bool,
    /// Whether it stays until it is deregistered, however silent it is. Its [key](RecordKey) says
    /// the same.
    pub(crate) is_persistent: bool,
    /// That a connection holds it, if one does.
    pub(crate) held: Option<Box<Held>>,
    times: Times,
}

/// The reserved metadata that steers beats, parsed once. Milliseconds; the greatest value that
/// fits is 49 days, longer ones are cut to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    /// 0 if the metadata has no such key.
    beat_interval_ms: u32,
    unhealthy_after_ms: u32,
    expire_after_ms: u32,
}

impl Instance {
    /// An ephemeral instance of this weight and metadata; the rest has its defaults.
    ///
    /// # Errors
    /// `Invalid` if the weight is not within 0 to 10,000.
    pub(crate) fn new(weight: f64, metadata: impl Into<Timed>) -> Result<Self, RegistryError> {
        let weight = check_weight(weight)?;
        let Timed { metadata, times } = metadata.into();
        let (enabled, is_persistent) = (true, false);
        let (id, app, held) = (None, None, None);
        Ok(Self { weight, metadata, id, app, enabled, is_persistent, held, times })
    }

    /// Sets the application name; the two that nearly everybody sends cost nothing.
    pub(crate) fn with_app(mut self, app: &str) -> Result<Self, RegistryError> {
        if app.len() > MAX_APP {
            let text = format!("Param 'app' is illegal, it is longer than {MAX_APP} bytes");
            return Err(RegistryError::invalid(text));
        }
        self.app = Some(App::of(app));
        Ok(self)
    }

    /// The same as one that stays until it is deregistered.
    pub(crate) fn into_persistent(self) -> Self {
        Self { is_persistent: true, ..self }
    }

    /// Replaces the metadata and what follows from it.
    pub(crate) fn set_metadata(&mut self, metadata: Metadata) {
        Timed { metadata: self.metadata, times: self.times } = metadata.into();
    }

    /// The beat interval its metadata asks for. Present but unreadable counts as the default.
    pub(crate) fn beat_interval_ms(&self) -> Option<u64> {
        (self.times.beat_interval_ms > 0).then_some(u64::from(self.times.beat_interval_ms))
    }

    /// The key of its record.
    pub(crate) fn record_key<'a>(&self, instance: &InstanceKey<'a>) -> RecordKey<'a> {
        RecordKey { instance: *instance, is_persistent: self.is_persistent }
    }

    /// When silence counts, in milliseconds: unhealthy, expired.
    pub(crate) fn time_outs_ms(&self) -> (u32, u32) {
        (self.times.unhealthy_after_ms, self.times.expire_after_ms)
    }

    /// Whether the id is to be a number instead of the simple form.
    pub(crate) fn wants_snowflake_id(&self) -> bool {
        let generator = self.metadata.find(META_ID_GENERATOR);
        generator.is_some_and(|generator| generator.eq_ignore_ascii_case("snowflake"))
    }
}

impl Times {
    fn of(metadata: &Metadata) -> Self {
        let json = metadata.as_json();
        let mut pairs = Vec::with_capacity(USUAL_PAIRS);
        if visit_plain(json, |key, value| pairs.push((key, value))).is_some() {
            return Self::among(&pairs);
        }
        // It takes a parser, unless there is no reserved key: one search of the text tells.
        if !json.contains("preserved.") {
            return Self::among(&[]);
        }
        let map = metadata.to_map();
        let pairs: Vec<_> = map.iter().map(|(key, value)| (&**key, &**value)).collect();
        Self::among(&pairs)
    }

    /// From pairs whose keys are unique.
    fn among(pairs: &[(&str, &str)]) -> Self {
        const KEYS: [&str; 3] = [META_BEAT_INTERVAL, META_BEAT_TIMEOUT, META_DELETE_TIMEOUT];
        let mut given = [None; 3];
        for (key, value) in pairs {
            if let Some(at) = KEYS.iter().position(|known| known == key) {
                given[at] = Some(*value);
            }
        }
        Self::given(given)
    }

    /// From the texts of beat interval, beat time-out and delete time-out.
    fn given([interval, beat_timeout, delete_timeout]: [Option<&str>; 3]) -> Self {
        let millis = |given: Option<&str>, default: u64| -> u32 {
            let value = given.filter(|text| is_number(text));
            let millis = value.map_or(default, |text| text.parse().unwrap_or(u64::MAX));
            u32::try_from(millis).unwrap_or(u32::MAX)
        };
        let interval_ms = millis(interval, DEFAULT_BEAT_INTERVAL_MS).max(1);
        let least_ms = interval_ms.clamp(PAUSE_MS, LEAST_SILENCE_MS);
        Self {
            // An interval of 0 would make clients beat without pause.
            beat_interval_ms: if interval.is_some() { interval_ms } else { 0 },
            unhealthy_after_ms: millis(beat_timeout, DEFAULT_BEAT_TIMEOUT_MS).max(least_ms),
            expire_after_ms: millis(delete_timeout, DEFAULT_DELETE_TIMEOUT_MS).max(PAUSE_MS),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Key-value pairs, kept as the JSON object they are shown as: sorted by key, no blanks. One
/// allocation, and nothing to do when a list is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata(Box<str>);

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl Metadata {
    /// No metadata because nobody ever gave any, as opposed to an empty map. Nearly everybody
    /// is shown the empty map all the same: see
    /// [`ViewQuery::null_metadata`](super::ViewQuery::null_metadata).
    pub(crate) fn absent() -> Self {
        Self("".into())
    }

    /// Whether it is [`Self::absent`].
    pub(crate) fn is_absent(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes a map down.
    ///
    /// # Errors
    /// `Invalid` if that takes more than `limit` bytes.
    pub(crate) fn new(map: &BTreeMap<String, String>, limit: usize) -> Result<Self, RegistryError> {
        let mut json = String::from("{");
        for (key, value) in map {
            if json.len() > 1 {
                json.push(',');
            }
            push_string(&mut json, key);
            json.push(':');
            push_string(&mut json, value);
        }
        json.push('}');
        Self::within(limit, json)
    }

    fn within(limit: usize, json: String) -> Result<Self, RegistryError> {
        if json.len() > limit {
            let text = format!(
                "Param 'metadata' is illegal, it takes {} bytes as JSON, the limit is {limit}",
                json.len()
            );
            return Err(RegistryError::invalid(text));
        }
        Ok(Self(json.into()))
    }

    /// The JSON object.
    pub(crate) fn as_json(&self) -> &str {
        if self.is_absent() { "{}" } else { &self.0 }
    }

    /// The pairs.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        serde_json::from_str(self.as_json()).expect("it was written by Metadata::new")
    }

    /// The value of one key.
    pub(crate) fn find(&self, key: &str) -> Option<String> {
        let mut found = None;
        let plain = visit_plain(&self.0, |name, value| {
            if name == key {
                found = Some(value);
            }
        });
        if plain.is_some() {
            return found.map(str::to_owned);
        }
        // What has to be escaped stands there in another form.
        let is_plain = !key.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\');
        if is_plain && !self.0.contains(key) {
            return None;
        }
        self.to_map().remove(key)
    }
}

/// Metadata with what its reserved keys say, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timed {
    metadata: Metadata,
    times: Times,
}

impl Timed {
    /// What [`Metadata::new`] makes of the pairs of a JSON text, without a map in between. `None` if
    /// they are not plain or not unique: then it takes a parser.
    pub(crate) fn of_plain(json: &str, limit: usize) -> Option<Result<Self, RegistryError>> {
        let mut pairs = Vec::with_capacity(USUAL_PAIRS);
        visit_plain(json.trim(), |key, value| pairs.push((key, value)))?;
        pairs.sort_unstable();
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return None;
        }
        let mut written = String::with_capacity(json.len().max(2));
        written.push('{');
        for (key, value) in &pairs {
            let start = if written.len() > 1 { ",\"" } else { "\"" };
            [start, key, "\":\"", value, "\""].iter().for_each(|part| written.push_str(part));
        }
        written.push('}');
        let timed = |metadata| Self { metadata, times: Times::among(&pairs) };
        Some(Metadata::within(limit, written).map(timed))
    }
}

impl From<Metadata> for Timed {
    fn from(metadata: Metadata) -> Self {
        Self { times: Times::of(&metadata), metadata }
    }
}

impl From<Timed> for Metadata {
    fn from(timed: Timed) -> Self {
        timed.metadata
    }
}

/// The weight as it is stored.
///
/// # Errors
/// `Invalid` if it is not within 0 to 10,000.
pub(super) fn check_weight(weight: f64) -> Result<f64, RegistryError> {
    if !(0.0..=MAX_WEIGHT).contains(&weight) {
        let text = "instance format invalid: The weights range from 0.0 to 10000.0";
        return Err(RegistryError::invalid(text));
    }
    Ok(if weight > 0.0 { weight.max(MIN_NONZERO_WEIGHT) } else { 0.0 })
}

/// Checks an address that is about to be stored: any text without blanks, control characters
/// and `#`, which would break instance ids, that passes [`check_kind`]. Host names are addresses
/// too.
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_address(ip: &str) -> Result<(), RegistryError> {
    if ip.is_empty() {
        return Err(RegistryError::invalid("Param 'ip' is illegal, it is blank"));
    }
    if ip.len() > MAX_ADDRESS {
        let text = format!("Param 'ip' is illegal, it is longer than {MAX_ADDRESS} bytes");
        return Err(RegistryError::invalid(text));
    }
    if ip.chars().any(|c| c.is_whitespace() || is_unprintable(c) || c == '#') {
        let text = "Param 'ip' is illegal, it has blanks, control characters or '#'";
        return Err(RegistryError::invalid(text));
    }
    check_kind(ip)
}

/// Checks the name of an application that a client gives. What is stored already is taken as it is.
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_app(app: &str) -> Result<(), RegistryError> {
    match app.chars().any(is_unprintable) {
        true => Err(RegistryError::illegal("app", "it has control characters")),
        false => Ok(()),
    }
}

/// Checks an address that is about to be looked for: it must not begin like the keys of persistent
/// instances or of an operator's values do, or one thing could be meant and another be found.
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_kind(ip: &str) -> Result<(), RegistryError> {
    if RecordKey::is_address(ip) {
        return Ok(());
    }
    let mark = ip.get(..1).unwrap_or_default();
    Err(RegistryError::invalid(format!("Param 'ip' is illegal, it begins with '{mark}'")))
}

/// Checks that a port is within 0 to 65,535; 0 stands for "no port".
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_port(port: i32) -> Result<u16, RegistryError> {
    u16::try_from(port).map_err(|_| {
        RegistryError::invalid(format!("Param 'port' is illegal, {port} is not within 0 to 65535"))
    })
}

/// The text by which Nacos sorts instances and names them in errors.
pub(crate) fn text_form(key: &InstanceKey<'_>, weight: f64, healthy: bool) -> String {
    let mut text = String::new();
    push_text_form(&mut text, key, weight, healthy);
    text
}

/// Appends the [`text_form`]. Tells where in `out` weight and health stand: `1.0_true`.
pub(super) fn push_text_form(
    out: &mut String,
    key: &InstanceKey<'_>,
    weight: f64,
    healthy: bool,
) -> Range<usize> {
    out.push_str(key.ip);
    // As in [`InstanceKey::datum_key`].
    if key.port != 0 {
        out.push(':');
        push_number(out, key.port);
    }
    out.push_str(":unknown:");
    out.push_str(key.cluster);
    out.push('_');
    let start = out.len();
    push_double(out, weight);
    out.push_str(if healthy { "_true" } else { "_false" });
    let state = start..out.len();
    out.push_str("_false_");
    out.push_str(key.cluster);
    state
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instance(pairs: &[(&str, &str)]) -> Instance {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let map = pairs.iter().map(owned).collect();
        Instance::new(1.0, Metadata::new(&map, 4_096).unwrap()).unwrap()
    }

    #[test]
    fn reserved_metadata_steers_the_lease() {
        let plain = instance(&[("k", "v")]);
        assert_eq!(plain.time_outs_ms(), (15_000, 30_000));
        assert_eq!(plain.beat_interval_ms(), None);
        let own = instance(&[
            (META_BEAT_INTERVAL, "1234"),
            (META_BEAT_TIMEOUT, "3000"),
            (META_DELETE_TIMEOUT, "99999999999999999999999"),
        ]);
        assert_eq!(own.time_outs_ms(), (3_000, u32::MAX));
        assert_eq!(own.beat_interval_ms(), Some(1_234));
    }

    #[test]
    fn a_persistent_instance_has_no_lease_and_takes_no_more_room() {
        let persistent = instance(&[(META_BEAT_TIMEOUT, "1")]).into_persistent();
        assert_eq!(persistent.lease(), None);
        assert_eq!(size_of::<Instance>(), 80);
    }

    #[test]
    fn nobody_is_late_before_the_next_beat_is_due() {
        let time_outs = |beat, delete| {
            let pairs = [(META_BEAT_TIMEOUT, beat), (META_DELETE_TIMEOUT, delete)];
            instance(&pairs).time_outs_ms()
        };
        assert_eq!(time_outs("1000", "2000"), (3_500, 2_000));
        assert_eq!(time_outs("4000", "3600"), (4_000, 3_600));
    }

    #[test]
    fn a_short_pause_is_no_silence_however_often_beats_come() {
        let time_outs = |interval, beat, delete| {
            let pairs = [
                (META_BEAT_INTERVAL, interval),
                (META_BEAT_TIMEOUT, beat),
                (META_DELETE_TIMEOUT, delete),
            ];
            instance(&pairs).time_outs_ms()
        };
        assert_eq!(time_outs("500", "1000", "1500"), (1_000, 1_500));
        assert_eq!(time_outs("3", "6", "9"), (1_000, 1_000));
        assert_eq!(time_outs("0", "0", "0"), (1_000, 1_000));
    }

    #[test]
    fn unreadable_reserved_metadata_counts_as_the_default() {
        for text in ["abc", "-5", "", "1.5", "+5"] {
            let odd = instance(&[(META_BEAT_INTERVAL, text), (META_BEAT_TIMEOUT, text)]);
            assert_eq!((odd.beat_interval_ms(), odd.time_outs_ms().0), (Some(5_000), 15_000));
        }
    }

    #[test]
    fn keys_are_found_whatever_they_are_made_of() {
        let keys = ["k", "a\"b", "c\\d", "\n", "é", "\u{7f}", "\u{1}"];
        let odd = instance(&keys.map(|key| (key, key)));
        for key in keys {
            assert_eq!(odd.metadata.find(key).as_deref(), Some(key), "{key:?}");
        }
        for key in ["a", "b", "\"", "\\", "u0001", ""] {
            assert_eq!(odd.metadata.find(key), None, "{key:?}");
        }
    }

    #[test]
    fn weights_are_checked_and_tiny_ones_raised() {
        let weight = |weight| Instance::new(weight, Metadata::default()).map(|i| i.weight);
        assert_eq!(weight(0.0), Ok(0.0));
        assert_eq!(weight(0.001), Ok(0.01));
        assert_eq!(weight(10_000.0), Ok(10_000.0));
        for bad in [-0.1, 10_000.1, f64::NAN, f64::INFINITY] {
            assert!(weight(bad).unwrap_err().to_string().contains("range from 0.0 to 10000.0"));
        }
    }

    #[test]
    fn metadata_has_one_form_and_a_limit() {
        let map = BTreeMap::from([("b".into(), "\"2\"".into()), ("a".into(), "1".into())]);
        let metadata = Metadata::new(&map, 100).unwrap();
        assert_eq!(metadata.as_json(), r#"{"a":"1","b":"\"2\""}"#);
        assert_eq!(metadata.to_map(), map);
        assert_eq!(metadata.find("b").as_deref(), Some("\"2\""));
        assert!(Metadata::new(&map, 10).unwrap_err().to_string().contains("metadata"));
    }

    #[test]
    fn plain_metadata_is_written_as_through_a_map() {
        let map = BTreeMap::from([("b".into(), "2 é".into()), ("a".into(), String::new())]);
        let timed = |made: Result<Metadata, RegistryError>| made.map(Timed::from);
        let through_map = timed(Metadata::new(&map, 100));
        for json in [r#"{"a":"","b":"2 é"}"#, " {\"b\" : \"2 é\",\n\"a\":\"\"} "] {
            assert_eq!(Timed::of_plain(json, 100).unwrap(), through_map, "{json}");
            assert_eq!(Timed::of_plain(json, 10).unwrap(), timed(Metadata::new(&map, 10)));
        }
        assert_eq!(Timed::of_plain("{}", 100).unwrap(), Ok(Metadata::default().into()));
        for json in [r#"{"a":"1","a":"2"}"#, r#"{"a":1}"#, r#"{"a":"\\"}"#, "a=b"] {
            assert_eq!(Timed::of_plain(json, 100), None, "{json}");
        }
        let map =
            BTreeMap::from([("z".into(), "1".into()), (META_BEAT_TIMEOUT.into(), "9".into())]);
        let json = format!(r#"{{"z":"1","{META_BEAT_TIMEOUT}":"9"}}"#);
        let through_map = timed(Metadata::new(&map, 100));
        assert_eq!(Timed::of_plain(&json, 100).unwrap(), through_map);
    }

    #[test]
    fn reserved_metadata_is_found_behind_escapes() {
        let odd =
            instance(&[("a\"", "\\"), (META_BEAT_INTERVAL, "1234"), (META_BEAT_TIMEOUT, "\n1")]);
        assert_eq!((odd.beat_interval_ms(), odd.time_outs_ms().0), (Some(1_234), 15_000));
        assert!(instance(&[("q", "\""), (META_ID_GENERATOR, "Snowflake")]).wants_snowflake_id());
    }

    #[test]
    fn addresses_and_ports_are_checked() {
        for good in ["10.0.0.1", "fe80::1%eth0", "[::1]", "host_1.example"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a#b", "a\nb", "!a", &"x".repeat(256)] {
            assert!(check_address(bad).unwrap_err().to_string().contains("'ip'"));
        }
        assert_eq!(check_port(65_535), Ok(65_535));
        assert!(check_port(65_536).is_err() && check_port(-1).is_err());
    }

    proptest! {
        #[test]
        fn the_text_form_is_what_formatting_makes_of_its_parts(
            ip in "[0-9a-z.:]{1,4}",
            port in any::<u16>().prop_map(|port| if port % 4 == 0 { 0 } else { port }),
            cluster in "[a-z_]{0,3}",
            weight in prop_oneof![(0..=10_000_u16).prop_map(f64::from), 0.01..=10_000.0],
            healthy in any::<bool>(),
        ) {
            let key = InstanceKey { ip: &ip, port, cluster: &cluster };
            let form = text_form(&key, weight, healthy);
            let start = key.datum_key();
            prop_assert_eq!(&form, &format!("{start}_{weight:?}_{healthy}_false_{cluster}"));
            let mut text = "before".to_owned();
            let state = push_text_form(&mut text, &key, weight, healthy);
            prop_assert_eq!(&text[state], format!("{weight:?}_{healthy}"));
            prop_assert_eq!(text, format!("before{form}"));
        }
    }

    #[test]
    fn the_text_form_is_that_of_nacos() {
        let key = InstanceKey { ip: "10.0.0.9", port: 8080, cluster: "DEFAULT" };
        assert_eq!(
            text_form(&key, 1.0, true),
            "10.0.0.9:8080:unknown:DEFAULT_1.0_true_false_DEFAULT"
        );
    }
}
