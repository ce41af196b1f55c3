//! What health checks need to know of instances, and what they make of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use distro_core::{DATUM_KEY, Health, Key, Writer};
use naming_model::{RecordKey, ServiceKey};

use super::plan::initial_health;
use super::writes::find_instance;
use super::{
    ClusterSettings, Content, EventKind, HealthChecker, Instance, Registry, ServiceSettings,
    settings,
};
use crate::networks::bare;

/// A persistent instance to be checked, as it was a moment ago.
pub(crate) struct CheckTarget {
    pub(crate) tag: Arc<str>,
    pub(crate) service: ServiceKey,
    pub(crate) key: Key,
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) healthy: bool,
    cluster: String,
    settings: Arc<ServiceSettings>,
}

impl CheckTarget {
    /// How to check it.
    pub(crate) fn checker(&self) -> &HealthChecker {
        checker(&self.settings, &self.cluster)
    }

    /// The cluster it is in.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Where it is, as it was registered: an address as a rule, or a name.
    pub(crate) fn ip(&self) -> &str {
        RecordKey::parse(&self.key).map_or("", |key| key.instance.ip)
    }
}

impl Registry {
    /// Which of these keys are those of persistent instances to be checked.
    pub(crate) fn checked_among(&self, tag: &str, keys: &BTreeSet<Key>) -> Vec<bool> {
        let Some(datum) = self.store.find(tag) else { return vec![false; keys.len()] };
        datum.read(|reader| {
            let settings = settings(&reader);
            let is_checked = |key: &Key| {
                let content = reader.find_visible(key).map(|(_, content)| &**content);
                matches!(content, Some(Content::Instance(_))) && is_checked(&settings, key)
            };
            keys.iter().map(is_checked).collect()
        })
    }

    /// The keys of all persistent instances of a service that are to be checked.
    pub(crate) fn checked_of(&self, tag: &str) -> BTreeSet<Key> {
        let Some(datum) = self.store.find(tag) else { return BTreeSet::new() };
        datum.read(|reader| {
            let settings = settings(&reader);
            let visible = reader.visible().filter(|(.., content)| {
                matches!(&***content, Content::Instance(Instance { is_persistent: true, .. }))
            });
            let keys = visible.map(|(key, ..)| key);
            keys.filter(|key| is_checked(&settings, key)).cloned().collect()
        })
    }

    /// An instance to be checked now; `None` if it need not be.
    pub(crate) fn check_target(&self, tag: &Arc<str>, key: &Key) -> Option<CheckTarget> {
        let service = ServiceKey::from_tag(tag)?;
        let RecordKey { instance, is_persistent: true } = RecordKey::parse(key)? else {
            return None;
        };
        let (settings, healthy) = self.store.find(tag)?.read(|reader| {
            let (record, _) = reader.find_visible(key)?;
            let settings = settings(&reader);
            is_checked(&settings, key).then(|| (settings, record.health() == Health::Healthy))
        })?;
        let port = match settings.clusters.get(instance.cluster) {
            Some(cluster) if !cluster.use_instance_port => {
                u16::try_from(cluster.check_port).ok()?
            }
            _ => instance.port,
        };
        // Spring registers IPv6 with brackets around it.
        let ip = bare(instance.ip);
        let address =
            if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        let (tag, key, cluster) = (Arc::clone(tag), Arc::clone(key), instance.cluster.to_owned());
        Some(CheckTarget { tag, service, key, address, healthy, cluster, settings })
    }

    /// Sets the health that a check has found, unless the instance is gone meanwhile, is to be
    /// checked in another way, or by another member.
    pub(crate) fn judge_by_check(&self, target: &CheckTarget, healthy: bool, reason: &str) {
        let CheckTarget { tag, key, .. } = target;
        let (now, health) = (self.clock.tick(), initial_health(healthy));
        let changed = self.store.update_existing(tag, now, |writer| {
            let counts = self.store.keeps(tag)
                && is_set_alike(writer, target)
                && find_instance(writer, key).is_some_and(|(_, known)| known != health);
            if counts {
                writer.judge(key, self.store.clock().issue(now), health);
            }
            counts
        });
        if changed == Some(true) {
            let kind = if healthy { EventKind::Healthy } else { EventKind::Unhealthy };
            self.note(&target.service, key, kind, &|| format!("a check: {reason}"));
        }
    }
}

/// Whether the cluster has the settings that the check was made with.
fn is_set_alike(writer: &Writer<'_, Content>, target: &CheckTarget) -> bool {
    let now = match writer.find_visible(DATUM_KEY).map(|(_, content)| &**content) {
        Some(Content::Service(settings)) => settings.clusters.get(&target.cluster),
        _ => None,
    };
    now == target.settings.clusters.get(&target.cluster)
}

/// Whether the persistent instance with this key should be checked.
fn is_checked(settings: &ServiceSettings, key: &str) -> bool {
    let key = RecordKey::parse(key);
    key.is_some_and(|key| *checker(settings, key.instance.cluster) != HealthChecker::None)
}

fn checker<'a>(settings: &'a ServiceSettings, cluster: &str) -> &'a HealthChecker {
    const DEFAULT: &HealthChecker = &HealthChecker::Tcp;
    settings.clusters.get(cluster).map_or(DEFAULT, |ClusterSettings { checker, .. }| checker)
}
