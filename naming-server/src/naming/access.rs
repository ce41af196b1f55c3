//! What a call does to the registry.

/// How a call treats the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Looks at it.
    Read,
    /// Changes it.
    Write,
}
