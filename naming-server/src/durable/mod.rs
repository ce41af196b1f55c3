//! Durable records: what outlives a restart, in one file of the data folder.
//!
//! ```text
//!  request ──► store ──► keeper notes the key ──► its thread reads the record, writes the file
//!     ▲                                                        │
//!     └───────────── kept: the write is answered ◄─────────────┘
//! ```
//!
//! The store is what counts while the process runs, for these records as for all others; the file
//! follows it. One thread writes: everything that was noted while the disk was busy goes with the
//! next flush, so the busier it is, the less a write costs. What waits are keys, never values, and
//! each at most once.

use distro_core::DATUM_KEY;
use naming_model::{OPERATOR_MARK, PERSISTENT_MARK, ServiceKey};

mod acks;
mod cache;
mod dirty;
mod error;
mod file;
mod folder;
mod keeper;
mod rejoin;
mod row;
mod saver;
mod stats;

pub(crate) use acks::Acks;
pub(crate) use cache::InstanceCache;
pub(crate) use error::DataError;
pub(crate) use folder::{Folder, default_folder};
pub(crate) use keeper::{Data, Keeper};
pub(crate) use stats::FLUSH_BOUNDS_MS;

/// Whether a record outlives a restart, told by its place alone, since what is removed has no
/// content: all that belongs to no service, the settings of services, persistent instances, what
/// an operator set of an instance.
pub(crate) fn is_durable(tag: &str, key: &str) -> bool {
    key == DATUM_KEY
        || key.starts_with([PERSISTENT_MARK, OPERATOR_MARK])
        || !ServiceKey::is_tag(tag)
}

#[cfg(test)]
mod tests;
