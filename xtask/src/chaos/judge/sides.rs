//! A cut that separates clients as well as nodes.

/// Who is on which side: one node with the clients of some services, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct Sides {
    /// The node on a side of its own.
    pub(in crate::chaos) alone: usize,
    /// The services below this number have their clients on that side.
    pub(in crate::chaos) services: usize,
}

impl Sides {
    /// Whether the clients of a service reach a node.
    pub(in crate::chaos) fn reaches(self, node: usize, service: usize) -> bool {
        (node == self.alone) == (service < self.services)
    }
}
