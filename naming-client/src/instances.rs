//! A list of instances, the difference of two, and the weighted choice among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use naming_model::{Instance, InstanceKey};
use tokio::time::Instant;

/// The instances of a service at one moment, ordered by address, port and cluster.
///
/// The list is shared and never changes; a newer one is another value.
#[derive(Debug, Clone)]
pub struct Instances {
    list: Arc<[Instance]>,
    /// For each usable instance its place and the sum of weights up to and including it.
    wheel: Arc<[(u32, f64)]>,
    stale: bool,
    confirmed_at: Option<Instant>,
}

impl Instances {
    pub(crate) fn new(mut list: Vec<Instance>) -> Self {
        // Two entries of one key are an ephemeral and a persistent one. They are one place to call,
        // so the one that should get calls stays, if there is one.
        list.sort_by(|a, b| a.key().cmp(&b.key()).then(b.is_usable().cmp(&a.is_usable())));
        list.dedup_by(|a, b| a.key() == b.key());
        let wheel = wheel(&list);
        let confirmed_at = Some(Instant::now());
        Self { list: list.into(), wheel, stale: false, confirmed_at }
    }

    /// A list that no server confirmed.
    pub(crate) fn remembered(list: Vec<Instance>) -> Self {
        Self { stale: true, confirmed_at: None, ..Self::new(list) }
    }

    pub(crate) fn into_stale(self) -> Self {
        Self { stale: true, ..self }
    }

    /// All of them, usable or not.
    pub fn all(&self) -> &[Instance] {
        &self.list
    }

    /// Those that should get calls: healthy, enabled, weight above 0.
    pub fn usable(&self) -> impl Iterator<Item = &Instance> {
        self.list.iter().filter(|instance| instance.is_usable())
    }

    /// The instance of that key.
    pub fn find(&self, key: InstanceKey<'_>) -> Option<&Instance> {
        let place = self.list.binary_search_by(|instance| instance.key().cmp(&key)).ok()?;
        self.list.get(place)
    }

    /// How many there are, usable or not.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the list is only what was known last: no server could be asked when it was due.
    /// The instances may well be there, and may well be gone.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// How long ago a server last confirmed the list; `None` for one that comes from disk.
    pub fn age(&self) -> Option<Duration> {
        self.confirmed_at.map(|at| Instant::now().saturating_duration_since(at))
    }

    /// One of the usable instances, each with a chance of its weight over the sum of weights;
    /// `None` if none is usable. Costs a binary search.
    pub fn choose(&self) -> Option<&Instance> {
        self.choose_at(fastrand::f64())
    }

    /// The same with chance from outside: `point` from 0 up to but not including 1. A caller with
    /// a seeded generator gets the same choices again.
    pub fn choose_at(&self, point: f64) -> Option<&Instance> {
        let (_, total) = *self.wheel.last()?;
        let target = point.clamp(0.0, 1.0) * total;
        let place = self.wheel.partition_point(|(_, sum)| *sum <= target);
        let (index, _) = self.wheel.get(place).or_else(|| self.wheel.last())?;
        self.list.get(*index as usize)
    }

    /// What has to be done to `self` to get `next`.
    pub fn change_to(&self, next: &Self) -> Change {
        let mut change = Change::default();
        let old: BTreeMap<_, _> = self.list.iter().map(|one| (one.key(), one)).collect();
        for instance in next.list.iter() {
            match old.get(&instance.key()) {
                None => change.added.push(instance.clone()),
                Some(known) if *known != instance => change.modified.push(instance.clone()),
                Some(_) => {}
            }
        }
        let gone = self.list.iter().filter(|one| next.find(one.key()).is_none());
        change.removed = gone.cloned().collect();
        change
    }

    pub(crate) fn same_list(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list) || self.list == other.list
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self { list: [].into(), wheel: [].into(), stale: false, confirmed_at: None }
    }
}

fn wheel(list: &[Instance]) -> Arc<[(u32, f64)]> {
    let mut sum = 0.0;
    let numbered = (0_u32..).zip(list).filter(|(_, instance)| instance.is_usable());
    numbered
        .map(|(index, instance)| {
            // Servers cap weights; a list from elsewhere must not overflow the sum.
            sum += instance.weight.min(naming_model::MAX_WEIGHT);
            (index, sum)
        })
        .collect()
}

/// What became of a list, by instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// New instances.
    pub added: Vec<Instance>,
    /// Instances that are gone, as they were last seen.
    pub removed: Vec<Instance>,
    /// Instances with another weight, health, `enabled` flag or metadata, as they are now.
    pub modified: Vec<Instance>,
}

impl Change {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(weights: &[f64]) -> Instances {
        let port = 1..;
        Instances::new(
            port.zip(weights).map(|(port, w)| Instance::new("10.0.0.1", port).weight(*w)).collect(),
        )
    }

    #[test]
    fn choice_follows_the_weights_within_statistical_bounds() {
        let instances = list(&[1.0, 2.0, 0.0, 7.0]);
        let mut random = fastrand::Rng::with_seed(20_260_101);
        let mut counts = [0_u32; 4];
        for _ in 0..100_000 {
            let chosen = instances.choose_at(random.f64()).unwrap();
            counts[usize::from(chosen.port) - 1] += 1;
        }
        assert_eq!(counts[2], 0, "weight 0 is never chosen");
        // Five standard deviations of a binomial share.
        for (count, share) in [(counts[0], 0.1), (counts[1], 0.2), (counts[3], 0.7_f64)] {
            let deviation = (100_000.0 * share * (1.0 - share)).sqrt();
            assert!((f64::from(count) - 100_000.0 * share).abs() < 5.0 * deviation, "{counts:?}");
        }
    }

    #[test]
    fn only_usable_instances_are_chosen() {
        let mut sick = Instance::new("a", 1).weight(10_000.0);
        sick.healthy = false;
        let closed = Instance::new("b", 2).weight(10_000.0).enabled(false);
        let well = Instance::new("c", 3).weight(0.01);
        let instances = Instances::new(vec![sick.clone(), closed.clone(), well.clone()]);
        for step in 0..=100 {
            assert_eq!(instances.choose_at(f64::from(step) / 100.0), Some(&well));
        }
        assert_eq!(instances.choose_at(f64::NAN), Some(&well));
        assert_eq!(Instances::new(vec![sick, closed]).choose(), None);
        assert_eq!(Instances::default().choose(), None);
    }

    #[test]
    fn of_two_kinds_at_one_address_the_usable_one_stays() {
        let well = Instance::new("a", 1).ephemeral(false);
        let sick = Instance { healthy: false, ..Instance::new("a", 1) };
        for both in [[&well, &sick], [&sick, &well]] {
            let instances = Instances::new(both.map(Instance::clone).into());
            assert_eq!(instances.all(), std::slice::from_ref(&well));
        }
    }

    #[test]
    fn changes_name_what_came_went_and_changed() {
        let old = list(&[1.0, 1.0, 1.0]);
        let new = Instances::new(vec![
            Instance::new("10.0.0.1", 2),
            Instance::new("10.0.0.1", 3).metadata("a", "b"),
            Instance::new("10.0.0.1", 9),
        ]);
        let change = old.change_to(&new);
        let ports = |list: &[Instance]| list.iter().map(|i| i.port).collect::<Vec<_>>();
        assert_eq!(ports(&change.added), [9]);
        assert_eq!(ports(&change.removed), [1]);
        assert_eq!(ports(&change.modified), [3]);
        assert!(new.change_to(&new).is_empty());
    }
}
