//! What is stored of a service besides its instances: its settings.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

use super::RegistryError;
use super::instance::Metadata;
use crate::text::decode;

/// Clusters with settings of their own in one service.
pub(crate) const MAX_CLUSTERS: usize = 256;
/// Longest text of a selector in bytes.
const MAX_SELECTOR: usize = 4_096;
/// Bytes of all settings of a service: what fits into a message between members.
const MAX_SETTINGS: usize = 2 << 20;
/// Longest text of a health checker in bytes.
const MAX_CHECKER: usize = 4_096;

/// Settings of a service, the record that speaks for the datum.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ServiceSettings {
    /// Share of healthy instances at or below which all are reported healthy.
    pub(crate) protect_threshold: f32,
    /// Shown in lists.
    pub(crate) metadata: Metadata,
    /// Which consumers see which instances.
    pub(crate) selector: Selector,
    /// Settings of clusters that an operator changed, by name.
    pub(crate) clusters: BTreeMap<String, ClusterSettings>,
    /// Whether an operator wrote them: such a service outlives its last instance.
    pub(crate) explicit: bool,
    /// Of which kind the service was made, if that was said. It counts while the service has no
    /// instance: see [`Registry::kind_of`](super::Registry::kind_of).
    pub(crate) kind: Option<ServiceKind>,
}

/// Which instances a service of Nacos 2.x and later may have. One of 1.x may have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    /// Those that live by beats or connections.
    Ephemeral,
    /// Those that stay until they are deregistered.
    Persistent,
}

impl ServiceKind {
    /// The kind of services that have such instances.
    pub(crate) fn of_instance(is_persistent: bool) -> Self {
        if is_persistent { Self::Persistent } else { Self::Ephemeral }
    }
}

impl ServiceSettings {
    /// About how many bytes they are encoded.
    pub(super) fn weight(&self) -> usize {
        const OVERHEAD: usize = 16;
        let selector = match &self.selector {
            Selector::None => 0,
            Selector::Label { expression, .. } => expression.len(),
        };
        let cluster = |(name, cluster): (&String, &ClusterSettings)| {
            OVERHEAD + name.len() + cluster.metadata.weight() + cluster.checker.text_bytes()
        };
        let clusters: usize = self.clusters.iter().map(cluster).sum();
        self.metadata.weight() + selector + clusters
    }

    /// # Errors
    /// `Invalid` if they are too large to be sent to other members.
    pub(super) fn check_size(&self) -> Result<(), RegistryError> {
        let bytes = self.weight();
        if bytes <= MAX_SETTINGS {
            return Ok(());
        }
        let text =
            format!("the settings of the service take {bytes} bytes, the limit is {MAX_SETTINGS}");
        Err(RegistryError::invalid(text))
    }
}

/// Settings of one cluster of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterSettings {
    /// How persistent instances are checked.
    pub(crate) checker: HealthChecker,
    /// Port to check unless the instance's own is used.
    pub(crate) check_port: i32,
    /// Whether the instance's own port is checked.
    pub(crate) use_instance_port: bool,
    /// Shown in the service's detail.
    pub(crate) metadata: Metadata,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            checker: HealthChecker::Tcp,
            check_port: 80,
            use_instance_port: true,
            metadata: Metadata::default(),
        }
    }
}

/// How the health of persistent instances is found out. Ephemeral ones are judged by their
/// beats whatever stands here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum HealthChecker {
    /// Connect.
    Tcp,
    /// GET a path.
    Http {
        /// Path to ask for.
        path: String,
        /// `name:value|name:value`.
        headers: String,
        /// The status that passes.
        expected_response_code: i64,
    },
    /// Run a statement.
    Mysql {
        /// Database user.
        user: String,
        /// Its password.
        pwd: String,
        /// The statement.
        cmd: String,
    },
    /// Health is set by hand.
    None,
}

impl HealthChecker {
    /// Reads the `healthChecker` parameter; an unknown type counts as `NONE`, as in Nacos.
    ///
    /// # Errors
    /// `Invalid` if it is no JSON object with a `type`, if the expected response code is no number, or if
    /// the whole is longer than 4,096 bytes.
    pub(crate) fn parse(text: &str) -> Result<Self, RegistryError> {
        if text.len() > MAX_CHECKER {
            let reason = format!("it is longer than {MAX_CHECKER} bytes");
            return Err(RegistryError::illegal("healthChecker", reason));
        }
        let bad = || {
            let text = "Param 'healthChecker' is illegal, it should be a JSON object with a type";
            RegistryError::invalid(text)
        };
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|_| bad())?;
        let kind = fields.get("type").and_then(Value::as_str).ok_or_else(bad)?;
        let text =
            |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(match kind.to_ascii_uppercase().as_str() {
            "TCP" => Self::Tcp,
            "HTTP" => Self::Http {
                path: text("path"),
                headers: text("headers"),
                expected_response_code: response_code(fields.get("expectedResponseCode"))?,
            },
            "MYSQL" => Self::Mysql { user: text("user"), pwd: text("pwd"), cmd: text("cmd") },
            _ => Self::None,
        })
    }

    /// Whether its texts are no longer than those of a parameter.
    pub(super) fn is_within_limits(&self) -> bool {
        self.text_bytes() <= MAX_CHECKER
    }

    /// Bytes of its texts.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Tcp | Self::None => 0,
            Self::Http { path, headers, .. } => path.len() + headers.len(),
            Self::Mysql { user, pwd, cmd } => user.len() + pwd.len() + cmd.len(),
        }
    }

    /// As it is shown.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Tcp => json!({"type": "TCP"}),
            Self::None => json!({"type": "NONE"}),
            Self::Http { path, headers, expected_response_code } => json!({
                "type": "HTTP", "path": path, "headers": headers,
                "expectedResponseCode": expected_response_code,
            }),
            Self::Mysql { user, pwd, cmd } => {
                json!({"type": "MYSQL", "user": user, "pwd": pwd, "cmd": cmd})
            }
        }
    }
}

/// The type alone: what else is known may be a password, also in a header.
impl fmt::Debug for HealthChecker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "TCP",
            Self::Http { .. } => "HTTP",
            Self::Mysql { .. } => "MYSQL",
            Self::None => "NONE",
        })
    }
}

/// 200 unless said; some clients write numbers as texts.
fn response_code(given: Option<&Value>) -> Result<i64, RegistryError> {
    let code = match given {
        None | Some(Value::Null) => return Ok(200),
        Some(Value::String(text)) => text.trim().parse::<i32>().ok().map(i64::from),
        Some(number) => number.as_i64(),
    };
    let bad =
        || RegistryError::illegal("healthChecker", "its expectedResponseCode is no whole number");
    code.ok_or_else(bad)
}

/// Which consumers see which instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Selector {
    /// Everybody sees all.
    #[default]
    None,
    /// Consumer and provider must have the same values of these labels. Labels come from a
    /// configuration database that neither Nacos nor this server ships, so all are blank and
    /// everybody sees all.
    Label {
        /// As given.
        expression: String,
        /// The labels named in it.
        labels: BTreeSet<String>,
    },
}

impl Selector {
    /// Reads the `selector` parameter: JSON, plain or URL-encoded once more. Blank is none.
    ///
    /// # Errors
    /// `Invalid` with the texts of Nacos.
    pub(crate) fn parse(text: &str) -> Result<Self, RegistryError> {
        if text.trim().is_empty() {
            return Ok(Self::None);
        }
        label_expression(text)?.map_or(Ok(Self::None), Self::labels_of)
    }

    /// The selector of a label expression.
    ///
    /// # Errors
    /// `Invalid` with the text of Nacos if it is none, or if it is longer than 4,096 bytes.
    pub(super) fn labels_of(expression: String) -> Result<Self, RegistryError> {
        if expression.len() > MAX_SELECTOR {
            let reason = format!("it is longer than {MAX_SELECTOR} bytes");
            return Err(RegistryError::illegal("selector", reason));
        }
        let labels = parse_labels(&expression).ok_or_else(expression_failed)?;
        Ok(Self::Label { expression, labels })
    }

    /// As it is shown.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::None => json!({"type": "none"}),
            Self::Label { expression, labels } => {
                json!({"type": "label", "expression": expression, "labels": labels})
            }
        }
    }
}

/// The expression in the JSON of a label selector, blank if it has none; `None` for the selector of
/// type `none`.
///
/// # Errors
/// `Invalid` with the texts of Nacos for another type, or if it is longer than 4,096 bytes.
pub(super) fn label_expression(text: &str) -> Result<Option<String>, RegistryError> {
    if text.len() > MAX_SELECTOR {
        let reason = format!("it is longer than {MAX_SELECTOR} bytes");
        return Err(RegistryError::illegal("selector", reason));
    }
    let bad = || RegistryError::illegal("selector", "it should be a JSON object with a type");
    let decoded = decode(text.as_bytes());
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text);
    let fields = parse(text).or_else(|_| parse(&decoded)).map_err(|_| bad())?;
    match fields.get("type").and_then(Value::as_str).ok_or_else(bad)? {
        "none" => Ok(None),
        "label" => {
            let expression = fields.get("expression").and_then(Value::as_str);
            Ok(Some(expression.unwrap_or_default().to_owned()))
        }
        "unknown" => Err(RegistryError::invalid("not match any type of selector!")),
        other => Err(RegistryError::illegal("selector", format_args!("unknown type '{other}'"))),
    }
}

/// What Nacos says of an expression it cannot read, and which parameter it was in.
pub(super) fn expression_failed() -> RegistryError {
    RegistryError::illegal("selector", "parse expression failed!")
}

/// Whether it is an expression about the labels of consumers and providers.
pub(super) fn is_about_labels(expression: &str) -> bool {
    parse_labels(expression).is_some()
}

/// `CONSUMER.label.X = PROVIDER.label.X & ...` with the same X on both sides of each term.
fn parse_labels(expression: &str) -> Option<BTreeSet<String>> {
    let compact: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    if compact.is_empty() {
        return Some(BTreeSet::new());
    }
    let label = |term: &str| {
        let (consumer, provider) = term.split_once('=')?;
        let consumer = consumer.strip_prefix("CONSUMER.label.")?;
        let provider = provider.strip_prefix("PROVIDER.label.")?;
        (consumer == provider && !consumer.is_empty()).then(|| consumer.to_owned())
    };
    compact.split('&').map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_expressions_need_the_same_label_on_both_sides() {
        let labels = |text| parse_labels(text).map(|set| set.into_iter().collect::<Vec<_>>());
        let two = "CONSUMER.label.zone = PROVIDER.label.zone & CONSUMER.label.b=PROVIDER.label.b";
        assert_eq!(labels(two).unwrap(), ["b", "zone"]);
        assert_eq!(labels("  ").unwrap(), [""; 0]);
        for bad in [
            "garbage",
            "CONSUMER.label.a=PROVIDER.label.b",
            "&",
            "a=b",
            "CONSUMER.label.=PROVIDER.label.",
        ] {
            assert_eq!(labels(bad), None, "{bad}");
        }
    }

    #[test]
    fn selectors_are_read_plain_or_encoded() {
        assert_eq!(Selector::parse(""), Ok(Selector::None));
        assert_eq!(Selector::parse(r#"{"type":"none"}"#), Ok(Selector::None));
        assert_eq!(Selector::parse("%7B%22type%22%3A%22none%22%7D"), Ok(Selector::None));
        let message = |text| Selector::parse(text).unwrap_err().to_string();
        assert_eq!(message(r#"{"type":"unknown"}"#), "not match any type of selector!");
        assert!(message(r#"{"type":"nope"}"#).contains("nope"));
        assert!(message("{bad").contains("'selector'"));
    }

    #[test]
    fn health_checkers_come_back_as_given() {
        for text in [
            r#"{"type":"TCP"}"#,
            r#"{"type":"NONE"}"#,
            r#"{"type":"HTTP","path":"/x","headers":"a:b|c:d","expectedResponseCode":200}"#,
            r#"{"type":"MYSQL","user":"u","pwd":"p","cmd":"select 1"}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(HealthChecker::parse(text).unwrap().to_json(), value);
        }
        assert_eq!(HealthChecker::parse(r#"{"type":"odd"}"#), Ok(HealthChecker::None));
        assert!(HealthChecker::parse("{bad").is_err() && HealthChecker::parse("{}").is_err());
    }

    #[test]
    fn a_response_code_is_a_number_or_the_text_of_one() {
        let parsed = |code: &str| {
            let text = format!(r#"{{"type":"HTTP","expectedResponseCode":{code}}}"#);
            HealthChecker::parse(&text)
                .map(|checker| checker.to_json()["expectedResponseCode"].take())
        };
        for (code, expected) in [("204", 204), ("\"204\"", 204), ("null", 200)] {
            assert_eq!(parsed(code).unwrap(), expected, "{code}");
        }
        for code in ["\"abc\"", "\"\"", "true", "[]", "2.5", "1e40"] {
            assert!(
                parsed(code).unwrap_err().to_string().contains("expectedResponseCode"),
                "{code}"
            );
        }
    }

    #[test]
    fn settings_that_no_message_can_carry_are_refused() {
        let large = |_| {
            let map = BTreeMap::from([("k".to_owned(), "v".repeat(100_000))]);
            ClusterSettings {
                metadata: Metadata::new(&map, 1 << 20).unwrap(),
                ..Default::default()
            }
        };
        let clusters = |count: usize| (0..count).map(|n| (n.to_string(), large(n))).collect();
        let settings = |count| ServiceSettings { clusters: clusters(count), ..Default::default() };
        assert_eq!(settings(20).check_size(), Ok(()));
        assert!(settings(21).check_size().unwrap_err().to_string().contains("2097152"));
    }
}
