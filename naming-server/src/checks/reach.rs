//! Where checks may connect to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;

use crate::networks::{Networks, bare};

/// Which addresses checks may connect to. Whoever may register an instance names an address, and
/// sees in its health whether somebody answers there: so what only this machine and its link can
/// reach is left out unless the operator names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    networks: Networks,
    is_local: bool,
}

impl Reach {
    /// The networks that the operator names, and nothing else. If none is named: every address
    /// but those of loopback, of the link and of no host. A server that `is_local`, which listens
    /// on a loopback address, takes instances from this machine alone and checks them there.
    pub(crate) fn new(networks: Networks, is_local: bool) -> Self {
        Self { networks, is_local }
    }

    /// Whether an instance with this address may be checked. Once networks are named, a name is
    /// in none of them: what a name stands for is up to others.
    pub(super) fn allows(&self, host: &str) -> bool {
        match bare(host).parse() {
            Ok(address) => self.allows_address(address),
            Err(_) => self.networks.is_empty(),
        }
    }

    /// The addresses that `host:port` stands for, among those that may be connected to. Names are
    /// looked up here, so that the address that was judged is the one that is connected to.
    ///
    /// # Errors
    /// A name that cannot be looked up.
    pub(super) async fn addresses(&self, place: &str) -> io::Result<Vec<SocketAddr>> {
        let found = lookup_host(place).await?;
        Ok(found.filter(|address| self.allows_address(address.ip())).collect())
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if !self.networks.is_empty() {
            return self.networks.contain(address);
        }
        if address.is_loopback() { self.is_local } else { is_of_one_host_elsewhere(address) }
    }
}

/// Whether the address can be that of a host beyond this machine and its link.
fn is_of_one_host_elsewhere(address: IpAddr) -> bool {
    match address {
        // Linux takes 0.0.0.0 for the machine itself.
        IpAddr::V4(ip) => {
            let is_here = ip.octets()[0] == 0 || ip.is_link_local();
            !is_here && !ip.is_multicast() && !ip.is_broadcast()
        }
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local() && !ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed<'a>(networks: &str, is_local: bool, hosts: &[&'a str]) -> Vec<&'a str> {
        let reach = Reach::new(networks.parse().unwrap(), is_local);
        hosts.iter().copied().filter(|host| reach.allows(host)).collect()
    }

    const NEAR: [&str; 12] = [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "[fe80::1]",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
    ];

    #[test]
    fn without_networks_the_machine_and_its_link_are_out_of_reach() {
        assert_eq!(allowed("", false, &NEAR), [""; 0]);
        let far = ["10.0.0.1", "192.168.1.1", "fd00::1", "[2001:db8::1]", "a.name"];
        assert_eq!(allowed("", false, &far), far);
    }

    #[test]
    fn a_server_that_only_this_machine_reaches_checks_this_machine() {
        let loopback = ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1"];
        assert_eq!(allowed("", true, &NEAR), loopback);
    }

    #[test]
    fn networks_that_are_named_are_all_that_is_reached() {
        let hosts = [&NEAR[..], &["10.0.0.1", "a.name"]].concat();
        let four = ["127.0.0.1", "127.8.8.8", "::ffff:127.0.0.1"];
        assert_eq!(allowed("127.0.0.0/8", false, &hosts), four);
        assert_eq!(allowed("::1", false, &hosts), ["::1", "[::1]"]);
        assert_eq!(allowed("10.0.0.0/8", true, &hosts), ["10.0.0.1"]);
        let all = "0.0.0.0/0,::/0";
        assert_eq!(allowed(all, false, &hosts), hosts[..hosts.len() - 1], "but no name");
        let odd = ["127.1", "0x7f.0.0.1", "2130706433", "localhost", "fe80::1%eth0"];
        assert_eq!(allowed(all, false, &odd), [""; 0]);
    }

    #[tokio::test]
    async fn a_name_is_judged_by_the_addresses_it_stands_for() {
        let reach = Reach::default();
        for place in ["127.1:80", "0x7f.0.0.1:80", "localhost:80", "169.254.169.254:80"] {
            // What cannot be looked up cannot be connected to, either.
            assert_eq!(reach.addresses(place).await.unwrap_or_default(), [], "{place}");
        }
        let found = reach.addresses("10.0.0.1:80").await.unwrap();
        assert_eq!(found, ["10.0.0.1:80".parse().unwrap()]);
    }
}
