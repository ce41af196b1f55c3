//! The only place that reads a clock for the core.

use std::time::{SystemTime, UNIX_EPOCH};

use distro_core::{Now, Tick};
use tokio::time::{Duration, Instant};

/// Monotonic time since the start of this process's registry. Cheap to copy and to read.
///
/// Reads tokio's clock, so that tests may pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// What the wall clock showed at the start, if it is not the system's.
    wall_at_start_ms: Option<u64>,
}

impl Clock {
    /// A clock that starts at tick zero now.
    pub fn start() -> Self {
        Self { start: Instant::now(), wall_at_start_ms: None }
    }

    /// A clock that starts at tick zero now, and whose wall clock shows `wall_ms` now and goes on
    /// evenly, whatever the system's does. For simulated members, whose clocks may differ.
    pub fn start_at(wall_ms: u64) -> Self {
        Self { start: Instant::now(), wall_at_start_ms: Some(wall_ms) }
    }

    /// Monotonic time.
    pub fn tick(&self) -> Tick {
        Tick::ZERO.after(self.start.elapsed())
    }

    /// Both clocks. The wall clock counts as the epoch if it stands before it.
    pub fn now(&self) -> Now {
        let tick = self.tick();
        let wall_ms = match self.wall_at_start_ms {
            Some(wall_ms) => wall_ms.saturating_add(tick.as_ms()),
            None => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }
        };
        Now { tick, wall_ms }
    }

    /// When a tick will be, for sleeping until it.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_millis(tick.as_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_made_up_wall_clock_goes_on_evenly() {
        let clock = Clock::start_at(1_000);
        tokio::time::advance(Duration::from_millis(234)).await;
        let now = clock.now();
        assert_eq!((now.tick.as_ms(), now.wall_ms), (234, 1_234));
    }
}
