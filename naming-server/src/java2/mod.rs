//! The dialect of servers of Nacos 2.x and 3.x between members: data of each client, over gRPC.
//!
//! Members of 1.4 tell lists of services (`nacos`); these tell what each *client* publishes: a
//! connection, or an address that beats. What a client of a Java server publishes is held here as
//! what a connection of this member would hold: `distro-core`'s `Holding` keeps it alive while
//! the Java server vouches for it, and ends it by the stamp of its registration. So the core knows
//! nothing of this dialect, and a client that moves between a Java server and this one is one record
//! all the time.
//!
//! ```text
//! content, arrays, request, member   messages as bytes, and back
//! clients, table, wishes      clients of Java servers, held here
//! own                         clients of this member, as Java servers are told
//! members, owners, roll       who is there; who judges which client that beats
//! link, touch, load           calls to others: the connection, reports and data, the snapshot
//! answer                      what others ask
//! ```

mod answer;
mod arrays;
mod clients;
mod content;
mod link;
mod load;
mod member;
mod members;
mod own;
mod owners;
mod peers;
mod request;
mod roll;
mod table;
#[cfg(test)]
mod tests;
mod touch;
mod wishes;

pub(crate) use answer::PeerAnswer;
pub(crate) use own::{Changed, Connections};
pub(crate) use owners::Owners;
pub(crate) use peers::{PORT_OFFSET, PeerParts, PeerSettings, Peers, Visitors};
pub(crate) use wishes::number_of;

use crate::text::cut;

/// A message whose content cannot be taken. Nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadContent(String);

impl BadContent {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn of_json(what: &str, error: &serde_json::Error) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// The problem, and the beginning of what has it.
    pub(super) fn about(problem: &str, given: &str) -> Self {
        Self(format!("{problem}: {}", cut(given, 80)))
    }
}
