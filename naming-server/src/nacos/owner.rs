//! Who owns a service where Java servers are among the members.

use naming_model::NAMESPACE_SEPARATOR;

use crate::registry::java_hash;

/// The number of a tag that decides who owns it, for
/// [`OwnerPolicy::Tags`](distro_core::OwnerPolicy::Tags): Java's hash of the grouped name. The
/// namespace does not count, so a service has one owner in all of them.
pub(crate) fn owner_number(tag: &str) -> u32 {
    let grouped = tag.rsplit_once(NAMESPACE_SEPARATOR).map_or(tag, |(_, grouped)| grouped);
    // Java's remainder has the sign of the hash: the least hash gives 1, the greatest 0.
    (java_hash(grouped) % i32::MAX).unsigned_abs()
}
