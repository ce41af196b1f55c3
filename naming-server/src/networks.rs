//! Networks that operators name in settings, and the network that an address counts as.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Networks, `10.0.0.0/8,fd00::/8,...`; an address alone is a network of one, and IPv6 may have
/// brackets around the address. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Networks(Vec<IpNet>);

/// A text that names no networks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no network such as 10.0.0.0/8 or fd00::/8: {reason}")]
pub struct NotNetworks {
    text: String,
    reason: &'static str,
}

impl Networks {
    /// Whether no network is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them. An IPv4 address may be written as one of IPv6, and
    /// leads to the same place.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What one person cannot choose of an address: all of IPv4, and of IPv6 the first 64 bits, for
/// whoever has one address of such a network has all of them.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// An address as it is written, without the brackets that IPv6 may have around it.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Reads one network.
///
/// # Errors
/// What is wrong with the text.
fn parse(text: &str) -> Result<IpNet, &'static str> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = bare(address).parse().map_err(|_| "expected an IPv4 or IPv6 address")?;
    if address.to_canonical() != address {
        return Err("expected the IPv4 form of the address");
    }
    let network = match prefix {
        None => Some(IpNet::from(address)),
        Some(prefix) => prefix.parse().ok().and_then(|prefix| IpNet::new(address, prefix).ok()),
    };
    let network = network.ok_or("prefix length must be 0 to 32 (IPv4) or 0 to 128 (IPv6)")?;
    // `10.0.0.1/8` is most likely a typing error.
    let is_whole = network.network() == address;
    is_whole.then_some(network).ok_or("the address has bits beyond the prefix")
}

impl FromStr for Networks {
    type Err = NotNetworks;

    fn from_str(text: &str) -> Result<Self, NotNetworks> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let network =
            |item: &str| parse(item).map_err(|reason| NotNetworks { text: item.into(), reason });
        items.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Networks {
    type Error = NotNetworks;

    fn try_from(text: String) -> Result<Self, NotNetworks> {
        text.parse()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.0.iter().enumerate() {
            write!(formatter, "{}{network}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<Networks> for String {
    fn from(networks: Networks) -> Self {
        networks.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within<'a>(networks: &str, addresses: &[&'a str]) -> Vec<&'a str> {
        let networks: Networks = networks.parse().unwrap();
        let is_within = |address: &&&str| networks.contain(address.parse().unwrap());
        addresses.iter().filter(is_within).copied().collect()
    }

    #[test]
    fn an_address_is_within_a_network_or_not() {
        let addresses = ["10.0.0.1", "10.255.255.255", "11.0.0.0", "9.255.255.255", "127.0.0.1"];
        assert_eq!(within(" , ", &addresses), [""; 0]);
        assert_eq!(within("10.0.0.0/8", &addresses), ["10.0.0.1", "10.255.255.255"]);
        assert_eq!(within("10.0.0.1, 127.0.0.1/32", &addresses), ["10.0.0.1", "127.0.0.1"]);
        assert_eq!(within("0.0.0.0/0", &addresses), addresses);
        assert_eq!(within("::/0", &addresses), [""; 0]);
        let six = ["fd00::1", "fdff::", "fe00::", "::1"];
        assert_eq!(within("fd00::/8,::1", &six), ["fd00::1", "fdff::", "::1"]);
        assert_eq!(within("[fd00::]/8,[::1]", &six), ["fd00::1", "fdff::", "::1"]);
        assert_eq!(within("0.0.0.0/0", &six), [""; 0]);
        assert_eq!(within("::/0", &six), six);
        assert_eq!(within("127.0.0.0/8", &["::ffff:127.0.0.1"]), ["::ffff:127.0.0.1"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "::/129",
            "x",
            "10.0.0.0/8 ::/0",
            "::ffff:10.0.0.0/104",
            "fd00::1/8",
        ] {
            let refusal = bad.parse::<Networks>().unwrap_err().to_string();
            assert!(refusal.contains(bad), "{refusal}");
        }
        let text = "10.0.0.0/8,127.0.0.1/32,::/0";
        assert_eq!(text.parse::<Networks>().unwrap().to_string(), text);
    }
}
