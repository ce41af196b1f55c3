//! Runs [`distro_core`] on tokio: the clock it is told the time by, and the one task that owns
//! the protocol state.
//!
//! Knows no naming word and decides nothing: what to do and when comes from
//! [`Distro`](distro_core::Distro).

#![warn(missing_docs)]

mod clock;
pub use clock::Clock;

mod driver;
pub use driver::{Control, Driver};
