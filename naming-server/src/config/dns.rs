//! Settings of the DNS front.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};

use super::check::{DAY_MS, within};
use super::this_machine;
use crate::dns::DnsSettings;
use crate::networks::Networks;

/// Bytes of a suffix: room for a service, a group and a namespace of 49 bytes each.
const MOST_SUFFIX_BYTES: usize = 100;

/// DNS, for clients that know nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Port, of UDP and of TCP, on which questions are answered; 0 takes any free one. Default: not
    /// set, there is no DNS.
    pub port: Option<u16>,
    /// Address to listen on. Default empty: that of the server (`bind`). On a machine with several
    /// addresses name one, so that answers come from where the questions went.
    pub bind: String,
    /// Suffix of all names. Default `nacos.internal`.
    pub suffix: String,
    /// Seconds for which others may keep an answer, also that there is none. Default 5. Too small
    /// asks often, too large shows instances that are gone.
    pub ttl_s: u32,
    /// Records of an answer at most; a service with more has others in the next answer. Default 64.
    pub max_records: usize,
    /// Bytes of an answer by UDP at most; clients with less room get less. Default 1,232, which no
    /// network cuts into pieces.
    pub max_udp_bytes: u16,
    /// Networks whose clients get whole answers by UDP and have no limit of questions. Default this
    /// machine. Add only networks in which nobody can send under the address of somebody else, whom
    /// answers would flood.
    pub trusted_networks: Networks,
    /// Questions that one address, or one IPv6 network of 64 bits, may ask in a second; further ones
    /// have no answer. Default 1,000; 0 for any number. Trusted networks have no limit.
    pub max_questions_per_second_per_source: u32,
    /// TCP connections open at a time; further ones are closed at once. Default 1,024.
    pub max_connections: usize,
    /// The same of one address, or one IPv6 network of 64 bits; trusted networks may have all.
    /// Default 64.
    pub max_connections_per_source: usize,
    /// Milliseconds for which a TCP connection may ask nothing. Default 10,000.
    pub idle_timeout_ms: u64,
    /// User with whose rights questions are answered while `auth.enabled` is set. Default empty:
    /// nobody is answered then. It needs no password that anybody knows, only the right to read.
    pub user: String,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            port: None,
            bind: String::new(),
            suffix: "nacos.internal".to_owned(),
            ttl_s: 5,
            max_records: 64,
            max_udp_bytes: 1_232,
            trusted_networks: this_machine(),
            max_questions_per_second_per_source: 1_000,
            max_connections: 1_024,
            max_connections_per_source: 64,
            idle_timeout_ms: 10_000,
            user: String::new(),
        }
    }
}

impl DnsConfig {
    pub(super) fn check(&self) -> Result<()> {
        let suffix = &self.suffix;
        let name = Name::from_ascii(suffix).context("dns.suffix is no name of DNS")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        ensure!(
            name.iter().next().is_some() && !suffix.contains("..") && suffix.bytes().all(is_plain),
            "dns.suffix must be a name of letters, digits and -, as nacos.internal, not {suffix:?}"
        );
        ensure!(
            suffix.len() <= MOST_SUFFIX_BYTES,
            "dns.suffix has {MOST_SUFFIX_BYTES} bytes at most, not {}",
            suffix.len()
        );
        within("dns.ttl_s", self.ttl_s, 0..=86_400)?;
        within("dns.max_records", self.max_records, 1..=1_000)?;
        within("dns.max_udp_bytes", self.max_udp_bytes, 512..=4_096)?;
        let questions = self.max_questions_per_second_per_source;
        within("dns.max_questions_per_second_per_source", questions, 0..=100_000_000)?;
        within("dns.max_connections", self.max_connections, 1..=1_000_000)?;
        let per_source = self.max_connections_per_source;
        within("dns.max_connections_per_source", per_source, 1..=1_000_000)?;
        within("dns.idle_timeout_ms", self.idle_timeout_ms, 100..=DAY_MS)
    }

    /// What may change while the server runs.
    pub(crate) fn settings(&self) -> DnsSettings {
        DnsSettings {
            ttl_s: self.ttl_s,
            max_records: self.max_records,
            max_udp_bytes: self.max_udp_bytes,
            trusted_networks: self.trusted_networks.clone(),
            max_questions_per_second_per_source: self.max_questions_per_second_per_source,
            max_connections: self.max_connections,
            max_connections_per_source: self.max_connections_per_source,
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            user: self.user.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_a_name_of_plain_labels() {
        let check =
            |suffix: &str| DnsConfig { suffix: suffix.into(), ..DnsConfig::default() }.check();
        for good in ["nacos.internal", "svc.cluster.local.", "Nacos", &"a.".repeat(50)] {
            check(good).unwrap();
        }
        for bad in ["", ".", "a..b", "a b", "_x.y", "é.y", &"a.".repeat(51), &"a".repeat(64)] {
            let refusal = format!("{:#}", check(bad).unwrap_err());
            assert!(refusal.contains("dns.suffix"), "{refusal}");
        }
    }
}
