//! gRPC: Nacos clients of 2.x and 3.x.
//!
//! ```text
//! listen -> h2 ┬ /Request/request ──────────────── call ──► dispatch ─► instances, queries
//!              └ /BiRequestStream/requestBiStream  stream ► setup, acks
//!                                                     ▲
//!                                                     └──── mailbox, pushes
//! ```
//!
//! There are three messages and two methods, so nothing is generated: `naming_model::payload` has the messages,
//! `messages` takes them from the bytes of a stream, `answer` writes what goes back. One TCP
//! connection is one connection of a client (`connections`): who registers over it is there as
//! long as it is.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{SharedStatus, Tick};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

mod admit;
mod answer;
mod balance;
mod beats;
mod body;
mod budget;
mod call;
mod connected;
mod connections;
mod dispatch;
mod flow;
mod fuzzy;
mod holder;
mod instances;
mod kind;
mod leaving;
mod listen;
mod mailbox;
mod members;
mod messages;
mod metrics;
#[cfg(test)]
mod mutation_tests;
mod names;
mod queries;
mod refusal;
mod send;
mod setup;
mod stats;
mod status;
mod stream;
mod watching;

pub(crate) use listen::serve;

use budget::Budget;
use connections::Connections;
use holder::Holder;
use setup::SetupRates;
use stats::GrpcStats;
use watching::Watchers;

use crate::config::GrpcConfig;
use crate::http::{ConnectionLimits, Sources};
use crate::java2::Peers;
use crate::naming::Naming;
use crate::pace::Pace;
use crate::registry::Registry;

/// Lines about instances that took the place of others, and in which time.
const REPLACED_LINES: u32 = 10;
const REPLACED_PERIOD: Duration = Duration::from_secs(10);

/// What all connections share.
pub(crate) struct Front {
    settings: GrpcConfig,
    /// How many connections may be open.
    limits: ConnectionLimits,
    /// What clients are told as the address of this server.
    own_ip: Box<str>,
    naming: Arc<Naming>,
    connections: Connections,
    holder: Holder,
    watchers: Watchers,
    stats: Arc<GrpcStats>,
    sources: Arc<Sources>,
    budget: Arc<Budget>,
    setups: SetupRates,
    /// Beats on their way to owners of another make.
    beats: beats::OwnerBeats,
    /// Lines about instances that took the place of others.
    replaced: Mutex<Pace>,
    /// Whom the requests of members are for; `None` at the port of clients.
    peers: Option<Arc<Peers>>,
    /// Whether members are told of the hosts that clients come from: Java servers know no more.
    tells_hosts: bool,
    /// Clients are being sent elsewhere: no new ones are taken on.
    draining: CancellationToken,
    /// All connections end.
    cut_all: CancellationToken,
}

/// What a [`Front`] works with.
pub(crate) struct FrontParts<'a> {
    pub(crate) settings: GrpcConfig,
    /// Where clients reach this server, with the port.
    pub(crate) address: &'a str,
    pub(crate) naming: Arc<Naming>,
    /// Where members tell each other of connections.
    pub(crate) shared_status: Arc<SharedStatus>,
    /// Whom the requests of members are for, at the port of members.
    pub(crate) peers: Option<Arc<Peers>>,
    /// Whether Java servers of 2.x are among the members.
    pub(crate) has_java: bool,
}

impl Front {
    pub(crate) fn new(parts: FrontParts<'_>) -> Self {
        let FrontParts { settings, address, naming, shared_status, peers, has_java } = parts;
        let own_ip = address.rsplit_once(':').map_or(address, |(host, _)| host).into();
        Self {
            own_ip,
            limits: settings.connection_limits(),
            connections: Connections::default(),
            holder: Holder::new(shared_status, naming.registry()),
            naming,
            watchers: Watchers::default(),
            stats: Arc::new(GrpcStats::new()),
            sources: Arc::default(),
            budget: Arc::new(Budget::new(settings.max_buffered_bytes)),
            setups: SetupRates::new(settings.max_setups_per_second_per_source),
            beats: beats::OwnerBeats::default(),
            replaced: Mutex::new(Pace::new(REPLACED_LINES, REPLACED_PERIOD)),
            peers,
            tells_hosts: has_java,
            draining: CancellationToken::new(),
            cut_all: CancellationToken::new(),
            settings,
        }
    }

    /// Has the limits of other settings count from now on: those of connections and setups.
    pub(crate) fn change_limits(&self, settings: &GrpcConfig) {
        settings.change(&self.limits);
        self.setups.change(settings.max_setups_per_second_per_source);
    }

    fn registry(&self) -> &Arc<Registry> {
        self.naming.registry()
    }

    fn now(&self) -> Tick {
        self.registry().clock.tick()
    }

    /// An id for a request to a client: a number, as in Nacos.
    fn next_request_id(&self) -> String {
        self.naming.pusher().request_ids().next().to_string()
    }
}
