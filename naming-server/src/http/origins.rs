//! The origins whose pages may use this server.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Origins beyond the server's own, as `https://console.example:8443`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedOrigins(Arc<[Box<str>]>);

/// A text that lists no origins.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no origin as https://console.example:8443: {reason}")]
pub struct NotOrigins {
    text: String,
    reason: &'static str,
}

impl AllowedOrigins {
    /// Whether the operator lists no origin.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the operator lists this origin, in the spelling of a browser.
    pub(super) fn contains(&self, origin: &[u8]) -> bool {
        self.0.iter().any(|allowed| allowed.as_bytes() == origin)
    }
}

/// Checks that a browser can send this text: it would match nothing otherwise.
fn check(text: &str) -> Result<(), &'static str> {
    if matches!(text, "*" | "null") {
        return Err("any page could send it; list the pages by name");
    }
    let (authority, default_port) =
        match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(authority), _) => (authority, ":80"),
            (_, Some(authority)) => (authority, ":443"),
            _ => return Err("it must begin with http:// or https://"),
        };
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]_".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return Err("only a host in lower case and a port may follow, without a slash");
    }
    if authority.ends_with(default_port) {
        return Err("browsers leave the default port out");
    }
    Ok(())
}

impl FromStr for AllowedOrigins {
    type Err = NotOrigins;

    fn from_str(text: &str) -> Result<Self, NotOrigins> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let checked = origins.map(|origin| match check(origin) {
            Ok(()) => Ok(Box::from(origin)),
            Err(reason) => Err(NotOrigins { text: origin.to_owned(), reason }),
        });
        Ok(Self(checked.collect::<Result<Vec<_>, _>>()?.into()))
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(","))
    }
}

impl Serialize for AllowedOrigins {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AllowedOrigins {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let text = "https://console.example, http://10.0.0.1:3000,http://[::1]:8080";
        let origins: AllowedOrigins = text.parse().unwrap();
        assert!(origins.contains(b"https://console.example"));
        assert!(
            origins.contains(b"http://10.0.0.1:3000") && origins.contains(b"http://[::1]:8080")
        );
        for other in ["http://console.example", "https://console.example:8443", "null", ""] {
            assert!(!origins.contains(other.as_bytes()), "{other}");
        }
        assert_eq!(origins.to_string(), text.replace(' ', ""));
        assert!("".parse::<AllowedOrigins>().unwrap().is_empty());
    }

    #[test]
    fn what_no_browser_sends_or_every_page_can_is_refused() {
        for (text, why) in [
            ("*", "list the pages"),
            ("null", "list the pages"),
            ("console.example", "begin with http"),
            ("ftp://x", "begin with http"),
            ("https://", "only a host"),
            ("https://x/", "without a slash"),
            ("https://X", "lower case"),
            ("https://u@x", "only a host"),
            ("https://x:443", "default port"),
            ("http://a,http://b:80", "default port"),
        ] {
            let refused = text.parse::<AllowedOrigins>().unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
