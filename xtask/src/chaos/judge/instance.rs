//! What is true of an instance, as opposed to what nodes show.

use super::At;

/// What the client of an instance did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::chaos) enum Life {
    /// Its registration was never acknowledged.
    #[default]
    Unknown,
    /// Acknowledged, and it beats.
    Alive,
    /// It stopped beating without a word.
    Dead { since: At },
    /// Its deregistration is on its way.
    Leaving,
    /// Its deregistration was acknowledged.
    Gone { since: At },
}

/// One instance.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::chaos) struct Instance {
    pub(in crate::chaos) life: Life,
    /// When a node last acknowledged a beat or registration of it.
    pub(in crate::chaos) heard: At,
    /// By which node.
    pub(in crate::chaos) heard_by: usize,
}

impl Instance {
    /// A node acknowledged a registration or a beat.
    pub(in crate::chaos) fn acknowledged(&mut self, at: At, node: usize) {
        (self.heard, self.heard_by) = (at, node);
        if self.life == Life::Unknown {
            self.life = Life::Alive;
        }
    }
}
