//! The driver under paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use distro_core::{
    Datum, DistroConfig, Health, Input, Key, LeaseTerms, MemberId, SharedStatus, StampClock, Store,
    StoreConfig, Tick, Value, Verdict, Watcher,
};
use distro_net::{Clock, Driver};
use tokio_util::sync::CancellationToken;

struct Text;

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        Some(LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) })
    }
    fn shows_like(&self, _: &Self) -> bool {
        true
    }
    fn class(&self) -> usize {
        0
    }
}

struct Member {
    store: Arc<Store<Text, ()>>,
    clock: Clock,
    shared_status: Arc<SharedStatus>,
    control: distro_net::Control<Text>,
    shutdown: CancellationToken,
}

impl Member {
    fn start() -> Self {
        Self::start_by(Clock::of_runtime(), vec![])
    }

    fn start_by(clock: Clock, watchers: Vec<Arc<dyn Watcher<Text, ()>>>) -> Self {
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let store = Arc::new(Store::new(StoreConfig::default(), stamps, watchers));
        let (driver, control) = Driver::new(DistroConfig::default(), store.clone(), clock);
        let (shared_status, shutdown) =
            (Arc::clone(driver.shared_status()), CancellationToken::new());
        tokio::spawn(driver.run(shutdown.clone()));
        let member = Self { store, clock, shared_status, control, shutdown };
        member.register("t");
        member
    }

    fn register(&self, tag: &str) {
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        self.store.update(tag, now, |writer| {
            writer.register("a", stamp, Arc::new(Text), Health::Healthy);
        });
    }

    fn ran_for_ms(&self) -> u128 {
        self.clock.tick().since(Tick::START).as_millis()
    }

    fn health(&self) -> Option<Health> {
        self.health_of("t")
    }

    fn health_of(&self, tag: &str) -> Option<Health> {
        let datum = self.store.find(tag)?;
        datum.read(|reader| reader.find("a").filter(|r| r.is_visible()).map(|r| r.health()))
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_judged_within_a_second_of_its_deadlines() {
    let member = Member::start();
    let mut flipped = None;
    while member.health().is_some() {
        if member.health() == Some(Health::Unhealthy) {
            flipped.get_or_insert_with(|| member.ran_for_ms());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let flipped = flipped.expect("unhealthy before it is gone");
    assert!((15_000..16_000).contains(&flipped), "unhealthy at {flipped} ms");
    let gone = member.ran_for_ms();
    assert!((30_000..31_000).contains(&gone), "gone at {gone} ms");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_gives_everybody_a_full_time_out() {
    let member = Member::start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // No task runs while time passes: what SIGSTOP does.
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(member.health(), Some(Health::Healthy));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(member.health(), Some(Health::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn judging_stops_on_request_and_the_driver_on_shutdown() {
    let member = Member::start();
    assert!(member.control.input(Input::Judging(false)));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(member.health(), Some(Health::Healthy));
    member.shutdown.cancel();
    while member.control.input(Input::Tick) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_gives_everybody_a_full_time_out() {
    static SLEPT_MS: AtomicU64 = AtomicU64::new(0);
    let member = Member::start_by(Clock::of_sleeper(&SLEPT_MS), vec![]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Timers stand still meanwhile, so no task is late by them.
    SLEPT_MS.store(3_600_000, Ordering::Relaxed);
    let now = member.clock.tick();
    assert!(
        !member.shared_status.is_awake(now),
        "what is asked before the driver runs is not answered"
    );
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(member.health(), Some(Health::Healthy));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(member.health(), Some(Health::Unhealthy));
}

/// Stops the process, once, while a record is being judged.
struct StopsInJudgement {
    stopped_ms: &'static AtomicU64,
    has_stopped: AtomicBool,
}

impl Watcher<Text, ()> for StopsInJudgement {
    fn changed(&self, _: &Arc<Datum<Text, ()>>, _: &[Key], _: bool) {}

    fn judged(&self, _: &Arc<Datum<Text, ()>>, _: &Verdict<Text>) {
        if !self.has_stopped.swap(true, Ordering::Relaxed) {
            self.stopped_ms.fetch_add(60_000, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_stopped_in_the_middle_of_judging_expires_nobody() {
    static STOPPED_MS: AtomicU64 = AtomicU64::new(0);
    let has_stopped = AtomicBool::new(false);
    let stops = Arc::new(StopsInJudgement { stopped_ms: &STOPPED_MS, has_stopped });
    let member = Member::start_by(Clock::of_sleeper(&STOPPED_MS), vec![stops.clone()]);
    // Several slices of one round. All are silent from now on.
    let tag = |n: usize| format!("service-{n}");
    (0..1_000).for_each(|n| member.register(&tag(n)));
    while !stops.has_stopped.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(14)).await;
    let healths: Vec<_> = (0..1_000).map(|n| member.health_of(&tag(n))).collect();
    assert!(healths.iter().all(Option::is_some), "nobody was silent for 30 s while listened to");
    assert!(healths.contains(&Some(Health::Healthy)), "the round was given up");
}
