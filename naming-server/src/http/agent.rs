//! Who is calling, by its `User-Agent`.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, USER_AGENT};

use crate::registry::{PushVersions, Version};

/// Families of clients, told apart by the case-sensitive beginning of the agent text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentKind {
    /// `Nacos-Java-Client`; the Node SDK calls itself so too.
    Java,
    /// `Nacos-DNS`.
    Dns,
    /// `Nacos-C-Client` and `vip-client4cpp`.
    C,
    /// `Nacos-Go-Client`.
    Go,
    /// `Nacos-CSharp-Client`.
    CSharp,
    /// `Nacos-SDK-Java`.
    JavaSdk,
    /// `Nacos-Server`: another member.
    Server,
    /// `unit-nginx`.
    Tengine,
    /// Everything else: Python, browsers, no agent at all.
    Unknown,
}

const PREFIXES: [(&str, AgentKind); 9] = [
    ("Nacos-Java-Client", AgentKind::Java),
    ("Nacos-Go-Client", AgentKind::Go),
    ("Nacos-DNS", AgentKind::Dns),
    ("Nacos-C-Client", AgentKind::C),
    ("vip-client4cpp", AgentKind::C),
    ("Nacos-CSharp-Client", AgentKind::CSharp),
    ("Nacos-SDK-Java", AgentKind::JavaSdk),
    ("Nacos-Server", AgentKind::Server),
    ("unit-nginx", AgentKind::Tengine),
];

/// The caller of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agent<'a> {
    /// The header text; empty if there is none.
    pub(crate) text: &'a str,
    /// Its family.
    pub(crate) kind: AgentKind,
    /// Its version.
    pub(crate) version: Version,
}

impl<'a> Agent<'a> {
    /// Reads `User-Agent`, or `Client-Version` if that is missing or empty.
    pub(crate) fn from_headers(headers: &'a HeaderMap) -> Self {
        let readable = |value: &'a HeaderValue| {
            std::str::from_utf8(value.as_bytes()).ok().filter(|text| !text.is_empty())
        };
        let text = headers.get(USER_AGENT).and_then(readable);
        let text = text.or_else(|| headers.get("client-version").and_then(readable));
        Self::parse(text.unwrap_or(""))
    }

    /// Classifies an agent text.
    pub(crate) fn parse(text: &'a str) -> Self {
        let known = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix));
        // Nobody asks for the version of an unknown agent.
        let (kind, version) = match known {
            Some((_, kind)) => (*kind, parse_version(text)),
            None => (AgentKind::Unknown, Version::default()),
        };
        Self { text, kind, version }
    }

    /// A Java client of version 1.0.0 or later: it gets grouped names.
    pub(crate) fn is_java_1(&self) -> bool {
        self.kind == AgentKind::Java && self.version >= Version(1, 0, 0)
    }

    /// Whether the caller understands push packets.
    pub(crate) fn pushable(&self, versions: &PushVersions) -> bool {
        let least = match self.kind {
            AgentKind::Java => versions.java,
            AgentKind::Dns => versions.python,
            AgentKind::C => versions.c,
            AgentKind::Go => versions.go,
            AgentKind::CSharp => versions.csharp,
            AgentKind::JavaSdk | AgentKind::Server | AgentKind::Tengine | AgentKind::Unknown => {
                return false;
            }
        };
        self.version >= least
    }
}

/// The version stands after the first `:v`; its parts are divided by any of `-_./;:` and count
/// with their leading digits. A single part is no version.
fn parse_version(agent: &str) -> Version {
    // Agents are short: looking at each byte is faster than setting up a search.
    let Some(at) = agent.as_bytes().windows(2).position(|two| two == b":v") else {
        return Version::default();
    };
    let text = &agent[at + 2..];
    let separator = |c: char| matches!(c, '-' | '_' | '.' | '/' | ';' | ':');
    // The parser behind the original drops separators at the end before it counts the parts.
    let mut parts = text.trim().trim_end_matches(separator).split(separator);
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => {
            let patch = parts.next().unwrap_or_default();
            Version(leading_digits(major), leading_digits(minor), leading_digits(patch))
        }
        _ => Version::default(),
    }
}

fn leading_digits(part: &str) -> u32 {
    let digits = part.bytes().take_while(u8::is_ascii_digit);
    digits.fold(0, |number: u32, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_versions_of_java_agents_count() {
        for version in [
            "v1.0",
            "v01.4",
            "v1-0",
            "v1/0",
            "v1_2_3",
            "v1..0",
            "v1x.0.0",
            "v1.0a",
            "v 1.0.0",
            "v1.4.8.1",
            "v1.10.0-SNAPSHOT",
            "v1.4.8",
            "v2.0.3",
            "v1.0.0",
        ] {
            let text = format!("Nacos-Java-Client:{version}");
            assert!(Agent::parse(&text).is_java_1(), "{text}");
        }
    }

    #[test]
    fn unreadable_versions_are_zero() {
        for text in [
            "Nacos-Java-Client:vx.y.z",
            "Nacos-Java-Client:va1.0",
            "Nacos-Java-Client:1.4.8",
            "Nacos-Java-Client 1.4.8",
            "Nacos-Java-Client",
            "Nacos-Java-Client:v",
            "Nacos-Java-Client:v1",
            "Nacos-Java-Client:v2",
            "Nacos-Java-Client:v1.",
            "Nacos-Java-Client:v1,2",
        ] {
            let agent = Agent::parse(text);
            assert_eq!(agent.version, Version(0, 0, 0), "{text}");
            assert!(!agent.is_java_1());
        }
        assert!(!Agent::parse("Nacos-Java-Client:v0.9.9").is_java_1());
        assert!(!Agent::parse("Nacos-Go-Client:v1.0.9").is_java_1());
    }

    #[test]
    fn push_is_for_known_families_from_their_version_on() {
        let pushable = |text| Agent::parse(text).pushable(&PushVersions::default());
        for text in [
            "Nacos-Java-Client:v1.4.8",
            "Nacos-Java-Client:v0.1.0",
            "Nacos-Go-Client:v1.0.9",
            "Nacos-DNS:v0.4.3",
            "Nacos-C-Client:v1.0.12",
            "vip-client4cpp:v1.0.12",
            "Nacos-CSharp-Client:v0.9.0",
        ] {
            assert!(pushable(text), "{text}");
        }
        for text in [
            "",
            "Nacos-Java-Client:v0.0.9",
            "Nacos-Go-Client:v0.0.1",
            "Nacos-go-Client:v1.0.0",
            "Nacos-Python-Client:v0.1.12",
            "Nacos-DNS:v0.4.2",
            "Nacos-C-Client:v1.0.11",
            "Nacos-CSharp-Client:v0.8.9",
            "Nacos-SDK-Java:v1.4.8",
            "unit-nginx:v1.0.0",
            "Nacos-Server:v1.4.8",
        ] {
            assert!(!pushable(text), "{text}");
        }
    }

    #[test]
    fn client_version_stands_in_for_a_missing_or_empty_user_agent() {
        let mut headers = HeaderMap::new();
        assert_eq!(Agent::from_headers(&headers).kind, AgentKind::Unknown);
        headers.insert("client-version", HeaderValue::from_static("Nacos-Server:v1.4.8"));
        assert_eq!(Agent::from_headers(&headers).kind, AgentKind::Server);
        headers.insert(USER_AGENT, HeaderValue::from_static(""));
        assert_eq!(Agent::from_headers(&headers).kind, AgentKind::Server);
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/8"));
        assert_ne!(Agent::from_headers(&headers).kind, AgentKind::Server);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", tail in "[v:.0-9/-]{0,30}") {
            let _ = Agent::parse(&text);
            let _ = Agent::parse(&format!("Nacos-Java-Client{tail}"));
        }
    }
}
