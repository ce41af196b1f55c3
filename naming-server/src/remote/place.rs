//! Where a server is.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The port of Nacos, and of this server.
const DEFAULT_PORT: u16 = 8848;
/// Where the API begins unless an address says otherwise.
const DEFAULT_CONTEXT: &str = "/nacos";

/// `http://host:port/context` or `https://...` of a server, read from that or from less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The server on this machine, at the port by default.
    pub(crate) fn local() -> Self {
        Self(format!("http://127.0.0.1:{DEFAULT_PORT}{DEFAULT_CONTEXT}"))
    }

    /// Whether the server is called within TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The address of a call below the context.
    pub(super) fn uri(&self, path: &str, query: &str) -> Result<Uri, hyper::http::uri::InvalidUri> {
        let gap = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{gap}{query}", self.0).parse()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('@') {
            return Err("user and password do not belong into an address: flags name them".into());
        }
        let (scheme, rest) = match text.strip_prefix("https://") {
            Some(rest) => ("https", rest),
            None => ("http", text.strip_prefix("http://").unwrap_or(text)),
        };
        let (authority, context) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, ""),
        };
        let context = if context.is_empty() { DEFAULT_CONTEXT } else { context };
        if context.contains(['?', '#']) {
            return Err("an address has no parameters".into());
        }
        let bad = || "it is no address such as http://10.0.0.1:8848/nacos".to_owned();
        let uri: Uri = format!("{scheme}://{authority}{context}").parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        // A port that is none would be no port to it.
        let port = match authority.strip_prefix(host) {
            Some("") => DEFAULT_PORT,
            Some(_) => uri.port_u16().ok_or_else(bad)?,
            None => return Err(bad()),
        };
        Ok(Self(format!("{scheme}://{host}:{port}{context}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_in_all_forms() {
        for (text, base) in [
            ("10.0.0.1", "http://10.0.0.1:8848/nacos"),
            ("http://a.example:80", "http://a.example:80/nacos"),
            ("http://a:1/registry/", "http://a:1/registry"),
            ("http://a:1/", "http://a:1/nacos"),
            (" a:1/nacos ", "http://a:1/nacos"),
            ("[::1]:9", "http://[::1]:9/nacos"),
            ("http://[::1]", "http://[::1]:8848/nacos"),
            ("https://a.example", "https://a.example:8848/nacos"),
            ("https://[::1]:9/x", "https://[::1]:9/x"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), base);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "http://", ":80", "a:b", "a:70000", "a:", "a b", "a/b c", "a/?x", "ftp://a"]
        {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert!("http://u:p@a".parse::<Place>().unwrap_err().contains("flags"));
        let is_tls = |text: &str| text.parse::<Place>().unwrap().is_tls();
        assert!(is_tls("https://a") && !is_tls("http://a") && !is_tls("https"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(https://)?[a:/\[\]@?#.0-9é ]{0,12}") {
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string().parse::<Place>(), Ok(place.clone()));
                prop_assert!(place.uri("/v1", "a=b").is_ok());
            }
        }
    }
}
