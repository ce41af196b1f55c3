//! DNS: where the instances of services are, for clients that know nothing else.
//!
//! ```text
//! udp, tcp ──► exchange: limits, EDNS, cookie ──► resolve ──► naming: gate, right, endpoints
//!                 └── encode: within so many bytes   └── names: labels ► service
//! ```
//!
//! The messages are read and written by hickory's library. Nothing is asked of anybody else: each
//! member answers from memory, about names below its suffix and about nothing else.
//!
//! A datagram proves nothing about its sender, so a stranger gets no more bytes by UDP than the
//! question had, until a cookie shows that answers reach the sender (see [`cookie`]); by TCP anybody
//! gets the whole answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use hickory_proto::rr::Name;

mod cookie;
mod encode;
mod exchange;
mod names;
mod resolve;
mod stats;
mod tcp;
mod udp;

use cookie::Cookies;
use names::Zone;
use stats::Stats;

use crate::http::Sources;
use crate::naming::Naming;
use crate::networks::{Networks, bare};
use crate::source_rates::SourceRates;

pub(crate) use tcp::serve as serve_tcp;
pub(crate) use udp::serve as serve_udp;

/// Bytes of a question that is read; longer ones have no meaning here.
const MOST_QUESTION_BYTES: usize = 4_096;

/// What may change while the server runs.
#[derive(Debug, Clone)]
pub(crate) struct DnsSettings {
    /// For how many seconds others may keep an answer.
    pub(crate) ttl_s: u32,
    /// Records of an answer.
    pub(crate) max_records: usize,
    /// Bytes of an answer by UDP.
    pub(crate) max_udp_bytes: u16,
    /// Who gets whole answers by UDP and has no rate.
    pub(crate) trusted_networks: Networks,
    /// Questions that one address may ask in a second; 0 for any number.
    pub(crate) max_questions_per_second_per_source: u32,
    /// Connections by TCP, of all and of one address; trusted networks may have all.
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_source: usize,
    /// For how long a connection may say nothing.
    pub(crate) idle_timeout: Duration,
    /// Whose rights questions have while authentication is on; empty for nobody's.
    pub(crate) user: Box<str>,
}

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    Tcp,
}

/// Answers questions.
pub(crate) struct DnsFront {
    naming: Arc<Naming>,
    zone: Zone,
    /// The name of this server, and its address if it has one.
    server: (Name, Option<IpAddr>),
    /// Who is responsible for the zone, as a name.
    responsible: Name,
    settings: ArcSwap<DnsSettings>,
    cookies: Cookies,
    rates: SourceRates,
    sources: Arc<Sources>,
    stats: Stats,
    /// Where the next answer begins among the instances of its service.
    turn: AtomicUsize,
}

impl DnsFront {
    /// Answers about names below `suffix`. `address` is where this server is reached.
    ///
    /// # Errors
    /// A suffix that is no name; no random numbers.
    pub(crate) fn new(
        naming: Arc<Naming>,
        suffix: &str,
        address: &str,
        settings: DnsSettings,
    ) -> Result<Self> {
        let zone = Zone::new(suffix).context("dns.suffix is no name")?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let server = match bare(host).parse::<IpAddr>() {
            Ok(ip) => (zone.name_of(ip)?, Some(ip)),
            Err(_) => {
                let mut name = Name::from_ascii(host).or_else(|_| zone.below("ns"))?;
                name.set_fqdn(true);
                (name, None)
            }
        };
        Ok(Self {
            naming,
            server,
            responsible: zone.below("hostmaster")?,
            zone,
            settings: ArcSwap::from_pointee(settings),
            cookies: Cookies::new().context("no random numbers")?,
            rates: SourceRates::default(),
            sources: Arc::default(),
            stats: Stats::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// Takes other settings; connections that are open keep their number.
    pub(crate) fn change(&self, settings: DnsSettings) {
        self.settings.store(Arc::new(settings));
    }
}
