//! What only the members together know: who is connected to which of them, and what each has seen.
//!
//! ```text
//! handler ── Ask ──► here(this member) ─────────────────────┐
//!              └───► Peers::ask ──► Questions of another ────┤ Parts: by member, and who is silent
//!                                   here(that member)        ▼
//!                                                   merged and paged by the handler
//! ```
//!
//! A member that is asked answers for itself alone and asks nobody. What it says has 1 MiB at most,
//! is waited for one second at most, and a handler names the members that said nothing.

mod answer;
mod ask;
mod clients;
mod known;
mod part;
mod seen;
mod words;

pub(crate) use answer::connect;
pub(super) use ask::{Scope, Silent, later, of_others, of_scope};
pub(super) use clients::{
    AddressClients, AddressListens, ClientIds, ConnectionIds, ConnectionOf, ConnectionRows,
    Holders, HoldersOf, Load, Subscribers, merged,
};
pub(super) use known::{AddressClient, KnownClient, id_of, known};
pub(super) use seen::{Changes, EventsSeen};
pub(super) use words::{AddressRow, Detail, Listens, Named, Publication, Rows, SubscriberRow};
