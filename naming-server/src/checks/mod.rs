//! Active health checks of persistent instances: whether they take connections, or answer as they
//! should.
//!
//! ```text
//! store ── changed keys ──► Changes ──► Schedule ── due ──► a task: probe ──► registry: judge
//!                                          ▲                      │
//!                                          └── result, pace ──────┘
//! ```
//!
//! One task ([`Checks::run`]) knows which instances are due. A task for an instance is there only while its
//! check is under way, half a second at most, and no more than [`MAX_RUNNING`] at a time. Each
//! instance is checked by the member that owns its service, from when it gains the service until it
//! loses it. What is true when a check ends, and not what was true when it began, decides whether
//! its result counts.
//!
//! A check connects to the address that somebody registered, as far as [`Reach`] allows: see "Health
//! checks" in `docs/push-and-health.md`. An instance that is not checked for that reason, or because
//! this server makes no checks of its type, stays in the schedule behind a [`Barrier`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use distro_core::Key;
use distro_net::Connector;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::registry::{CheckPace, CheckTarget, HealthChecker, Registry, SwitchValues};

mod barrier;
mod changes;
mod finding;
mod http;
#[cfg(feature = "mysql")]
mod mysql;
mod pace;
mod probe;
mod reach;
mod schedule;

pub(crate) use barrier::{Barrier, is_made};
pub(crate) use changes::Changes;
pub(crate) use finding::Finding;
pub(crate) use http::check_request;
pub(crate) use pace::Times;
pub(crate) use reach::Reach;

use barrier::Warnings;
use changes::Changed;
use pace::Rules;
use probe::{Report, probe};
use schedule::Schedule;

/// Checks under way at a time: with all targets silent, each of them half a second long, that is
/// 2,000 a second, or 10,000 instances at the slowest default pace. Each takes an open file.
const MAX_RUNNING: usize = 1_024;
/// How often it is looked at which services this member owns, and what pace the switches set.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// Checks that are due within so much time begin together: waking up for each costs more than it.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Services whose changes are taken over before the thread is given to others.
const SLICE: usize = 64;

/// The health checks of this member.
pub(crate) struct Checks {
    registry: Arc<Registry>,
    changes: Arc<Changes>,
    connector: Arc<dyn Connector>,
    reach: ArcSwap<Reach>,
    schedule: Mutex<Schedule>,
    warnings: Mutex<Warnings>,
    counts: [AtomicU64; Finding::KINDS.len()],
    running: AtomicUsize,
}

impl Checks {
    /// Nothing is checked before [`Self::run`]. `changes` hears of the store of the registry.
    pub(crate) fn new(
        registry: Arc<Registry>,
        changes: Arc<Changes>,
        connector: Arc<dyn Connector>,
        reach: Reach,
        seed: u64,
    ) -> Self {
        let (warnings, counts, running) = Default::default();
        let schedule = Mutex::new(Schedule::new(seed));
        let reach = ArcSwap::from_pointee(reach);
        Self { registry, changes, connector, reach, schedule, warnings, counts, running }
    }

    /// Has checks connect elsewhere from now on.
    pub(crate) fn change_reach(&self, reach: Reach) {
        self.reach.store(Arc::new(reach));
    }

    /// What was measured of a cluster of a service, if this member checks it.
    pub(crate) fn times(&self, tag: &str, cluster: &str) -> Option<Times> {
        self.schedule.lock().times(tag, cluster)
    }

    /// Checks by what they found, since the start.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Finding::KINDS.into_iter().zip(self.counts.iter().map(|count| count.load(Relaxed)))
    }

    /// Instances that this member has to check.
    pub(crate) fn scheduled(&self) -> usize {
        self.schedule.lock().len()
    }

    /// How many of them were behind each barrier when they were due last.
    pub(crate) fn barred(&self) -> [usize; Barrier::KINDS.len()] {
        self.schedule.lock().barred()
    }

    /// Checks under way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Checks until `shutdown`; those under way then have no effect.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        let mut look = interval(LOOK_PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut paces = None;
        loop {
            let is_behind = self.take_changes();
            let is_full = self.start_due(&mut running);
            self.running.store(running.len(), Relaxed);
            let pause = if is_behind { Duration::ZERO } else { self.pause() };
            tokio::select! {
                // In the order that must not wait: changes may come without end.
                biased;
                () = shutdown.cancelled() => return,
                _ = look.tick() => self.look_around(&mut paces),
                Some(ended) = running.join_next(), if is_full => note_panic(ended),
                () = self.changes.wait() => {}
                () = sleep(pause), if !is_full => {}
            }
            while let Some(ended) = running.try_join_next() {
                note_panic(ended);
            }
        }
    }

    /// Takes over what has changed in the store, for a while; whether there is more.
    fn take_changes(&self) -> bool {
        for _ in 0..SLICE {
            let Some((tag, changed)) = self.changes.take() else { return false };
            let (now, is_ours) = (self.registry.clock.tick(), self.registry.store.keeps(&tag));
            match changed {
                Changed::Keys(keys) => {
                    let checked = self.registry.checked_among(&tag, &keys);
                    let mut schedule = self.schedule.lock();
                    for (key, is_checked) in keys.iter().zip(checked) {
                        schedule.set(&tag, key, is_checked, is_ours, now);
                    }
                }
                Changed::All => {
                    let checked = self.registry.checked_of(&tag);
                    self.schedule.lock().replace(&tag, checked, is_ours, now);
                }
            }
        }
        true
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let due = self.schedule.lock().next_due();
        due.map_or(LOOK_PERIOD, |due| due.since(self.registry.clock.tick()).max(LEAST_PAUSE))
    }

    /// Follows the owners of services, and the paces that operators set.
    fn look_around(&self, known: &mut Option<[CheckPace; 3]>) {
        let now = self.registry.clock.tick();
        let switches = self.registry.switches.load();
        let paces = [switches.tcp_check, switches.http_check, switches.mysql_check];
        let store = &self.registry.store;
        let mut schedule = self.schedule.lock();
        schedule.follow(|tag| store.keeps(tag), now);
        // Otherwise somebody with a pace of a day would wait for it to pass.
        if known.replace(paces).is_some_and(|known| known != paces) {
            schedule.begin_anew(now);
        }
    }

    /// Begins the checks that are due; whether there is no room for another.
    fn start_due(self: &Arc<Self>, running: &mut JoinSet<()>) -> bool {
        let now = self.registry.clock.tick();
        let switches = self.registry.switches.load();
        while running.len() < MAX_RUNNING {
            let Some((tag, key)) = self.schedule.lock().take_due(now) else { return false };
            if let Some(target) = self.target(&tag, &key, &switches) {
                let checks = Arc::clone(self);
                running.spawn(async move {
                    let begun = Begun { checks: &checks, target: &target };
                    let reach = checks.reach.load_full();
                    let report = probe(&*checks.connector, &reach, &target).await;
                    checks.finish(&target, &report);
                    // Told of.
                    std::mem::forget(begun);
                });
            }
        }
        true
    }

    /// What to check of an instance that is due, unless it need not be checked now.
    fn target(&self, tag: &Arc<str>, key: &Key, switches: &SwitchValues) -> Option<CheckTarget> {
        let Some(target) = self.registry.check_target(tag, key) else {
            self.schedule.lock().remove(tag, key);
            return None;
        };
        let name = target.service.grouped();
        let is_wanted = switches.health_check_enabled
            || switches.health_check_white_list.iter().any(|listed| listed == name);
        if !is_wanted {
            self.schedule.lock().skip(tag, key);
            return None;
        }
        match Barrier::before(&target, &self.reach.load()) {
            None => Some(target),
            Some(barrier) => {
                self.bar(&target, barrier);
                None
            }
        }
    }

    /// Leaves an instance unchecked, and tells of its cluster once.
    fn bar(&self, target: &CheckTarget, barrier: Barrier) {
        let mut warnings = self.warnings.lock();
        let may_warn = warnings.has_room(self.registry.clock.tick());
        if self.schedule.lock().bar(&target.tag, &target.key, barrier, may_warn) {
            warnings.note();
            barrier.warn(target);
        }
    }

    fn finish(&self, target: &CheckTarget, report: &Report) {
        if let Some(count) = self.counts.get(report.finding as usize) {
            count.fetch_add(1, Relaxed);
        }
        let rules = {
            let switches = self.registry.switches.load();
            let pace = match target.checker() {
                HealthChecker::Http { .. } => switches.http_check,
                HealthChecker::Mysql { .. } => switches.mysql_check,
                HealthChecker::Tcp | HealthChecker::None => switches.tcp_check,
            };
            Rules { pace, times: switches.check_times }
        };
        let now = self.registry.clock.tick();
        let (tag, key) = (&target.tag, &target.key);
        let judged = self.schedule.lock().finish(tag, key, target.healthy, report, &rules, now);
        if let Some(healthy) = judged {
            self.registry.judge_by_check(target, healthy, &report.reason);
        }
    }
}

/// A check under way. One that ends without a result, by a panic, is made again next time.
struct Begun<'a> {
    checks: &'a Checks,
    target: &'a CheckTarget,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.checks.schedule.lock().skip(&self.target.tag, &self.target.key);
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a health check failed");
    }
}

#[cfg(test)]
mod tests;
