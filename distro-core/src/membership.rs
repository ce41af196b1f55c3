//! The other members as this one sees them: who answers, who is gone, and all that is kept of each.

mod member;
pub use member::{Contact, MemberState, Phase};

mod peer;
pub(crate) use peer::Peer;

mod contact;
pub(crate) use contact::Contacts;
