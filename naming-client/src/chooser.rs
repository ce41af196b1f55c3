//! Choosing an instance with what the caller knows: where it is itself, and who failed it lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::instances::Instances;

/// Instances whose failures are remembered at most; a caller that knows more forgets the others.
const MAX_KNOWN: usize = 10_000;
/// Attempts by weight before the list is gone through.
const DRAWS: usize = 4;

/// When an instance that fails is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OutlierPolicy {
    /// Failures in a row after which an instance is ejected. Default 5. Too few ejects for chance,
    /// too many costs calls.
    pub failures: u32,
    /// How long an instance is left alone the first time; each further time in a row is as much
    /// longer. Default 30 s.
    pub ejection: Duration,
    /// Longest time an instance is left alone. Default 300 s.
    pub longest_ejection: Duration,
    /// Share of the usable instances that may be left alone at a time, 0 to 1. Default 0.5: when
    /// more than that fail, the fault is rather the caller's, and failures count for nothing.
    pub most_ejected: f64,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            ejection: Duration::from_secs(30),
            longest_ejection: Duration::from_secs(300),
            most_ejected: 0.5,
        }
    }
}

/// Chooses instances by weight, near ones first, and leaves those alone that failed lately.
///
/// Health, weights and `enabled` come from the registry; this adds what only the caller knows.
/// Clones share what they know.
///
/// ```no_run
/// # async fn example(client: naming_client::NamingClient) -> Result<(), naming_client::Error> {
/// use naming_client::{Chooser, OutlierPolicy};
///
/// let orders = client.subscribe("order-service").await?;
/// let chooser = Chooser::new().near("zone", "a").eject(OutlierPolicy::default());
/// if let Some(instance) = chooser.choose(&orders.instances()) {
///     let went_well = true; // call it
///     chooser.report(&instance, went_well);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Chooser {
    zone: Option<Zone>,
    outliers: Option<Arc<Outliers>>,
}

#[derive(Debug, Clone)]
struct Zone {
    key: String,
    own: String,
}

#[derive(Debug)]
struct Outliers {
    policy: OutlierPolicy,
    known: Mutex<HashMap<String, Record>>,
}

#[derive(Debug, Default)]
struct Record {
    failures: u32,
    ejections: u32,
    until: Option<Instant>,
}

impl Chooser {
    /// Chooses by weight alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prefers the instances whose metadata has `own` under `key`. As long as half of them by
    /// weight are usable, only they are chosen; below that the more calls go to all instances the
    /// fewer of the near ones are left.
    pub fn near(mut self, key: impl Into<String>, own: impl Into<String>) -> Self {
        self.zone = Some(Zone { key: key.into(), own: own.into() });
        self
    }

    /// Leaves instances alone that fail; [`Chooser::report`] has to tell it.
    pub fn eject(mut self, policy: OutlierPolicy) -> Self {
        self.outliers = Some(Arc::new(Outliers { policy, known: Mutex::default() }));
        self
    }

    /// One of the usable instances; `None` if there is none.
    pub fn choose(&self, instances: &Instances) -> Option<Instance> {
        self.choose_at(instances, fastrand::f64)
    }

    /// The same with chance from outside: each call of `chance` gives a number from 0 up to but not
    /// including 1.
    pub fn choose_at(
        &self,
        instances: &Instances,
        mut chance: impl FnMut() -> f64,
    ) -> Option<Instance> {
        if let Some(zone) = &self.zone {
            let is_near = |one: &Instance| one.metadata.get(&zone.key) == Some(&zone.own);
            if stays_near(instances, is_near, chance())
                && let Some(chosen) = self.draw(instances, is_near, &mut chance)
            {
                return Some(chosen);
            }
        }
        self.draw(instances, |_| true, &mut chance)
    }

    fn draw(
        &self,
        instances: &Instances,
        wanted: impl Fn(&Instance) -> bool,
        chance: &mut impl FnMut() -> f64,
    ) -> Option<Instance> {
        // Draws by weight mostly hit at once, and cost no walk through the list. Who is left alone
        // counts, though, so then there is a walk.
        if !self.outliers.as_ref().is_some_and(|outliers| outliers.is_any_ejected()) {
            for _ in 0..DRAWS {
                let drawn = instances.choose_at(chance())?;
                if wanted(drawn) {
                    return Some(drawn.clone());
                }
            }
        }
        let all: Vec<&Instance> = instances.usable().filter(|one| wanted(one)).collect();
        let good: Vec<&Instance> =
            all.iter().copied().filter(|one| !self.is_ejected(one)).collect();
        let from = if self.are_too_many_ejected(all.len(), good.len()) { all } else { good };
        let total: f64 = from.iter().map(|one| one.weight).sum();
        let mut target = chance() * total;
        for one in &from {
            target -= one.weight;
            if target < 0.0 {
                return Some((*one).clone());
            }
        }
        from.last().map(|one| (*one).clone())
    }

    /// Whether so many are left alone that the fault is rather the caller's.
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    fn are_too_many_ejected(&self, all: usize, good: usize) -> bool {
        let most = self.outliers.as_ref().map_or(1.0, |outliers| outliers.policy.most_ejected);
        good == 0 || (all - good) as f64 > all as f64 * most
    }

    /// Tells how a call to an instance went. Without [`Chooser::eject`] this does nothing.
    pub fn report(&self, instance: &Instance, went_well: bool) {
        if let Some(outliers) = &self.outliers {
            outliers.report(&key_of(instance), went_well);
        }
    }

    /// Whether an instance is left alone at the moment.
    pub fn is_ejected(&self, instance: &Instance) -> bool {
        self.outliers.as_ref().is_some_and(|outliers| outliers.is_ejected(&key_of(instance)))
    }
}

fn key_of(instance: &Instance) -> String {
    instance.key().to_string()
}

/// Whether a call stays near: always while at least half of the near weight is usable, and with a
/// chance that falls to 0 with what is left below that.
fn stays_near(instances: &Instances, is_near: impl Fn(&Instance) -> bool, point: f64) -> bool {
    let near = || instances.all().iter().filter(|one| is_near(one));
    let all: f64 = near().map(|one| one.weight).sum();
    let usable: f64 = near().filter(|one| one.is_usable()).map(|one| one.weight).sum();
    all > 0.0 && point < usable / (all * 0.5)
}

impl Outliers {
    fn is_any_ejected(&self) -> bool {
        let now = Instant::now();
        self.known.lock().values().any(|record| record.until.is_some_and(|until| now < until))
    }

    fn is_ejected(&self, key: &str) -> bool {
        let known = self.known.lock();
        let until = known.get(key).and_then(|record| record.until);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn report(&self, key: &str, went_well: bool) {
        let now = Instant::now();
        let mut known = self.known.lock();
        if went_well {
            // One that works again has a clean record; others need none.
            if known.get(key).is_some_and(|record| record.until.is_none_or(|until| until <= now)) {
                known.remove(key);
            }
            return;
        }
        if known.len() >= MAX_KNOWN && !known.contains_key(key) {
            known.retain(|_, record| record.until.is_some_and(|until| until > now));
            if known.len() >= MAX_KNOWN {
                return;
            }
        }
        let record = known.entry(key.to_owned()).or_default();
        if record.until.is_some_and(|until| until > now) {
            return;
        }
        record.failures += 1;
        // One that comes back from its ejection has one chance.
        let most = if record.ejections > 0 { 1 } else { self.policy.failures.max(1) };
        if record.failures >= most {
            record.failures = 0;
            record.ejections = record.ejections.saturating_add(1);
            let time = self.policy.ejection.saturating_mul(record.ejections);
            record.until = Some(now + time.min(self.policy.longest_ejection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(zones: &[&str]) -> Instances {
        let one =
            |(port, zone): (u16, &&str)| Instance::new("10.0.0.1", port).metadata("zone", *zone);
        Instances::new((1..).zip(zones).map(one).collect())
    }

    /// How often each port is chosen of 2,000 times.
    fn counts(chooser: &Chooser, instances: &Instances) -> HashMap<u16, u32> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = HashMap::new();
        for _ in 0..2_000 {
            let chosen = chooser.choose_at(instances, || random.f64()).unwrap();
            *counts.entry(chosen.port).or_default() += 1;
        }
        counts
    }

    #[test]
    fn near_instances_are_preferred_and_spill_over_when_too_few_are_left() {
        let chooser = Chooser::new().near("zone", "a");
        let all = counts(&chooser, &list(&["a", "a", "b", "b"]));
        assert_eq!(all.len(), 2, "only the near ones: {all:?}");
        let elsewhere = counts(&chooser, &list(&["b", "c"]));
        assert_eq!(elsewhere.len(), 2, "nobody is near");
        // One of four near ones is left: half of the calls stay.
        let mut sick = list(&["a", "a", "a", "a", "b", "b"]).all().to_vec();
        sick.iter_mut().take(3).for_each(|one| one.healthy = false);
        let spilt = counts(&chooser, &Instances::new(sick));
        // 2,000 * (0.5 + 0.5 / 3), give or take five deviations.
        assert!(spilt[&4].abs_diff(1_333) < 110, "{spilt:?}");
        assert!(spilt[&5] > 200 && spilt[&6] > 200);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_fails_is_left_alone_for_a_while_that_grows() {
        let (instances, chooser) = (list(&["a", "a", "a"]), Chooser::new());
        let chooser = chooser.eject(OutlierPolicy::default());
        let bad = &instances.all()[0];
        for _ in 0..4 {
            chooser.report(bad, false);
        }
        chooser.report(bad, true);
        for _ in 0..4 {
            chooser.report(bad, false);
        }
        assert!(!chooser.is_ejected(bad), "a success in between begins the count anew");
        chooser.report(bad, false);
        assert!(chooser.is_ejected(bad) && !counts(&chooser, &instances).contains_key(&1));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(counts(&chooser, &instances).contains_key(&1), "it has a chance");
        chooser.report(bad, false);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(chooser.is_ejected(bad), "and the second time takes longer");
        tokio::time::advance(Duration::from_secs(30)).await;
        chooser.report(bad, true);
        chooser.report(bad, false);
        assert!(!chooser.is_ejected(bad), "one that works again has a clean record");
    }

    #[tokio::test(start_paused = true)]
    async fn when_most_fail_none_is_left_alone() {
        let (instances, chooser) = (list(&["a", "a", "a"]), Chooser::new());
        let chooser = chooser.eject(OutlierPolicy::default());
        for bad in &instances.all()[..2] {
            (0..5).for_each(|_| chooser.report(bad, false));
        }
        assert_eq!(counts(&chooser, &instances).len(), 3);
        assert!(Chooser::new().choose(&Instances::default()).is_none());
    }

    #[test]
    fn failures_of_many_are_remembered_up_to_a_limit() {
        let chooser = Chooser::new().eject(OutlierPolicy::default());
        for port in 1..=20_000 {
            chooser.report(&Instance::new("10.0.0.1", port), false);
        }
        let known = chooser.outliers.unwrap().known.lock().len();
        assert!(known <= MAX_KNOWN, "{known}");
    }
}
