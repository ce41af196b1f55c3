//! `/v1/ns/operator/switches`: reading and changing the switches.

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply, not_a_number};
use crate::naming::NamingError;
use crate::registry::{
    Fields, MAX_SWITCH_ITEMS, SwitchObject, SwitchValues, Write, parse_status, parse_version,
    unsigned,
};
use crate::text::cut;

/// Bytes of a value. The longest object of switches has less.
const MAX_VALUE: usize = 256 << 10;
/// Bytes of a value that the log shows.
const MAX_SHOWN: usize = 200;

/// One entry of the switches.
struct Entry {
    name: &'static str,
    /// Why it has no effect on this server, or empty.
    no_effect: &'static str,
    sets: Sets,
    /// Reads a value; its range is checked afterwards.
    set: fn(&mut SwitchValues, &str) -> Result<(), ApiError>,
}

/// Which fields of the object an entry sets.
enum Sets {
    /// This one.
    Field(&'static str),
    /// That of the client that stands before the colon.
    Version,
    All,
    None,
}

const NEVER: &str = "none, as in Nacos 1.4.8";
const ALONE: &str = "none on a server without a cluster";

/// All entries of Nacos 1.4.8.
const ENTRIES: &[Entry] = &[
    entry("batch", "", Sets::All, |values, text| {
        *values = parse_object(text)?.into_values(values)?;
        Ok(())
    }),
    entry("distroThreshold", NEVER, Sets::Field("distroThreshold"), |values, text| {
        values.distro_threshold = text.parse().map_err(|_| not_a_number(text))?;
        Ok(())
    }),
    entry("clientBeatInterval", "", Sets::Field("clientBeatInterval"), |values, text| {
        set_number(&mut values.client_beat_interval_ms, text)
    }),
    entry("pushVersion", "", Sets::Version, set_push_version),
    entry("pushCacheMillis", "", Sets::Field("defaultPushCacheMillis"), |values, text| {
        set_number(&mut values.push_cache_ms, text)
    }),
    entry("defaultCacheMillis", "", Sets::Field("defaultCacheMillis"), |values, text| {
        set_number(&mut values.default_cache_ms, text)
    }),
    entry("masters", NEVER, Sets::Field("masters"), |values, text| {
        // One more than the limit is enough to see that it is passed.
        let masters = text.split(',').take(MAX_SWITCH_ITEMS + 1);
        values.masters = Some(masters.map(str::to_owned).collect());
        Ok(())
    }),
    entry("distro", ALONE, Sets::Field("distroEnabled"), |values, text| {
        set_flag(&mut values.distro_enabled, text)
    }),
    entry("check", "", Sets::Field("healthCheckEnabled"), |values, text| {
        set_flag(&mut values.health_check_enabled, text)
    }),
    entry("pushEnabled", "", Sets::Field("pushEnabled"), |values, text| {
        set_flag(&mut values.push_enabled, text)
    }),
    entry(
        "serviceStatusSynchronizationPeriodMillis",
        ALONE,
        Sets::Field("serviceStatusSynchronizationPeriodMillis"),
        |values, text| set_number(&mut values.service_status_period_ms, text),
    ),
    entry(
        "serverStatusSynchronizationPeriodMillis",
        ALONE,
        Sets::Field("serverStatusSynchronizationPeriodMillis"),
        |values, text| set_number(&mut values.server_status_period_ms, text),
    ),
    entry("healthCheckTimes", "", Sets::Field("checkTimes"), |values, text| {
        let times = unsigned(parse_number(text)?);
        values.check_times = u32::try_from(times).unwrap_or(u32::MAX);
        Ok(())
    }),
    entry("disableAddIP", NEVER, Sets::Field("disableAddIP"), |values, text| {
        set_flag(&mut values.disable_add_ip, text)
    }),
    entry("sendBeatOnly", ALONE, Sets::Field("sendBeatOnly"), |values, text| {
        set_flag(&mut values.send_beat_only, text)
    }),
    entry("limitedUrlMap", "", Sets::Field("limitedUrlMap"), |values, text| {
        values.limited_urls = parse_limited_urls(text)?;
        Ok(())
    }),
    // Nacos tests the value the wrong way round and so keeps what it has.
    entry("enableStandalone", NEVER, Sets::None, |_, text| set_flag(&mut false, text)),
    entry("overriddenServerStatus", "", Sets::Field("overriddenServerStatus"), |values, text| {
        values.overridden_status = parse_status(text)?;
        values.status_taken_back = values.overridden_status.is_none();
        Ok(())
    }),
    entry(
        "defaultInstanceEphemeral",
        "",
        Sets::Field("defaultInstanceEphemeral"),
        |values, text| set_flag(&mut values.default_instance_ephemeral, text),
    ),
    entry(
        "distroServerExpiredMillis",
        NEVER,
        Sets::Field("distroServerExpiredMillis"),
        |values, text| set_number(&mut values.distro_server_expired_ms, text),
    ),
    entry("lightBeatEnabled", "", Sets::Field("lightBeatEnabled"), |values, text| {
        set_flag(&mut values.light_beat_enabled, text)
    }),
    entry(
        "autoChangeHealthCheckEnabled",
        NEVER,
        Sets::Field("autoChangeHealthCheckEnabled"),
        |values, text| set_flag(&mut values.auto_change_health_check_enabled, text),
    ),
];

const fn entry(
    name: &'static str,
    no_effect: &'static str,
    sets: Sets,
    set: fn(&mut SwitchValues, &str) -> Result<(), ApiError>,
) -> Entry {
    Entry { name, no_effect, sets, set }
}

impl Api {
    pub(super) fn read_switches(&self) -> Result<Reply, ApiError> {
        Ok(Reply::json(self.switches_json()))
    }

    /// The switches as they are shown.
    pub(in crate::http) fn switches_json(&self) -> String {
        shown(&self.registry.switches.load())
    }

    /// Sets one entry: for all members, or with `debug` for this one alone.
    pub(super) fn update_switches(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        Ok(self.set_switch(call)?.into_ok())
    }

    /// The same as a write.
    pub(in crate::http) fn set_switch(
        &self,
        call: &Call<'_>,
    ) -> Result<Write<Result<(), NamingError>>, ApiError> {
        let name = call.params.required("entry")?;
        let missing = || ApiError::bad_request("Param 'value' is required.");
        let value = call.params.raw("value").ok_or_else(missing)?;
        if value.len() > MAX_VALUE {
            return Err(ApiError::illegal(
                "value",
                format_args!("it is longer than {MAX_VALUE} bytes"),
            ));
        }
        let here_alone = call.params.flag_lenient("debug", false);
        let entry = ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
            ApiError::bad_request(format!("unknown switch entry: {}", cut(&name, 64)))
        })?;
        let fields = entry.fields(&self.registry.switches.load(), value.trim())?;
        let effect = if entry.no_effect.is_empty() { "at once" } else { entry.no_effect };
        let by = call.caller().actor();
        let (value, by) = (cut(value.trim(), MAX_SHOWN), cut(&by, MAX_SHOWN));
        tracing::info!(entry = entry.name, value, effect, here_alone, by, "switch set");
        Ok(self.naming.set_switches(&call.caller(), fields, here_alone))
    }
}

impl Entry {
    /// The fields that the entry sets to a value, as they are kept.
    fn fields(&self, known: &SwitchValues, value: &str) -> Result<Fields, ApiError> {
        let mut values = known.clone();
        (self.set)(&mut values, value)?;
        values.check()?;
        let mut fields = SwitchObject::fields(&values);
        match self.sets {
            Sets::Field(name) => fields.retain(|field, _| field == name),
            Sets::Version => {
                let field = version_field(value);
                fields.retain(|name, _| Some(name.as_str()) == field);
            }
            Sets::All => {}
            Sets::None => fields.clear(),
        }
        Ok(fields)
    }
}

fn shown(values: &SwitchValues) -> String {
    // Strings and finite numbers under fixed names: nothing that has no JSON form.
    serde_json::to_string(&SwitchObject::of(values)).unwrap_or_default()
}

fn parse_object(text: &str) -> Result<SwitchObject, ApiError> {
    // serde would read a list as the fields in order.
    if !text.starts_with('{') {
        return Err(ApiError::bad_request("batch must be a JSON object of switches"));
    }
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("batch is no object of switches: {error}")))
}

fn parse_number(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| not_a_number(text))
}

fn set_number(field: &mut u64, text: &str) -> Result<(), ApiError> {
    *field = unsigned(parse_number(text)?);
    Ok(())
}

/// Nacos takes every text that is not `true` for false, typing errors too.
fn set_flag(field: &mut bool, text: &str) -> Result<(), ApiError> {
    let is_any = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    *field = if is_any(["true", "on", "yes", "t", "y"]) {
        true
    } else if is_any(["false", "off", "no", "f", "n"]) {
        false
    } else {
        let text = cut(text, MAX_SHOWN);
        return Err(ApiError::bad_request(format!("must be true or false, not \"{text}\"")));
    };
    Ok(())
}

fn version_field(text: &str) -> Option<&'static str> {
    match text.split_once(':')?.0 {
        "java" => Some("pushJavaVersion"),
        "python" => Some("pushPythonVersion"),
        "c" => Some("pushCVersion"),
        "go" => Some("pushGoVersion"),
        "csharp" => Some("pushCSharpVersion"),
        _ => None,
    }
}

fn set_push_version(values: &mut SwitchValues, text: &str) -> Result<(), ApiError> {
    let (client, version) = text.split_once(':').unwrap_or((text, ""));
    let version = parse_version(version)?;
    let versions = &mut values.push_versions;
    let field = match client {
        "java" => &mut versions.java,
        "python" => &mut versions.python,
        "c" => &mut versions.c,
        "go" => &mut versions.go,
        "csharp" => &mut versions.csharp,
        _ => {
            let client = cut(client, MAX_SHOWN);
            return Err(ApiError::bad_request(format!("unsupported client type: {client}")));
        }
    };
    *field = version;
    Ok(())
}

/// `prefix:status` with commas between. Nothing clears the list; Nacos would keep it as it is.
fn parse_limited_urls(text: &str) -> Result<Vec<(String, u16)>, ApiError> {
    let pair = |item: &str| {
        let malformed = || ApiError::bad_request("invalid input for limited urls");
        let (prefix, status) = item.split_once(':').ok_or_else(malformed)?;
        if prefix.is_empty() {
            return Err(ApiError::bad_request("url can not be empty, url: "));
        }
        let status = parse_number(status)?;
        let illegal = |_| ApiError::bad_request(format!("illegal normal status code: {status}"));
        Ok((prefix.to_owned(), u16::try_from(status).map_err(illegal)?))
    };
    let items = text.trim_end_matches(',').split(',').filter(|_| !text.is_empty());
    // One more than the limit is enough to see that it is passed.
    items.take(MAX_SWITCH_ITEMS + 1).map(|item| pair(item.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<SwitchValues, String> {
        let mut values = SwitchValues::default();
        let entry = ENTRIES.iter().find(|entry| entry.name == name).unwrap();
        (entry.set)(&mut values, value).map_err(|error| error.message)?;
        values.check().map_err(|error| error.to_string())?;
        Ok(values)
    }

    #[test]
    fn every_entry_sets_the_fields_that_it_changes() {
        let known = SwitchValues::default();
        let names = |entry: &Entry, value| {
            entry.fields(&known, value).unwrap().into_keys().collect::<Vec<_>>()
        };
        let all = SwitchObject::fields(&known);
        for entry in ENTRIES {
            let value = ["12000", "5", "true", "", "java:1.2.3", "{}"]
                .into_iter()
                .find(|value| entry.fields(&known, value).is_ok())
                .unwrap_or("0.5");
            let expected = match entry.sets {
                Sets::Field(name) => vec![name.to_owned()],
                Sets::Version => vec!["pushJavaVersion".to_owned()],
                Sets::All => all.keys().cloned().collect(),
                Sets::None => Vec::new(),
            };
            assert_eq!(names(entry, value), expected, "{}", entry.name);
            // What it does not set is as it was.
            let mut values = known.clone();
            (entry.set)(&mut values, value).unwrap();
            for (name, after) in SwitchObject::fields(&values) {
                let is_set = expected.contains(&name);
                assert!(is_set || after.get() == all[&name].get(), "{} {name}", entry.name);
            }
        }
    }

    #[test]
    fn limited_urls_keep_their_order_and_their_bounds() {
        let values = set("limitedUrlMap", "/b:403, /a?x=1:503").unwrap();
        assert_eq!(values.limited_urls, [("/b".to_owned(), 403), ("/a?x=1".to_owned(), 503)]);
        assert!(set("limitedUrlMap", "").unwrap().limited_urls.is_empty());
        for bad in ["garbage", ":403", "/a:0", "/a:-1", "/a:99999", "/a:x", ",,"] {
            set("limitedUrlMap", bad).unwrap_err();
        }
        let long: Vec<_> = (0..=MAX_SWITCH_ITEMS).map(|n| format!("/{n}:403")).collect();
        assert!(set("limitedUrlMap", &long.join(",")).unwrap_err().contains("limitedUrlMap"));
        assert!(set("limitedUrlMap", &format!("/{}:403", "a".repeat(1_000))).is_err());
    }

    #[test]
    fn a_batch_is_checked_like_single_entries() {
        let values = set("batch", r#"{"clientBeatInterval":7000}"#).unwrap();
        assert_eq!(values.client_beat_interval_ms, 7_000);
        for bad in [
            "",
            "[]",
            "{",
            r#"{"noSuchField":1}"#,
            r#"{"clientBeatInterval":0}"#,
            r#"{"clientBeatInterval":-5}"#,
            r#"{"pushJavaVersion":"x"}"#,
            r#"{"overriddenServerStatus":"SIDEWAYS"}"#,
            r#"{"limitedUrlMap":{"/a":7}}"#,
            r#"{"httpHealthParams":{"max":5000,"min":499,"factor":0.85}}"#,
            r#"{"tcpHealthParams":{"max":2999,"min":500,"factor":0.85}}"#,
            r#"{"mysqlHealthParams":{"max":5000,"min":500,"factor":1.5}}"#,
        ] {
            set("batch", bad).unwrap_err();
        }
    }
}
