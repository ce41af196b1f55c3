//! The name of an application, in 16 bytes: the two that nearly everybody sends take no more.

use std::ops::Deref;

/// What a client calls its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum App {
    Unknown,
    Default,
    /// Rare. A text takes 16 bytes where it stands, so this is a pointer to it.
    Other(Box<Box<str>>),
}

impl App {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "unknown" => Self::Unknown,
            "DEFAULT" => Self::Default,
            other => Self::Other(Box::new(other.into())),
        }
    }
}

impl Deref for App {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Unknown => "unknown",
            Self::Default => "DEFAULT",
            Self::Other(name) => name,
        }
    }
}
