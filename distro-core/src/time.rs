//! Time as plain numbers, so that a test can build any moment without reading a clock.

use std::time::Duration;

/// A moment on the monotonic clock of this process: milliseconds since some start.
///
/// Ticks of different processes cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// What the clock of a process should show when it starts: members tell each other of moments
    /// before that, and none is more than the longest time-out of 5 min ago. 10 min.
    pub const START: Self = Self(600_000);

    /// A moment `ms` milliseconds after the start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the start.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, zero if that is later than this.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` earlier; `None` if the clock had not started then: such an age says no
    /// more than that something was before the start.
    pub fn before(self, span: Duration) -> Option<Self> {
        let ms = u64::try_from(span.as_millis()).ok()?;
        self.0.checked_sub(ms).map(Self)
    }

    /// The moment `span` later; sub-millisecond parts are dropped.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A moment on both clocks: the monotonic one that everything is measured by, and the wall clock,
/// which is read for stamps at start and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time.
    pub tick: Tick,
    /// Milliseconds since the Unix epoch by the wall clock of this machine; may be wrong.
    pub wall_ms: u64,
}
