//! Which list of instances is asked for.

use naming_model::ServiceKey;

/// How names are written: with the group for Java clients since 1.0.0, without it for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// `group@@service`.
    Grouped,
    /// `service`.
    Ungrouped,
    /// Another list altogether, for clients of 2.x and 3.x: see
    /// [`Registry::service_info`](super::Registry::service_info).
    Grpc,
}

impl Flavour {
    /// The name of a service in this flavour.
    pub(super) fn name_of(self, service: &ServiceKey) -> &str {
        match self {
            Self::Grouped => service.grouped(),
            Self::Ungrouped | Self::Grpc => service.service(),
        }
    }
}

/// What a view is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViewQuery<'a> {
    pub(crate) flavour: Flavour,
    pub(crate) healthy_only: bool,
    /// Clusters asked for, separated by commas; empty for all.
    pub(crate) clusters: &'a str,
    /// Whether metadata that was never given is shown as `null`, as Nacos does, and not as `{}`.
    /// For Python clients, which tell the two apart; Java ones fail on the former.
    pub(crate) null_metadata: bool,
}
