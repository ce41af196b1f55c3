//! New-node sync: a member that starts empty gets all data before it answers its first read, or the
//! proof that nobody has any.
//!
//! [`Loader`] pulls a snapshot, slot by slot, from all members that have data. What changes meanwhile
//! comes by replication; a comparison with each of them (`verify`) finds what fell between the two.

use crate::distro::{Distro, Output};
use crate::membership::{Peer, Phase};
use crate::record::Value;
use crate::status::Beginning;
use crate::time::Tick;

mod answer;
mod loader;
pub(crate) use loader::{Loader, Prospect};

/// How far this member has come in getting its data.
#[derive(Debug)]
pub(crate) struct Joining {
    /// The load, until it is over.
    pub(crate) loader: Option<Loader>,
    /// Found no data: shows nothing until clients had time to register again.
    pub(crate) quiet_until: Tick,
}

impl Joining {
    pub(crate) fn new(now: Tick) -> Self {
        Self { loader: None, quiet_until: now }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// From joining to up.
    pub(crate) fn advance_phase(&mut self, now: Tick) {
        let Some(loader) = &self.joining.loader else { return };
        let config = &self.config;
        let prospect = |peer: &Peer| peer.member.prospect(config, now);
        let sources: Vec<&Peer> =
            self.peers.values().filter(|peer| prospect(peer) == Prospect::Source).collect();
        let phase = if sources.is_empty() {
            let is_alone =
                loader.is_alone(self.peers.values().map(prospect), config.alone_after, now);
            if is_alone { Phase::Up } else { Phase::Joining }
        } else {
            // Everything is pulled from one member and then compared with each.
            let pulled = loader.pulled();
            let is_compared = |peer: &&Peer| pulled.is_some() && peer.verifier.completed >= pulled;
            if sources.iter().all(is_compared) { Phase::Up } else { Phase::Loading }
        };
        if phase == Phase::Up {
            if sources.is_empty() {
                self.joining.quiet_until = now.after(config.empty_start);
                self.status.set_beginning(Beginning::Alone);
            } else {
                self.status.set_beginning(Beginning::Loaded);
            }
            self.joining.loader = None;
        }
        self.set_phase(phase);
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        if phase != self.phase {
            self.phase = phase;
            self.outputs.push_back(Output::Phase(phase));
        }
    }
}
