//! Where a server is.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::Authority;

use crate::error::Error;

const DEFAULT_PORT: u16 = 8848;
const DEFAULT_CONTEXT: &str = "/nacos";

/// Where a server is: `host`, `host:port`, `[v6]:port`, or `http://host:port/context`; `https` for
/// TLS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    host: String,
    port: u16,
    base: String,
    #[cfg(feature = "tls")]
    is_tls: bool,
}

impl Address {
    /// `host:port`, with brackets around IPv6.
    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Whether connections to it are encrypted.
    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Host (an IPv6 address without brackets) and port.
    pub(crate) fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Host and port of gRPC, `offset` above the port of HTTP.
    #[cfg(feature = "grpc")]
    pub(crate) fn grpc_place(&self, offset: u16) -> Result<(&str, u16), String> {
        let port = self.port.checked_add(offset);
        port.map(|port| (self.host.as_str(), port))
            .ok_or_else(|| format!("port {} leaves no room for gRPC {offset} above it", self.port))
    }

    /// `http://host:port/context`, without a slash at the end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Setting {
            setting: "server address",
            reason: format!("{text:?} {reason}"),
        };
        let rest = text.trim();
        let (scheme, rest) = match rest.strip_prefix("https://") {
            Some(_) if !cfg!(feature = "tls") => {
                return Err(bad("asks for TLS, which this client is built without (feature tls)"));
            }
            Some(rest) => ("https", rest),
            None => ("http", rest.strip_prefix("http://").unwrap_or(rest)),
        };
        let (place, context) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, DEFAULT_CONTEXT),
        };
        let (host, port) = split_port(place).ok_or_else(|| bad("has no readable port"))?;
        let whole = authority(host, port);
        let base = format!("{scheme}://{whole}{context}");
        // Whatever else the context holds, a request has to be possible.
        let readable = Authority::from_str(&whole).is_ok()
            && !whole.contains('@')
            && format!("{base}/v1/ns/instance").parse::<Uri>().is_ok();
        if host.is_empty() || !readable || context.contains(['?', '#', ' ']) {
            return Err(bad("is not an address"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            base,
            #[cfg(feature = "tls")]
            is_tls: scheme == "https",
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Splits `host[:port]`; a bare IPv6 address has no port.
fn split_port(place: &str) -> Option<(&str, u16)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None => port.is_empty().then_some((host, DEFAULT_PORT)),
        };
    }
    match place.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((place, DEFAULT_PORT)),
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((place, DEFAULT_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_forms() {
        let base = |text: &str| text.parse::<Address>().unwrap().base().to_owned();
        assert_eq!(base("10.0.0.1"), "http://10.0.0.1:8848/nacos");
        assert_eq!(base("a.example:80"), "http://a.example:80/nacos");
        assert_eq!(base("http://a:1/registry/"), "http://a:1/registry");
        assert_eq!(base("http://a:1/"), "http://a:1");
        assert_eq!(base("[::1]:9"), "http://[::1]:9/nacos");
        assert_eq!(base("fe80::1"), "http://[fe80::1]:8848/nacos");
        let tls = "https://a".parse::<Address>();
        assert_eq!(tls.is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn unreadable_addresses_are_refused() {
        for bad in ["", ":80", "a:b", "a:99999", "a b", "u:p@h", "[::1", "[::1]x", "ä", "a/<b>"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} was taken");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in "\\PC{0,40}|[a-z:/.\\[\\]0-9@#?]{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                let whole = format!("{}/v1/ns/instance", address.base());
                proptest::prop_assert!(whole.parse::<Uri>().is_ok(), "{whole}");
            }
        }
    }
}
