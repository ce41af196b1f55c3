//! The driver under paused time.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    DistroConfig, Health, Input, LeaseTerms, MemberId, StampClock, Store, StoreConfig, Value,
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
    control: distro_net::Control<Text>,
    shutdown: CancellationToken,
}

impl Member {
    fn start() -> Self {
        let clock = Clock::start();
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let store = Arc::new(Store::new(StoreConfig::default(), stamps, vec![]));
        let (driver, control) = Driver::new(DistroConfig::default(), store.clone(), clock);
        let shutdown = CancellationToken::new();
        tokio::spawn(driver.run(shutdown.clone()));
        let now = clock.tick();
        let stamp = store.clock().issue(now);
        store.update("t", now, |writer| {
            writer.register("a", stamp, Arc::new(Text), Health::Healthy);
        });
        Self { store, clock, control, shutdown }
    }

    fn health(&self) -> Option<Health> {
        let datum = self.store.find("t")?;
        datum.read(|reader| reader.find("a").filter(|r| r.is_visible()).map(|r| r.health()))
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_judged_within_a_second_of_its_deadlines() {
    let member = Member::start();
    let mut flipped = None;
    while member.health().is_some() {
        if member.health() == Some(Health::Unhealthy) {
            flipped.get_or_insert_with(|| member.clock.tick().as_ms());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let flipped = flipped.expect("unhealthy before it is gone");
    assert!((15_000..16_000).contains(&flipped), "unhealthy at {flipped} ms");
    let gone = member.clock.tick().as_ms();
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
