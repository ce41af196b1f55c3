//! Durable records as a backup has them: in the words of people, one item each, and back.
//!
//! ```text
//! store, data folder ──► Item::of ──► JSON ──► Item ──► Writes::restore ──► owner, disks
//! ```
//!
//! Switches are left out: they are about the moment in which they are set. Ephemeral instances are
//! registered by their clients.

mod item;
mod read;
mod write;

pub(crate) use item::{ClusterItem, Item, ItemPlace, KindOfInstances, Secret};
pub(crate) use read::{BackupPage, Cursor, Unreadable};
