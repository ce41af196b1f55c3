//! Runs [`distro_core`] on tokio: the clock it is told the time by, the one task that owns the
//! protocol state, and the calls between members over HTTP.
//!
//! Knows no naming word and decides nothing: what to do and when comes from
//! [`Distro`](distro_core::Distro).

#![warn(missing_docs)]

mod auth;
pub use auth::{Identity, Refusal, Secret, WeakSecret};

mod clock;
pub use clock::Clock;

mod codec;
pub use codec::{BadValue, Codec, CodecError, Limits, MAJOR, MINOR, ValueCodec};

mod driver;
pub use driver::{Control, Driver};
