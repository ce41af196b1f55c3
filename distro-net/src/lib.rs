//! Runs [`distro_core`] on tokio: the clock it is told the time by, the one task that owns the
//! protocol state, and the calls between members over HTTP.
//!
//! Knows no naming word and decides nothing: what to do and when comes from
//! [`Distro`](distro_core::Distro).
//!
//! How the parts of a member are put together:
//!
//! ```text
//! MemberSource ──start──► addresses, MemberWatch ──follow──► Control ──inputs──► Driver ──► Distro
//! Secret, cluster name, MemberId ──► Identity ──► Peers ◄──calls── Driver, Forwarder
//! Nudge ──a watcher of──► Store;  Nudge ──wakes──► Driver
//! HTTP server ──POST /distro/v1/…──► Service ──► Answer, the core's answering side
//! Durability, the disk ◄──waits for── Service, Forwarder
//! ```
//!
//! 1. Make a [`Clock`], a [`Nudge`], and the store with the nudge among its watchers.
//! 2. Make [`Peers`] of an [`Identity`], a [`Codec`] (with a [`ValueCodec`] for what the records
//!    carry) and a [`Connector`]; ask [`Peers::is_taken`] before listening.
//! 3. [`Driver::with_peers`] gives the driver and its [`Control`]; mount a [`Service`] under
//!    [`PATH_PREFIX`], give handlers a [`Forwarder`] and the driver's [shared status](Driver::shared_status).
//! 4. Listen, and run the driver and [`MemberWatch::follow`]. To stop, await [`Control::leave`]
//!    while still serving, then cancel the driver.
//!
//! A member alone needs [`Driver::new`] only.

#![warn(missing_docs)]

mod address;
pub use address::{Address, BadAddress, DEFAULT_PORT, Spelling};

mod address_server;
pub use address_server::{AddressServer, BadAddressServer};

mod auth;
pub use auth::{Identity, Refusal, Secret, WeakSecret};

mod client;
pub use client::{Outcome, Peers, PeersConfig};

mod clock;
pub use clock::Clock;

mod codec;
pub use codec::{BadValue, Codec, CodecError, Limits, MAJOR, MINOR, Unread, ValueCodec};

mod connect;
pub use connect::{Connecting, Connector, Io, TcpConnector};

mod control;
pub use control::Control;

mod driver;
pub use driver::Driver;

mod durability;
pub use durability::{Durability, InMemory, NotSaved, Saving};

mod forward;
pub use forward::Forwarder;

mod persist;
pub use persist::TooFew;

mod members;
pub use members::{BadLine, MemberSource, MemberWatch, parse_members};

mod names;
pub use names::{BadNameServer, NameServer, NamedConnector};

mod nudge;
pub use nudge::Nudge;

mod questions;
pub use questions::{MOST_QUESTION_BYTES, MOST_TOLD_BYTES, Questions, Told};

mod service;
pub use service::{Answering, CALL_PATH, PATH_PREFIX, Response, Service};

mod stats;
pub use stats::{CallCounts, PeerStats};

mod unread;

mod status;
pub use status::{MemberStatus, Status};
