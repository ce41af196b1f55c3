//! Where members are reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use distro_core::MemberId;

/// The port if none is given.
pub const DEFAULT_PORT: u16 = 8_848;

/// The address that a member advertises, `ip:port`, `[ip6]:port` or `host:port`, in one spelling:
/// members must write one address alike, because identity is made of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// How addresses are taken from a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spelling {
    /// In one spelling, whatever the list says: [`FromStr`].
    #[default]
    Normal,
    /// As they are spelled: [`Address::verbatim`].
    Verbatim,
}

impl Spelling {
    /// The address in a text.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(self, text: &str) -> Result<Address, BadAddress> {
        match self {
            Self::Normal => text.parse(),
            Self::Verbatim => Address::verbatim(text),
        }
    }
}

/// Not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address; write ip:port, [ip6]:port or host:port")]
pub struct BadAddress(pub String);

impl Address {
    /// The identity of the member that advertises it.
    pub fn member(&self) -> MemberId {
        MemberId::of(&self.0)
    }

    /// Takes an address as it is spelled, with the default port if it has none: for clusters whose
    /// other members compare spellings byte by byte and would not know this one by another.
    ///
    /// # Errors
    /// What [`FromStr`] does not take.
    pub fn verbatim(text: &str) -> Result<Self, BadAddress> {
        let normal: Self = text.parse()?;
        let bare = text.split('?').next().unwrap_or_default().trim();
        // An address of the second kind with colons in it has no port unless it has brackets.
        if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
            return Ok(normal);
        }
        let has_port = bare.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        Ok(if has_port { Self(bare.into()) } else { Self(format!("{bare}:{DEFAULT_PORT}").into()) })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    /// Takes an address with or without a port; white space around it and settings after a `?`,
    /// as Nacos 1.4 writes them to its `cluster.conf`, do not count.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bare = text.split('?').next().unwrap_or_default().trim();
        if let Ok(address) = bare.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let unbracketed = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = unbracketed.unwrap_or(bare).parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, DEFAULT_PORT).into());
        }
        let bad = || BadAddress(text.trim().chars().take(MOST_HOST_CHARS).collect());
        let (host, port) = match bare.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (bare, DEFAULT_PORT),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // All digits and dots would be a mistyped number.
        let is_name = host.chars().any(|c| c.is_ascii_alphabetic());
        if port == 0 || host.len() > MOST_HOST_CHARS || !is_name || !host.chars().all(is_host) {
            return Err(bad());
        }
        Ok(Self(format!("{}:{port}", host.to_ascii_lowercase()).into()))
    }
}

/// Of a name in the domain name system.
const MOST_HOST_CHARS: usize = 253;

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Address>().unwrap().to_string()
    }

    #[test]
    fn one_address_has_one_spelling() {
        assert_eq!(parsed(" 10.0.0.1:8848 "), "10.0.0.1:8848");
        assert_eq!(parsed("10.0.0.1"), "10.0.0.1:8848");
        assert_eq!(parsed("10.0.0.1:8848?raft_port=7848"), "10.0.0.1:8848");
        assert_eq!(parsed("[2001:DB8:0:0::1]:80"), "[2001:db8::1]:80");
        assert_eq!(parsed("2001:db8::1"), "[2001:db8::1]:8848");
        assert_eq!(parsed("[::1]"), "[::1]:8848");
        assert_eq!(parsed("Node-1.Example:9000"), "node-1.example:9000");
        assert_eq!(parsed("node-1"), "node-1:8848");
    }

    #[test]
    fn a_spelling_can_be_kept() {
        let kept = |text| Address::verbatim(text).unwrap().to_string();
        assert_eq!(kept(" Node-1.Example "), "Node-1.Example:8848");
        assert_eq!(kept("Node-1:9000?raft_port=1"), "Node-1:9000");
        assert_eq!(kept("10.0.0.1"), "10.0.0.1:8848");
        assert_eq!(kept("[2001:DB8::1]"), "[2001:DB8::1]:8848");
        assert_eq!(kept("[2001:DB8::1]:80"), "[2001:DB8::1]:80");
        assert_eq!(kept("2001:DB8::1"), "[2001:db8::1]:8848");
        assert!(Address::verbatim("a:b").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ":80", "a:b", "a b:80", "10.0.0.256:80", "1:2:3", "x:70000", "h:0", "[x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_parses_again_to_the_same(text in "[0-9a-z.:\\[\\]-]{0,20}|\\PC{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(parsed(address.as_str()), address.to_string());
            }
        }
    }
}
