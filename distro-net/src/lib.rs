//! Runs [`distro_core`] on tokio: the clock it is told the time by, the one task that owns the
//! protocol state, and the calls between members over HTTP.
//!
//! Knows no naming word and decides nothing: what to do and when comes from
//! [`Distro`](distro_core::Distro).

#![warn(missing_docs)]

mod address;
pub use address::{Address, BadAddress, DEFAULT_PORT};

mod auth;
pub use auth::{Identity, Refusal, Secret, WeakSecret};

mod client;
pub use client::{Outcome, Peers, PeersConfig};

mod clock;
pub use clock::Clock;

mod codec;
pub use codec::{BadValue, Codec, CodecError, Limits, MAJOR, MINOR, ValueCodec};

mod connect;
pub use connect::{Connecting, Connector, Io, TcpConnector};

mod control;
pub use control::Control;

mod driver;
pub use driver::Driver;

mod forward;
pub use forward::Forwarder;

mod members;
pub use members::{BadLine, MemberSource, MemberWatch, parse_members};

mod nudge;
pub use nudge::Nudge;

mod service;
pub use service::{PATH_PREFIX, Response, Service};

mod stats;
pub use stats::{CallCounts, PeerStats};

mod status;
pub use status::{MemberStatus, Status};
