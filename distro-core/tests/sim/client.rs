//! Clients: each keeps one instance registered, beats through random members and fails over.

use crate::node::Ask;

/// What a client is doing with its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Registering, beating, now and then writing again.
    Alive,
    /// Told to deregister; then it rests.
    Leaving,
    /// Its deregistration was acknowledged then.
    Gone(u64),
    /// Killed then, without a word.
    Dead(u64),
    /// Not an instance: adds one to a number again and again.
    Counting,
    /// Has counted for long enough.
    Resting,
    /// Writes and removes one durable record, again and again.
    Keeping,
    /// Has done that for long enough.
    Kept,
}

pub(crate) struct Client {
    pub(crate) tag: String,
    pub(crate) key: String,
    pub(crate) life: Life,
    /// Whether its beats carry the whole instance.
    pub(crate) full_beats: bool,
    /// The members it can reach; all if empty.
    pub(crate) reach: Vec<usize>,
    /// Which of its writes are removals, from number 1 on.
    pub(crate) erases: Vec<bool>,
    /// The number of its last write, and whether and when that was acknowledged.
    pub(crate) version: u32,
    pub(crate) acked: u32,
    pub(crate) acked_at: u64,
    pub(crate) acked_by: usize,
    /// The member that took the last write died with it before it could tell anybody.
    pub(crate) is_lost: bool,
    /// Since when every beat was acknowledged in time.
    pub(crate) steady_since: Option<u64>,
    /// When an operator last closed its service. Until it has registered again it may be gone
    /// anywhere.
    pub(crate) closed_at: Option<u64>,
    /// When a member last heard it, or took a write of an operator in its place.
    pub(crate) last_heard: u64,
    /// When an operator last set its health.
    pub(crate) judged_at: u64,
    /// When a call of it was last acknowledged.
    pub(crate) last_contact: u64,
    /// The call under way.
    pub(crate) call: Option<Attempt>,
    pub(crate) next_attempt: u64,
    /// When it acts again.
    pub(crate) wakes_at: u64,
    /// Registers over a connection to one member, and sends no beats.
    pub(crate) is_linked: bool,
    /// That connection, and the one over which it registered last.
    pub(crate) link: Option<usize>,
    pub(crate) published: Option<usize>,
    /// When it last set one up.
    pub(crate) linked_at: u64,
    /// When its connection was seen to end by the member that held it, if it was killed.
    pub(crate) hung_up: Option<u64>,
}

pub(crate) struct Attempt {
    pub(crate) ask: Ask,
    pub(crate) number: u64,
    pub(crate) began: u64,
    /// Members that are yet to be tried.
    pub(crate) left: Vec<usize>,
}

impl Client {
    pub(crate) fn new(tag: &str, key: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            key: key.to_owned(),
            life: Life::Alive,
            full_beats: false,
            reach: Vec::new(),
            erases: Vec::new(),
            version: 1,
            acked: 0,
            acked_at: 0,
            acked_by: 0,
            is_lost: false,
            steady_since: None,
            closed_at: None,
            last_heard: 0,
            judged_at: 0,
            last_contact: 0,
            call: None,
            next_attempt: 0,
            wakes_at: 0,
            is_linked: false,
            link: None,
            published: None,
            linked_at: 0,
            hung_up: None,
        }
    }

    /// One that registers over a connection.
    pub(crate) fn linked(tag: &str, key: &str) -> Self {
        Self { is_linked: true, ..Self::new(tag, key) }
    }

    /// Somebody who counts.
    pub(crate) fn counter(tag: &str) -> Self {
        Self { life: Life::Counting, ..Self::new(tag, "number") }
    }

    /// Somebody who writes a durable record.
    pub(crate) fn keeper(tag: &str, key: &str) -> Self {
        Self { life: Life::Keeping, version: 0, ..Self::new(tag, key) }
    }

    /// Whether a write of a durable record was a removal.
    pub(crate) fn is_erase(&self, number: u32) -> bool {
        let index = number.checked_sub(1).map(|index| index as usize);
        index.is_some_and(|index| self.erases.get(index) == Some(&true))
    }

    /// What it does when it wakes.
    pub(crate) fn next_ask(&self) -> Option<Ask> {
        match self.life {
            Life::Alive if self.acked < self.version => Some(Ask::Register(self.version)),
            Life::Alive => Some(Ask::Beat(self.full_beats.then_some(self.version))),
            Life::Leaving => Some(Ask::Deregister),
            Life::Counting => Some(Ask::Count(0)),
            Life::Keeping if self.is_erase(self.version) => Some(Ask::Erase(self.version)),
            Life::Keeping => Some(Ask::Save(self.version)),
            Life::Kept | Life::Gone(_) | Life::Dead(_) | Life::Resting => None,
        }
    }
}
