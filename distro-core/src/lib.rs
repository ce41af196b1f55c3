//! Distro, the protocol that keeps ephemeral service instances alike on all members of a
//! cluster, without IO: no socket, clock, thread or ambient randomness. Everything arrives as an
//! argument and leaves as a value, so that every run can be replayed.
//!
//! Two planes:
//!
//! * the *data plane*, [`Store`]: concurrent, called directly by request handlers;
//! * the *control plane*, [`Distro`]: one state machine that a driver feeds with inputs.
//!
//! The list of modules below is the list of mechanisms. The modules before and after them are the
//! words that they share, and what ties them together.
//!
//! | mechanism | modules |
//! |---|---|
//! | equality: every member owns its own share | `ownership`, `membership` |
//! | asynchronous replication | `journal`, `replicate` |
//! | health check of instances, by their beats | `lease`, `renew`, `accounts`, `late`, `pause`, `connections` |
//! | health check between members, by checksums | `verify` |
//! | local read | `store` |
//! | new-node sync | `load` (and `leave`, its opposite) |
//! | routing forward | `forward` |
//!
//! The loop that drives them, which production, simulation and this example share:
//!
//! ```
//! # use std::sync::Arc;
//! use distro_core::{Distro, DistroConfig, Input, MemberId, Now, Output, StampClock, Store, StoreConfig, Tick};
//! # use distro_core::{LeaseTerms, Value};
//! # struct Text;
//! # impl Value for Text {
//! #     fn lease(&self) -> Option<LeaseTerms> { None }
//! #     fn shows_like(&self, _: &Self) -> bool { true }
//! #     fn class(&self) -> usize { 0 }
//! # }
//! let start = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
//! let clock = StampClock::new(MemberId(1), 1, start);
//! let store: Store<Text, ()> = Store::new(StoreConfig::default(), clock, vec![]);
//! let store = Arc::new(store);
//! let mut distro = Distro::new(DistroConfig::default(), store.clone(), &[], 1, start.tick);
//!
//! for _ in 0..10 {
//!     let now = distro.poll_timeout(); // a driver sleeps until then
//!     distro.handle_input(now, Input::Tick);
//!     while let Some(output) = distro.poll_output() {
//!         match output {
//!             Output::Judge(terms) => while store.judge(&terms) {},
//!             Output::Send { .. } => unreachable!("there is nobody to send to"),
//!             _ => {} // worth a line in the log
//!         }
//!     }
//! }
//! ```
//!
//! In a cluster the driver also has these duties:
//!
//! * Every [`Output::Send`] ends in exactly one of [`Input::Answered`], [`Input::NoAnswer`] (the
//!   deadline passed, or the connection broke), [`Input::Refused`] (nobody listens there) and
//!   [`Input::NotTaken`] (the request is too large, or means nothing to the other). A connection
//!   that missed a deadline is not used again. Calls to one member may overtake each other.
//! * A request of another member is answered by [`Answer::answer`], on any thread, once the
//!   transport knows who sent it. Its size must have been bounded: as many entries, beats and
//!   ranges as [`DistroConfig`] allows, and slots as there are.
//! * A [`Watcher`] of the store wakes the driver, which then gives [`Input::Changed`].
//! * A client's call is taken if [`SharedStatus::may_write`] says so, a read and the registration of an
//!   unknown instance by its beat if [`SharedStatus::may_read`] does; otherwise it is answered 503.
//! * A client that holds a connection sends no beats: [`Holding`] keeps alive what it registered, and
//!   ends it with the connection. [`SharedStatus::note_arrival`] is told of each setup.
//! * A client's write is a [`Forwarding`]: perform its [`Step`]s until it is done. A beat is
//!   [`Store::hear`]; one for an unknown record is forwarded as [`Operation::Hear`]. What is
//!   worked out from what a record says is written with [`Operation::expecting`], and worked out
//!   anew if [`Written::is_applied`] says no.

#![warn(missing_docs)]

// The words that everything else is made of.

mod time;
pub use time::{Now, Tick};

mod stamp;
pub use stamp::{MemberId, Stamp, StampClock};

mod slot;
pub use slot::{SLOT_COUNT, Slot};

mod record;
pub use record::{CLASSES, DATUM_KEY, Health, Key, LeaseTerms, Record, RecordId, Stamps, Value};

mod operation;
pub use operation::{Operation, Written};

mod message;
pub use message::{Beat, Entry, Reply, Request, Sender, StampRange, TagSum};

// Equality: every member owns its own share, and knows which others are there to own theirs.

mod ownership;
pub use ownership::{OwnerPolicy, Ring, TagRing};

mod membership;
pub use membership::{Contact, MemberState, Phase};

// Local read: the records in memory, and every change of them.

mod store;
pub use store::{Datum, Heard, Held, ListTerms, Listed, Reader, Store, Verdict, Watcher, Writer};

// Asynchronous replication: changes to all peers.

mod journal;

mod replicate;

// Health check of instances: silence, and how members tell each other what they heard.

mod lease;
pub use lease::JudgeTerms;

mod accounts;
mod late;
mod pause;
mod renew;

// The same for instances of clients that hold a connection in place of beats.

mod connections;
pub use connections::{Action, ConnectionId, End, Holding, HoldingConfig};

// Health check between members: comparing what they hold.

mod verify;

// New-node sync: the first load, and handing over at the end.

mod leave;
mod load;

// Routing forward: writes to the owner.

mod forward;
pub use forward::{Forwarding, Step, apply};

// What ties the mechanisms together.

mod distro;
pub use distro::{CallId, Distro, Input, MemberView, Output};

mod answer;
pub use answer::Answer;

mod status;
pub use status::{Beginning, SharedStatus};

mod passage;
pub use passage::Passage;

mod config;
pub use config::{DistroConfig, StoreConfig};

mod rules;
#[doc(hidden)]
pub use rules::Rules;

mod random;
