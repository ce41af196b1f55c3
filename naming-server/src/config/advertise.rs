//! The address under which this server is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Result, bail};
use distro_net::{Address, Spelling};

use super::Config;

/// Addresses reserved for documentation: outside of every local network, so that the way to them
/// is the default way.
const FAR_AWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

impl Config {
    /// The address clients and members are told, given the one that is listened on.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> Address {
        if let Some(address) = self.advertised_verbatim(bound) {
            return address;
        }
        match parse(&self.advertise) {
            Some(Advertised::Ip(ip, port)) => {
                SocketAddr::new(ip, port.unwrap_or_else(|| bound.port())).into()
            }
            Some(Advertised::Host(address)) => address,
            Some(Advertised::BareHost(host)) => {
                let with_port = format!("{host}:{}", bound.port());
                with_port.parse().unwrap_or_else(|_| bound.into())
            }
            None if bound.ip().is_unspecified() => {
                SocketAddr::new(own_address(), bound.port()).into()
            }
            None => bound.into(),
        }
    }

    /// The address as it is written in the settings, where others know this server by its text.
    fn advertised_verbatim(&self, bound: SocketAddr) -> Option<Address> {
        let text = self.advertise.trim();
        if text.parse::<Ipv6Addr>().is_ok() {
            // Without brackets it has one spelling with a port.
            return None;
        }
        let has_port = match parse(text)? {
            Advertised::Ip(_, port) => port.is_some(),
            Advertised::Host(_) => true,
            Advertised::BareHost(_) => false,
        };
        match self.cluster.spelling() {
            Spelling::Normal => None,
            Spelling::Verbatim if has_port => Address::verbatim(text).ok(),
            Spelling::Verbatim => Address::verbatim(&format!("{text}:{}", bound.port())).ok(),
        }
    }

    pub(super) fn check_advertise(&self) -> Result<()> {
        let text = &self.advertise;
        match parse(text) {
            None if text.trim().is_empty() => Ok(()),
            None => bail!("advertise must be HOST or HOST:PORT, not {text:?}"),
            Some(Advertised::Ip(ip, _)) if ip.is_unspecified() => {
                bail!("advertise must be an address that clients can reach, not {text:?}")
            }
            Some(Advertised::Ip(_, Some(0))) => bail!("advertise must not name port 0"),
            Some(_) => Ok(()),
        }
    }
}

/// An address to be told to others.
enum Advertised {
    Ip(IpAddr, Option<u16>),
    Host(Address),
    /// A name without a port.
    BareHost(String),
}

fn parse(text: &str) -> Option<Advertised> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Advertised::Ip(address.ip(), Some(address.port())));
    }
    let ip = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = ip.parse() {
        return Some(Advertised::Ip(ip, None));
    }
    let address = text.parse::<Address>().ok()?;
    let has_port = text.contains(':');
    Some(if has_port { Advertised::Host(address) } else { Advertised::BareHost(text.to_owned()) })
}

/// The address this machine would send from. Nothing is sent to find it out.
fn own_address() -> IpAddr {
    let towards = |target: &IpAddr| {
        let any: IpAddr = match target {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((*target, 9)).ok()?;
        let own = socket.local_addr().ok()?.ip();
        (!own.is_unspecified() && !own.is_loopback()).then_some(own)
    };
    FAR_AWAY.iter().find_map(towards).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(advertise: &str, bound: &str) -> String {
        let config = Config { advertise: advertise.to_owned(), ..Config::default() };
        config.check_advertise().unwrap();
        config.advertised(bound.parse().unwrap()).to_string()
    }

    #[test]
    fn what_is_set_wins_and_the_port_may_be_left_out() {
        assert_eq!(advertised("10.0.0.1:9000", "0.0.0.0:8848"), "10.0.0.1:9000");
        assert_eq!(advertised(" 10.0.0.1 ", "0.0.0.0:8848"), "10.0.0.1:8848");
        assert_eq!(advertised("[2001:db8::7]", "[::]:8848"), "[2001:db8::7]:8848");
        assert_eq!(advertised("2001:db8::7", "[::]:8848"), "[2001:db8::7]:8848");
        assert_eq!(advertised("node-1.naming", "0.0.0.0:9000"), "node-1.naming:9000");
        assert_eq!(advertised("node-1.naming:81", "0.0.0.0:9000"), "node-1.naming:81");
    }

    #[test]
    fn its_spelling_is_kept_where_others_know_it_by_its_text() {
        let mut config = Config::default();
        config.cluster.dialect = crate::Dialect::Nacos;
        for (advertise, expected) in [
            ("Node-1.Naming", "Node-1.Naming:9000"),
            ("Node-1:81", "Node-1:81"),
            ("[2001:DB8::7]:81", "[2001:DB8::7]:81"),
            ("2001:DB8::7", "[2001:db8::7]:9000"),
            ("10.0.0.1", "10.0.0.1:9000"),
            ("", "127.0.0.1:9000"),
        ] {
            config.advertise = advertise.to_owned();
            assert_eq!(config.advertised("127.0.0.1:9000".parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn otherwise_it_is_an_address_others_could_use() {
        assert_eq!(advertised("", "127.0.0.1:81"), "127.0.0.1:81");
        for bound in ["0.0.0.0:81", "[::]:81"] {
            let found: SocketAddr = advertised("", bound).parse().unwrap();
            assert!(!found.ip().is_unspecified() && found.port() == 81, "{found}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["a b", "10.0.0.1:", "10.0.0.1:0", "0.0.0.0", "[::]:80", "10.0.0.1:70000"] {
            let config = Config { advertise: bad.to_owned(), ..Config::default() };
            let text = config.check_advertise().unwrap_err().to_string();
            assert!(text.starts_with("advertise must"), "{text}");
        }
    }
}
