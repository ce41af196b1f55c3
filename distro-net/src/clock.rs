//! The only place that reads a clock for the core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use distro_core::{Now, Tick};
use tokio::time::{Duration, Instant};

/// Monotonic time since the start of this process's registry. Cheap to copy and to read.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    source: Source,
    /// What the wall clock showed at the start, if it is not the system's.
    wall_at_start_ms: Option<u64>,
}

/// What is read, and what it showed at the start.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The clock of the system that runs on while the machine sleeps.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Boot(Duration),
    /// The clock of tokio, which tests may pause. It stands still while the machine sleeps.
    Runtime(Instant),
    /// The same, and how long the machine has slept, in milliseconds.
    Sleeping(Instant, &'static AtomicU64),
}

impl Clock {
    /// A clock that starts at [`Tick::START`] now, and runs on while the machine is suspended: a
    /// member that slept must know it, or it shows what it knew before, and takes writes from before
    /// for writes of now. Where the system has no such clock (it is none of Linux) it stands still
    /// meanwhile.
    ///
    /// Not for tests that pause time: see [`Self::of_runtime`].
    pub fn start() -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let source = Source::Boot(boot_time());
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let source = Source::Runtime(Instant::now());
        Self { source, wall_at_start_ms: None }
    }

    /// A clock that starts at [`Tick::START`] now and reads tokio's, so that tests may pause it.
    pub fn of_runtime() -> Self {
        Self { source: Source::Runtime(Instant::now()), wall_at_start_ms: None }
    }

    /// A clock that starts at [`Tick::START`] now, and whose wall clock shows `wall_ms` now and goes on
    /// evenly, whatever the system's does. Reads tokio's. For simulated members, whose clocks may
    /// differ.
    pub fn start_at(wall_ms: u64) -> Self {
        Self { wall_at_start_ms: Some(wall_ms), ..Self::of_runtime() }
    }

    /// The clock of a machine that has slept for `slept_ms` so far, which no clock of tokio shows.
    /// For tests, which let it sleep by adding to that.
    #[doc(hidden)]
    pub fn of_sleeper(slept_ms: &'static AtomicU64) -> Self {
        Self { source: Source::Sleeping(Instant::now(), slept_ms), wall_at_start_ms: None }
    }

    /// Monotonic time.
    pub fn tick(&self) -> Tick {
        match self.source {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Boot(start) => Tick::START.after(boot_time().saturating_sub(start)),
            Source::Runtime(start) => Tick::START.after(start.elapsed()),
            Source::Sleeping(start, slept_ms) => {
                let slept = Duration::from_millis(slept_ms.load(Ordering::Relaxed));
                Tick::START.after(start.elapsed() + slept)
            }
        }
    }

    /// Both clocks. The wall clock counts as the epoch if it stands before it.
    pub fn now(&self) -> Now {
        let tick = self.tick();
        let wall_ms = match self.wall_at_start_ms {
            Some(wall_ms) => {
                let since_start = tick.since(Tick::START).as_millis();
                wall_ms.saturating_add(u64::try_from(since_start).unwrap_or(u64::MAX))
            }
            None => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }
        };
        Now { tick, wall_ms }
    }

    /// When a tick will be, for sleeping until it. Timers stand still while the machine sleeps, so
    /// this is to be asked anew for each sleep; a sleep that began before ends so much later.
    pub fn instant(&self, tick: Tick) -> Instant {
        match self.source {
            Source::Runtime(start) => start + tick.since(Tick::START),
            _ => Instant::now() + tick.since(self.tick()),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is ever negative.
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_made_up_wall_clock_goes_on_evenly() {
        let clock = Clock::start_at(1_000);
        tokio::time::advance(Duration::from_millis(234)).await;
        let now = clock.now();
        assert_eq!(now.tick.since(Tick::START), Duration::from_millis(234));
        assert_eq!(now.wall_ms, 1_234);
    }

    #[tokio::test(start_paused = true)]
    async fn time_asleep_counts_and_a_sleep_after_it_is_as_long_as_asked_for() {
        static SLEPT_MS: AtomicU64 = AtomicU64::new(0);
        let clock = Clock::of_sleeper(&SLEPT_MS);
        tokio::time::advance(Duration::from_millis(100)).await;
        SLEPT_MS.store(60_000, Ordering::Relaxed);
        assert_eq!(clock.tick().since(Tick::START), Duration::from_millis(60_100));
        let in_a_second = clock.instant(Tick::START.after(Duration::from_millis(61_100)));
        assert_eq!(in_a_second - Instant::now(), Duration::from_secs(1));
    }

    /// The clock that is read is the one that says how long the machine has been up, asleep or
    /// not.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_of_a_process_is_that_of_the_uptime() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
            let seconds = text.split(' ').next().and_then(|text| text.parse().ok());
            Duration::from_secs_f64(seconds.expect("it begins with the seconds"))
        };
        let (before, read, after) = (uptime(), boot_time(), uptime());
        // The file counts hundredths of a second.
        let slack = Duration::from_millis(20);
        assert!(before <= read + slack && read <= after + slack, "{before:?} {read:?} {after:?}");
        let clock = Clock::start();
        let (first, second) = (clock.tick(), clock.tick());
        assert!(first <= second && second.since(Tick::START) < Duration::from_secs(60));
    }
}
