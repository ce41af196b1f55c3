//! What no server of Nacos tells: `/v3/console/naming-server/*`.

mod backup;
mod clients;
mod inspect;
mod overview;

pub(super) use backup::{backup, restore};
pub(super) use clients::{addresses, client, connections};
pub(super) use inspect::{audit, events, instances, search};
pub(super) use overview::{members, overview};
