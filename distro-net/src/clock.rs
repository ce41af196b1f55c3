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
}

impl Clock {
    /// A clock that starts at tick zero now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic time.
    pub fn tick(&self) -> Tick {
        Tick::ZERO.after(self.start.elapsed())
    }

    /// Both clocks. The wall clock counts as the epoch if it stands before it.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { tick: self.tick(), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// When a tick will be, for sleeping until it.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_millis(tick.as_ms())
    }
}
