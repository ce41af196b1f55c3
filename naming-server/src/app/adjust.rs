//! What of a node changes while it runs, when its settings do.

use std::sync::Arc;

use distro_net::{Control, parse_members};

use super::App;
use crate::auth::TokenKeys;
use crate::checks::Checks;
use crate::config::{ClusterConfig, Config, Dialect};
use crate::grpc::Front;
use crate::http::ConnectionLimits;
use crate::naming::Naming;
use crate::registry::Content;

/// The parts of a node that take other settings.
pub(crate) struct Adjustable {
    naming: Arc<Naming>,
    connections: Arc<ConnectionLimits>,
    grpc: Arc<Front>,
    checks: Arc<Checks>,
    control: Control<Content>,
}

impl App {
    /// What takes other settings while this runs.
    pub(crate) fn adjustable(&self) -> Adjustable {
        Adjustable {
            naming: Arc::clone(self.api.naming()),
            connections: Arc::clone(&self.connections),
            grpc: Arc::clone(&self.grpc),
            checks: Arc::clone(&self.checks),
            control: self.control.clone(),
        }
    }
}

impl Adjustable {
    /// Takes what counts at once of `new`, which differs from `old`.
    pub(crate) async fn adjust(&self, old: &Config, new: &Config) {
        new.http.change(&self.connections);
        self.grpc.change_limits(&new.grpc);
        new.registry.change(&self.naming.registry().settings.limits);
        self.naming.change_rates(new.limits.settings());
        self.naming.pusher().change_networks(new.push.client_networks.clone());
        if old.health.check_networks != new.health.check_networks {
            self.checks.change_reach(new.check_reach());
        }
        if old.cluster.members != new.cluster.members {
            self.change_members(&old.cluster, &new.cluster).await;
        }
    }

    async fn change_members(&self, old: &ClusterConfig, new: &ClusterConfig) {
        let is_listed = |cluster: &ClusterConfig| {
            cluster.is_enabled() && cluster.has_list() && cluster.dialect == Dialect::Distro
        };
        if !is_listed(old) || !is_listed(new) {
            tracing::warn!(
                "cluster.members has changed, which counts after a restart here: only the list of a \
                 member of a cluster of this kind changes while it runs"
            );
            return;
        }
        let (members, _) = parse_members(&new.members, new.spelling());
        // It fails only when the server stops.
        self.control.set_members(&members).await;
    }

    /// Takes other keys of tokens.
    pub(crate) fn change_keys(&self, keys: &TokenKeys) {
        self.naming.auth().into_iter().for_each(|auth| auth.change_keys(keys));
    }
}
