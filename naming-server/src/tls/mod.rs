//! TLS: certificates, keys and the authorities to trust, read again when their files change.
//!
//! ```text
//! Files ──read──► Contents ──► Suite: what the ports and the dialer of members use
//!                                 ▲
//! follow ──looks each second──► Keychain ──► Port (one for each listener), MemberDialer
//! ```
//!
//! A suite is made whole or not at all: a file that is missing, half written or does not fit the
//! others leaves the suite of before in use. Connections keep what they began with.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Semaphore;

use crate::config::{Config, TlsMode};
use crate::metrics::{Metric, MetricSource};

mod dialer;
mod files;
mod keychain;
mod leaf;
mod own;
mod port;
mod watch;

pub(crate) use dialer::MemberDialer;
pub(crate) use own::speak_to_own;
pub(crate) use port::{Outcome, Port};
pub(crate) use watch::follow;

use files::Files;
use keychain::{Keychain, Offer, Terms};

/// Handshakes under way at a time, on all ports. Each holds up to some 80 KiB.
const MOST_HANDSHAKES: usize = 1_024;

/// What a server has of TLS.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    /// What clients and consoles are shown.
    clients: Option<Arc<Keychain>>,
    /// What members show each other.
    members: Option<Arc<Keychain>>,
    main: Option<Arc<Port>>,
    grpc: Option<Arc<Port>>,
    console: Option<Arc<Port>>,
    member_port: Option<Arc<Port>>,
    dialer: Option<Arc<MemberDialer>>,
}

impl Tls {
    /// Reads what the settings name. `own_address` is where other members reach this one, with a port.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit the others; the text names its key.
    pub(crate) fn open(config: &Config, own_address: &str) -> Result<Self> {
        let (tls, members) = (&config.tls, &config.cluster.tls);
        let turns = Arc::new(Semaphore::new(MOST_HANDSHAKES));
        let clients = match tls.is_on() {
            true => Some(Keychain::open(Files::of_clients(tls), Terms::of_clients(tls))?),
            false => None,
        };
        let own_host = own_address.rsplit_once(':').map_or(own_address, |(host, _)| host);
        let members = match config.cluster.is_enabled() && members.is_on() {
            true => Some(Keychain::open(Files::of_members(members), Terms::of_members(own_host)?)?),
            false => None,
        };
        if clients.is_some() || members.is_some() {
            watch::survive_hangup()?;
        }
        let port = |name, keychain: &Option<Arc<Keychain>>, mode, offer| {
            let keychain = keychain.as_ref().filter(|_| mode != TlsMode::Off)?;
            let is_required = mode == TlsMode::Required;
            let (keychain, turns) = (Arc::clone(keychain), Arc::clone(&turns));
            Some(Arc::new(Port::new(name, is_required, offer, keychain, turns)))
        };
        let offer = if config.grpc.shared_port { Offer::Both } else { Offer::Http };
        Ok(Self {
            main: port("main", &clients, tls.mode, offer),
            grpc: port("grpc", &clients, tls.grpc_mode(), Offer::Grpc),
            console: port("console", &clients, tls.console_mode(), Offer::Http),
            member_port: port("members", &members, config.cluster.tls.mode, Offer::Http),
            dialer: members.clone().map(|keychain| Arc::new(MemberDialer::new(keychain))),
            clients,
            members,
        })
    }

    /// Of the main port, if it speaks TLS.
    pub(crate) fn main(&self) -> Option<Arc<Port>> {
        self.main.clone()
    }

    /// Of the gRPC port, if it speaks TLS.
    pub(crate) fn grpc(&self) -> Option<Arc<Port>> {
        self.grpc.clone()
    }

    /// Of the console port, if it speaks TLS.
    pub(crate) fn console(&self) -> Option<Arc<Port>> {
        self.console.clone()
    }

    /// Of the port for members, if it speaks TLS.
    pub(crate) fn member_port(&self) -> Option<Arc<Port>> {
        self.member_port.clone()
    }

    /// By what this member dials others in TLS, if there is anything to dial by.
    pub(crate) fn dialer(&self) -> Option<Arc<MemberDialer>> {
        self.dialer.clone()
    }

    /// All that is read again when its files change.
    pub(crate) fn keychains(&self) -> Vec<Arc<Keychain>> {
        [&self.clients, &self.members].into_iter().flatten().cloned().collect()
    }
}

impl MetricSource for Tls {
    fn metrics(&self) -> Vec<Metric> {
        let keychains = self.keychains();
        if keychains.is_empty() {
            return Vec::new();
        }
        let of = |keychain: &Keychain| ("keys", keychain.section().into());
        let left = keychains.iter().map(|one| (vec![of(one)], one.seconds_left()));
        let reloads = keychains.iter().flat_map(|one| {
            let (taken, refused) = one.reloads();
            [("taken", taken), ("refused", refused)]
                .map(|(outcome, count)| (vec![of(one), ("outcome", outcome.into())], count))
        });
        let ports = [&self.main, &self.grpc, &self.console, &self.member_port];
        let handshakes = ports.into_iter().flatten().flat_map(|port| {
            Outcome::ALL.map(|outcome| {
                let labels = vec![("port", port.name().into()), ("outcome", outcome.name().into())];
                (labels, port.count(outcome))
            })
        });
        let failed = self.dialer.as_ref().map_or(0, |dialer| dialer.failed());
        let left_help = "Seconds until the certificate expires; below 0 it has expired.";
        vec![
            Metric::gauges("naming_tls_certificate_expiry_seconds", left_help, left),
            Metric::counters("naming_tls_reloads", "Changed TLS files by outcome.", reloads),
            Metric::counters(
                "naming_tls_connections",
                "Connections to ports that speak TLS, by how they began.",
                handshakes,
            ),
            Metric::counter(
                "naming_tls_dials_failed",
                "Handshakes with members that failed.",
                failed,
            ),
        ]
    }
}
