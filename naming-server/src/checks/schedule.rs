//! Who is checked when. Does nothing itself, and reads no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distro_core::{Key, Tick};
use naming_model::RecordKey;

use super::barrier::Barrier;
use super::finding::Finding;
use super::pace::{Rules, Times};
use super::probe::Report;

/// Before the first check of an instance, and at most so much more.
const FIRST: Duration = Duration::from_secs(2);
const FIRST_SPREAD_MS: u64 = 5_000;

/// The instances to be checked of all services; those of services that this member owns have a
/// moment at which they are due.
pub(super) struct Schedule {
    services: BTreeMap<Arc<str>, Service>,
    due: BTreeSet<(Tick, Arc<str>, Key)>,
    random: Random,
    /// Instances of services of our own.
    len: usize,
    barred: Barred,
}

/// Instances behind each barrier.
type Barred = [usize; Barrier::KINDS.len()];

struct Service {
    is_ours: bool,
    instances: BTreeMap<Key, Instance>,
    clusters: BTreeMap<Box<str>, Cluster>,
}

struct Cluster {
    instances: usize,
    times: Times,
    /// Which barriers have been told of.
    told: [bool; Barrier::KINDS.len()],
}

#[derive(Default)]
struct Instance {
    state: State,
    /// Results in a row against its health.
    against: u32,
    /// The health that they are against.
    healthy: bool,
    /// What kept it from being checked when it was due last.
    barrier: Option<Barrier>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Another member owns its service.
    #[default]
    Elsewhere,
    Waiting(Tick),
    /// Since then.
    Running(Tick),
}

impl Schedule {
    /// Nobody to check. The seed decides how checks are spread.
    pub(super) fn new(seed: u64) -> Self {
        let (services, due, barred) = Default::default();
        Self { services, due, random: Random(seed), len: 0, barred }
    }

    /// How many instances are behind each barrier.
    pub(super) fn barred(&self) -> Barred {
        self.barred
    }

    /// Instances that this member has to check.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was measured of a cluster, if this member checks it.
    pub(super) fn times(&self, tag: &str, cluster: &str) -> Option<Times> {
        let service = self.services.get(tag).filter(|service| service.is_ours)?;
        service.clusters.get(cluster).map(|cluster| cluster.times)
    }

    /// When the next check is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// An instance is to be checked, or not. `is_ours`: whether this member owns the service now.
    pub(super) fn set(
        &mut self,
        tag: &Arc<str>,
        key: &Key,
        is_checked: bool,
        is_ours: bool,
        now: Tick,
    ) {
        match is_checked {
            true => self.insert(tag, key, is_ours, now),
            false => self.remove(tag, key),
        }
    }

    /// Of a service, exactly these are to be checked.
    pub(super) fn replace(
        &mut self,
        tag: &Arc<str>,
        keys: BTreeSet<Key>,
        is_ours: bool,
        now: Tick,
    ) {
        let known = self.services.get(tag).into_iter().flat_map(|known| known.instances.keys());
        let gone: Vec<Key> = known.filter(|key| !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove(tag, key));
        keys.iter().for_each(|key| self.insert(tag, key, is_ours, now));
    }

    fn insert(&mut self, tag: &Arc<str>, key: &Key, is_ours: bool, now: Tick) {
        let Some(cluster) = cluster_of(key) else { return };
        let service = self.services.entry(Arc::clone(tag)).or_insert_with(|| Service {
            is_ours,
            instances: BTreeMap::new(),
            clusters: BTreeMap::new(),
        });
        if service.instances.contains_key(key) {
            return;
        }
        if !service.clusters.contains_key(cluster) {
            let times = Times::new(self.random.first());
            let told = Default::default();
            service.clusters.insert(cluster.into(), Cluster { instances: 0, times, told });
        }
        if let Some(cluster) = service.clusters.get_mut(cluster) {
            cluster.instances += 1;
        }
        let mut instance = Instance::default();
        if service.is_ours {
            self.len += 1;
            instance.state = State::Waiting(now.after(self.random.first()));
        }
        enter(&mut self.due, tag, key, instance.state);
        service.instances.insert(Arc::clone(key), instance);
    }

    /// An instance is not to be checked any more. A check under way has no effect.
    pub(super) fn remove(&mut self, tag: &Arc<str>, key: &Key) {
        let Some(service) = self.services.get_mut(tag) else { return };
        let Some(mut instance) = service.instances.remove(key) else { return };
        instance.stand_behind(None, &mut self.barred);
        leave(&mut self.due, tag, key, instance.state);
        self.len -= usize::from(service.is_ours);
        let name = cluster_of(key).unwrap_or_default();
        if let Some(cluster) = service.clusters.get_mut(name) {
            cluster.instances -= 1;
            if cluster.instances == 0 {
                service.clusters.remove(name);
            }
        }
        if service.instances.is_empty() {
            self.services.remove(tag);
        }
    }

    /// Begins with the services that are ours now, and ends with those that are not any more.
    pub(super) fn follow(&mut self, owns: impl Fn(&str) -> bool, now: Tick) {
        for (tag, service) in &mut self.services {
            let is_ours = owns(tag);
            if is_ours == service.is_ours {
                continue;
            }
            service.is_ours = is_ours;
            let count = service.instances.len();
            self.len = if is_ours { self.len + count } else { self.len - count };
            for (key, instance) in &mut service.instances {
                leave(&mut self.due, tag, key, instance.state);
                instance.stand_behind(None, &mut self.barred);
                *instance = Instance::default();
                if is_ours {
                    instance.state = State::Waiting(now.after(self.random.first()));
                }
                enter(&mut self.due, tag, key, instance.state);
            }
        }
    }

    /// Gives all who wait a first moment again.
    pub(super) fn begin_anew(&mut self, now: Tick) {
        for (_, tag, key) in std::mem::take(&mut self.due) {
            let service = self.services.get_mut(&tag);
            let instance = service.and_then(|service| service.instances.get_mut(&key));
            if let Some(instance) = instance {
                instance.state = State::Waiting(now.after(self.random.first()));
                enter(&mut self.due, &tag, &key, instance.state);
            }
        }
    }

    /// An instance that is due, to be told of with [`Self::finish`], [`Self::skip`],
    /// [`Self::bar`] or [`Self::remove`]. The one that has waited longest comes first.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<(Arc<str>, Key)> {
        if self.next_due()? > now {
            return None;
        }
        let (_, tag, key) = self.due.pop_first()?;
        let instance = self.services.get_mut(&tag)?.instances.get_mut(&key)?;
        instance.state = State::Running(now);
        Some((tag, key))
    }

    /// An instance that was due is checked next time.
    pub(super) fn skip(&mut self, tag: &Arc<str>, key: &Key) {
        self.put_off(tag, key, None);
    }

    /// An instance that was due cannot be checked; it is looked at again next time. Whether to
    /// tell of its cluster: once for each barrier, and only if `may_tell`.
    pub(super) fn bar(
        &mut self,
        tag: &Arc<str>,
        key: &Key,
        barrier: Barrier,
        may_tell: bool,
    ) -> bool {
        let Some(cluster) = self.put_off(tag, key, Some(barrier)) else { return false };
        let Some(told) = cluster.told.get_mut(barrier as usize) else { return false };
        let tells = may_tell && !*told;
        *told |= tells;
        tells
    }

    fn put_off(
        &mut self,
        tag: &Arc<str>,
        key: &Key,
        barrier: Option<Barrier>,
    ) -> Option<&mut Cluster> {
        let (instance, cluster) = find(&mut self.services, tag, key)?;
        let State::Running(since) = instance.state else { return None };
        instance.against = 0;
        instance.stand_behind(barrier, &mut self.barred);
        instance.state = State::Waiting(since.after(cluster.times.pace()));
        enter(&mut self.due, tag, key, instance.state);
        Some(cluster)
    }

    /// Takes over what a check found of an instance that was `healthy` when it began. Returns the
    /// health that it has from now on, if that is another one.
    pub(super) fn finish(
        &mut self,
        tag: &Arc<str>,
        key: &Key,
        healthy: bool,
        report: &Report,
        rules: &Rules,
        now: Tick,
    ) -> Option<bool> {
        let (instance, cluster) = find(&mut self.services, tag, key)?;
        let State::Running(since) = instance.state else { return None };
        instance.stand_behind(None, &mut self.barred);
        cluster.times.note(report, &rules.pace);
        instance.state = State::Waiting(since.after(cluster.times.pace()).max(now));
        enter(&mut self.due, tag, key, instance.state);
        instance.judge(healthy, report.finding, rules.times)
    }
}

impl Instance {
    fn stand_behind(&mut self, barrier: Option<Barrier>, barred: &mut Barred) {
        if let Some(before) = self.barrier {
            barred[before as usize] -= 1;
        }
        if let Some(now) = barrier {
            barred[now as usize] += 1;
        }
        self.barrier = barrier;
    }

    fn judge(&mut self, healthy: bool, finding: Finding, times: u32) -> Option<bool> {
        if healthy != self.healthy {
            (self.healthy, self.against) = (healthy, 0);
        }
        let passed = match finding {
            Finding::NotMade => return None,
            Finding::Passed => true,
            Finding::Failed | Finding::Refused => false,
        };
        if passed == healthy {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let is_enough = finding == Finding::Refused || self.against >= times;
        is_enough.then(|| {
            self.against = 0;
            passed
        })
    }
}

fn find<'a>(
    services: &'a mut BTreeMap<Arc<str>, Service>,
    tag: &str,
    key: &str,
) -> Option<(&'a mut Instance, &'a mut Cluster)> {
    let Service { instances, clusters, .. } = services.get_mut(tag)?;
    Some((instances.get_mut(key)?, clusters.get_mut(cluster_of(key)?)?))
}

fn enter(due: &mut BTreeSet<(Tick, Arc<str>, Key)>, tag: &Arc<str>, key: &Key, state: State) {
    if let State::Waiting(moment) = state {
        due.insert((moment, Arc::clone(tag), Arc::clone(key)));
    }
}

fn leave(due: &mut BTreeSet<(Tick, Arc<str>, Key)>, tag: &Arc<str>, key: &Key, state: State) {
    if let State::Waiting(moment) = state {
        due.remove(&(moment, Arc::clone(tag), Arc::clone(key)));
    }
}

fn cluster_of(key: &str) -> Option<&str> {
    Some(RecordKey::parse(key)?.instance.cluster)
}

/// SplitMix64: enough to spread checks.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Two seconds, and up to five more, rather few than many, as in Nacos.
    fn first(&mut self) -> Duration {
        let most_ms = self.next() % FIRST_SPREAD_MS;
        FIRST + Duration::from_millis(self.next() % (most_ms + 1))
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
