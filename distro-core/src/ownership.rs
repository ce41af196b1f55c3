//! Equality: every member runs the same code and owns its own share of all tags. Who owns what follows
//! from the list of members that are up; nobody assigns it.

mod ring;
pub use ring::Ring;

mod tag_ring;
pub(crate) use tag_ring::TagOwners;
pub use tag_ring::{OwnerPolicy, TagRing};

mod share;
pub(crate) use share::Shares;

mod view;
