//! Where checks may connect to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Networks that health checks may connect to, `10.0.0.0/8,fd00::/8,...`; an address alone is a
/// network of one. Empty, the default, means every address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckNetworks(Vec<Network>);

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    /// Bits that are alike.
    prefix: u8,
}

/// A text that says no networks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no network as 10.0.0.0/8 or fd00::/8: {reason}")]
pub struct NotNetworks {
    text: String,
    reason: &'static str,
}

impl CheckNetworks {
    /// Whether an instance with this address may be connected to. Once networks are listed, a
    /// name is none of them: what it stands for is up to others, and may change between a look at
    /// it and the connection.
    pub(super) fn allow(&self, ip: &str) -> bool {
        let has = |address: IpAddr| self.0.iter().any(|network| network.has(address));
        // An IPv4 address may be written as one of IPv6, and leads to the same place.
        self.0.is_empty() || ip.parse().is_ok_and(|address: IpAddr| has(address.to_canonical()))
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differing = u32::from(first) ^ u32::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differing = u128::from(first) ^ u128::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }

    /// Whether it begins where it should: `10.0.0.1/8` is most likely a typing error.
    fn is_whole(self) -> bool {
        let trailing = match self.first {
            IpAddr::V4(first) => u32::from(first).trailing_zeros(),
            IpAddr::V6(first) => u128::from(first).trailing_zeros(),
        };
        trailing + u32::from(self.prefix) >= u32::from(bits(self.first))
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| "the address is none")?;
        if first.to_canonical() != first {
            return Err("it should be written as one of IPv4");
        }
        let most = bits(first);
        let prefix = match prefix {
            None => most,
            Some(text) => text
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or("the number of bits is none")?,
        };
        let network = Self { first, prefix };
        network.is_whole().then_some(network).ok_or("the address has bits beyond the prefix")
    }
}

impl FromStr for CheckNetworks {
    type Err = NotNetworks;

    fn from_str(text: &str) -> Result<Self, NotNetworks> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let parse =
            |item: &str| item.parse().map_err(|reason| NotNetworks { text: item.into(), reason });
        items.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for CheckNetworks {
    type Error = NotNetworks;

    fn try_from(text: String) -> Result<Self, NotNetworks> {
        text.parse()
    }
}

impl fmt::Display for CheckNetworks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Network { first, prefix }) in self.0.iter().enumerate() {
            write!(formatter, "{}{first}/{prefix}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<CheckNetworks> for String {
    fn from(networks: CheckNetworks) -> Self {
        networks.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed<'a>(networks: &str, addresses: &[&'a str]) -> Vec<&'a str> {
        let networks: CheckNetworks = networks.parse().unwrap();
        addresses.iter().copied().filter(|address| networks.allow(address)).collect()
    }

    #[test]
    fn without_networks_every_address_is_allowed() {
        let all = ["127.0.0.1", "169.254.169.254", "::1", "a.name", ""];
        assert_eq!(allowed("", &all), all);
        assert_eq!(allowed(" , ", &all), all);
    }

    #[test]
    fn an_address_is_within_a_network_or_not() {
        let addresses = ["10.0.0.1", "10.255.255.255", "11.0.0.0", "9.255.255.255", "127.0.0.1"];
        assert_eq!(allowed("10.0.0.0/8", &addresses), ["10.0.0.1", "10.255.255.255"]);
        assert_eq!(allowed("10.0.0.1, 127.0.0.1/32", &addresses), ["10.0.0.1", "127.0.0.1"]);
        assert_eq!(allowed("0.0.0.0/0", &addresses), addresses);
        assert_eq!(allowed("::/0", &addresses), [""; 0]);
        let six = ["fd00::1", "fdff::", "fe00::", "::1"];
        assert_eq!(allowed("fd00::/8,::1", &six), ["fd00::1", "fdff::", "::1"]);
        assert_eq!(allowed("0.0.0.0/0", &six), [""; 0]);
        assert_eq!(allowed("::/0", &six), six);
    }

    #[test]
    fn what_leads_elsewhere_by_another_spelling_is_not_allowed() {
        let odd = ["::ffff:127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "localhost", "[::1]"];
        assert_eq!(allowed("10.0.0.0/8,::/0", &odd), [""; 0]);
        assert_eq!(allowed("127.0.0.0/8", &odd), ["::ffff:127.0.0.1"]);
        assert_eq!(allowed("fe80::/10", &["fe80::1%eth0", "fe80::1"]), ["fe80::1"]);
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
            let refusal = bad.parse::<CheckNetworks>().unwrap_err().to_string();
            assert!(refusal.contains(bad), "{refusal}");
        }
        let text = "10.0.0.0/8,127.0.0.1/32,::/0";
        assert_eq!(text.parse::<CheckNetworks>().unwrap().to_string(), text);
    }
}
