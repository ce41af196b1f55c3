//! What one check found.

use std::borrow::Cow;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// All is well.
    Passed,
    /// It may be an accident: several in a row count.
    Failed,
    /// There is no doubt: nobody listens, or it says itself that it does not work.
    Refused,
    /// Nothing was found out, for reasons of this machine.
    NotMade,
}

impl Finding {
    /// Names for metrics, in the order of the variants.
    pub(crate) const KINDS: [&'static str; 4] = ["passed", "failed", "refused", "not_made"];
}

/// A finding and its reason.
pub(super) type Found = (Finding, Cow<'static, str>);
