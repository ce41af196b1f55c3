//! What an operator needs to know of a certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Names that are shown of a certificate.
const MOST_NAMES: usize = 16;

/// The certificate of this server, in words.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) subject: String,
    /// Hosts that it stands for.
    pub(super) names: String,
    /// Its last moment, as text.
    pub(super) expires: String,
    /// Its last moment, since the epoch.
    expires_at: Duration,
}

impl Leaf {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(der: &[u8]) -> Result<Self> {
        let certificate = Certificate::from_der(der).context("not an X.509 certificate")?;
        let content = &certificate.tbs_certificate;
        let names = content.get::<SubjectAltName>().ok().flatten();
        let names = names.iter().flat_map(|(_, names)| &names.0);
        let names: Vec<_> = names.filter_map(host).take(MOST_NAMES).collect();
        let expires = content.validity.not_after;
        Ok(Self {
            subject: content.subject.to_string(),
            names: names.join(", "),
            expires: expires.to_string(),
            expires_at: expires.to_unix_duration(),
        })
    }

    /// Seconds until it expires; below 0 it has.
    pub(super) fn seconds_left(&self) -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires_at.as_secs_f64() - now.as_secs_f64()
    }
}

fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
            let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|ip| IpAddr::from(Ipv6Addr::from(ip)));
            v4().or_else(v6).map(|ip| ip.to_string())
        }
        _ => None,
    }
}
