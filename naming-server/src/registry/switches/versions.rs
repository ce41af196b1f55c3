//! Which versions of clients are told of changes.

use std::fmt;

/// First three parts of a client's version; 0.0.0 if it has none that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The least version of each family that gets push packets. Families not named here get none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PushVersions {
    /// `Nacos-Java-Client`.
    pub(crate) java: Version,
    /// `Nacos-DNS`; the switch is called after Python all the same.
    pub(crate) python: Version,
    /// `Nacos-C-Client`, `vip-client4cpp`.
    pub(crate) c: Version,
    /// `Nacos-Go-Client`.
    pub(crate) go: Version,
    /// `Nacos-CSharp-Client`.
    pub(crate) csharp: Version,
}

impl Default for PushVersions {
    fn default() -> Self {
        Self {
            java: Version(0, 1, 0),
            python: Version(0, 4, 3),
            c: Version(1, 0, 12),
            go: Version(0, 1, 0),
            csharp: Version(0, 9, 0),
        }
    }
}
