//! What this server thinks of the other members, as Java servers think of each other.
//!
//! Nothing is passed on and nothing is kept: each has a view of its own, made of its own reports
//! and of those that it receives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::member::{PeerMember, PeerState};

/// Reports that may fail in a row until a member is down.
const MOST_FAILURES: u32 = 3;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Make {
    /// It has not said. It is spoken to as to a Java server, which is understood by all.
    #[default]
    Unknown,
    /// A server of our make, with the version of our own protocol that it speaks.
    Ours(u32),
    /// A Java server, or one of our make that does not say so.
    Foreign,
}

/// One other member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    /// In our eyes.
    pub(crate) state: PeerState,
    /// Reports to it that have failed in a row.
    pub(crate) failures: u32,
    /// What it is.
    pub(crate) make: Make,
    /// Whether it may have become something else: it was away, and another server may have been
    /// started in its place.
    pub(crate) make_is_old: bool,
    /// The version it advertises.
    pub(crate) version: Option<String>,
}

impl Other {
    fn new() -> Self {
        Self {
            state: PeerState::Down,
            failures: 0,
            make: Make::Unknown,
            make_is_old: true,
            version: None,
        }
    }

    /// Whether a share of the services falls to it.
    pub(crate) fn owns(&self) -> bool {
        matches!(self.state, PeerState::Up | PeerState::Suspicious)
    }

    fn rise(&mut self) {
        self.state = PeerState::Up;
    }

    fn describe(&mut self, member: &PeerMember) {
        self.make = member.own_protocol.map_or(Make::Foreign, Make::Ours);
        self.make_is_old = false;
        self.version.clone_from(&member.version);
    }
}

/// The other members in the order of their addresses, which is that of their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberStates {
    own: Arc<str>,
    others: BTreeMap<Arc<str>, Other>,
    is_ready: bool,
    is_listed: bool,
}

impl MemberStates {
    /// The member with this address, which knows nobody yet and owns nothing.
    pub(crate) fn new(own: &str) -> Self {
        Self { own: own.into(), others: BTreeMap::new(), is_ready: false, is_listed: false }
    }

    /// The list of members is this from now on; this member need not be on it. Who was on the list
    /// before stays what it was, others are down until they are heard.
    pub(crate) fn set_list<'a>(&mut self, list: impl Iterator<Item = &'a str>) {
        let mut known = std::mem::take(&mut self.others);
        self.is_listed = false;
        for address in list {
            if *address == *self.own {
                self.is_listed = true;
                continue;
            }
            let other = known.remove(address).unwrap_or_else(Other::new);
            self.others.insert(address.into(), other);
        }
    }

    /// These are no members any more, until the list says so again.
    pub(crate) fn remove<'a>(&mut self, leaving: impl Iterator<Item = &'a str>) {
        for address in leaving {
            self.is_listed &= *address != *self.own;
            self.others.remove(address);
        }
    }

    /// This member has what it needs and owns its share from now on.
    pub(crate) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether this member may tell Java servers anything. One that is in nobody's list gets no
    /// beats: it takes the living for dead, and Java believes whoever tells it so.
    pub(crate) fn may_tell(&self) -> bool {
        self.is_ready && self.is_listed
    }

    /// A member has reported: it is up, whatever it says of its state. The count of our own
    /// failures stays. Returns whether it is a member.
    pub(crate) fn reported(&mut self, member: &PeerMember) -> bool {
        let Some(other) = self.others.get_mut(&*member.address) else {
            return *member.address == *self.own;
        };
        other.rise();
        other.describe(member);
        true
    }

    /// A member has answered our report.
    pub(crate) fn answered(&mut self, address: &str) {
        if let Some(other) = self.others.get_mut(address) {
            other.rise();
            other.failures = 0;
        }
    }

    /// A member has told what it is, which says nothing of whether it is ready.
    pub(crate) fn described(&mut self, address: &str, member: &PeerMember) {
        if let Some(other) = self.others.get_mut(address) {
            other.describe(member);
        }
    }

    /// A report to a member has failed. `refused`: nobody listens there.
    ///
    /// An answer of 404 or 501 is no failure: it says that the member knows no reports, and
    /// changes nothing.
    pub(crate) fn failed(&mut self, address: &str, refused: bool) {
        let Some(other) = self.others.get_mut(address) else { return };
        other.failures = other.failures.saturating_add(1);
        // One that is down becomes suspicious, too: it takes connections again.
        other.state = PeerState::Suspicious;
        if refused || other.failures > MOST_FAILURES {
            other.state = PeerState::Down;
            other.make_is_old = true;
        }
    }

    /// Another member.
    pub(crate) fn find(&self, address: &str) -> Option<&Other> {
        self.others.get(address)
    }

    /// All other members.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&Arc<str>, &Other)> {
        self.others.iter()
    }

    /// The members among which the services are divided, in the order that counts. Somebody owns
    /// what nobody else does.
    pub(crate) fn owners(&self) -> Vec<Arc<str>> {
        let others = self.others.iter().filter(|(_, other)| other.owns());
        let mut owners: Vec<Arc<str>> = others.map(|(address, _)| Arc::clone(address)).collect();
        if self.is_ready || owners.is_empty() {
            let at = owners.partition_point(|address| **address < *self.own);
            owners.insert(at, Arc::clone(&self.own));
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "10.0.0.2:8848";
    const TEN: &str = "10.0.0.10:8848";
    const THREE: &str = "10.0.0.3:8848";

    fn states() -> MemberStates {
        let mut states = MemberStates::new(OWN);
        states.set_list([TEN, OWN, THREE].into_iter());
        states
    }

    fn report(address: &str, own_protocol: Option<u32>) -> PeerMember {
        let (state, version) = (PeerState::Starting, Some("1.4.8".to_owned()));
        PeerMember { address: address.to_owned(), state, version, own_protocol }
    }

    fn owners(states: &MemberStates) -> Vec<String> {
        states.owners().iter().map(|address| (**address).to_owned()).collect()
    }

    #[test]
    fn who_is_heard_owns_in_the_order_of_texts() {
        let mut states = states();
        assert_eq!(owners(&states), [OWN], "somebody must");
        states.answered(THREE);
        assert_eq!(owners(&states), [THREE], "this one has not loaded yet");
        states.set_ready();
        assert_eq!(owners(&states), [OWN, THREE]);
        assert!(states.reported(&report(TEN, None)));
        assert_eq!(owners(&states), [TEN, OWN, THREE]);
        assert!(!states.reported(&report("10.0.0.3:884", None)), "not a part of an address");
        assert!(states.reported(&report(OWN, None)), "it is on its own list");
    }

    #[test]
    fn failures_make_suspicious_and_the_fourth_in_a_row_down() {
        let mut states = states();
        states.answered(THREE);
        for failures in 1..=3 {
            states.failed(THREE, false);
            let found = states.find(THREE).unwrap();
            assert_eq!((found.state, found.failures), (PeerState::Suspicious, failures));
            assert!(found.owns());
        }
        states.failed(THREE, false);
        assert_eq!(states.find(THREE).unwrap().state, PeerState::Down);
        states.answered(THREE);
        assert_eq!(states.find(THREE).unwrap().failures, 0);
        states.failed(THREE, true);
        assert_eq!(states.find(THREE).unwrap().state, PeerState::Down, "at once if refused");
    }

    #[test]
    fn a_report_lifts_and_leaves_the_count() {
        let mut states = states();
        (0..4).for_each(|_| states.failed(TEN, false));
        states.reported(&report(TEN, None));
        let found = states.find(TEN).unwrap();
        assert_eq!((found.state, found.failures), (PeerState::Up, 4));
        states.failed(TEN, false);
        assert_eq!(states.find(TEN).unwrap().state, PeerState::Down, "a single failure does");
    }

    #[test]
    fn one_that_is_down_and_takes_connections_becomes_suspicious() {
        let mut states = states();
        states.failed(TEN, true);
        assert_eq!(owners(&states), [OWN]);
        states.failed(TEN, false);
        assert_eq!(states.find(TEN).unwrap().state, PeerState::Suspicious);
    }

    #[test]
    fn a_new_list_keeps_the_known_and_starts_the_new_as_down() {
        let mut states = states();
        assert!(!states.may_tell(), "it has not loaded yet");
        states.set_ready();
        assert!(states.may_tell());
        states.reported(&report(TEN, Some(1)));
        states.set_list([TEN, "10.0.0.4:8848"].into_iter());
        assert!(!states.may_tell(), "it is out of the list");
        assert_eq!(owners(&states), [TEN, OWN], "this one needs no list");
        assert_eq!(states.find(TEN).unwrap().make, Make::Ours(1));
        assert_eq!(states.find(THREE), None);
        let new = states.find("10.0.0.4:8848").unwrap();
        assert_eq!((new.state, new.make), (PeerState::Down, Make::Unknown));
        states.remove([TEN].into_iter());
        assert_eq!(owners(&states), [OWN]);
        states.set_list([TEN, OWN].into_iter());
        assert_eq!(states.find(TEN).unwrap().state, PeerState::Down);
        assert!(states.may_tell());
        states.remove([OWN].into_iter());
        assert!(!states.may_tell());
    }

    #[test]
    fn what_was_away_may_be_something_else() {
        let mut states = states();
        states.reported(&report(TEN, None));
        assert_eq!(states.find(TEN).unwrap().make, Make::Foreign);
        states.failed(TEN, true);
        let found = states.find(TEN).unwrap();
        assert!(found.make_is_old && found.make == Make::Foreign);
        states.answered(TEN);
        assert!(states.find(TEN).unwrap().make_is_old, "an answer does not tell");
        states.described(TEN, &report(TEN, Some(1)));
        let found = states.find(TEN).unwrap();
        assert_eq!((found.make, found.make_is_old), (Make::Ours(1), false));
        assert_eq!(found.version.as_deref(), Some("1.4.8"));
    }

    #[test]
    fn who_is_no_member_changes_nothing() {
        let mut states = states();
        let before = states.clone();
        states.answered("10.0.0.9:1");
        states.failed("10.0.0.9:1", true);
        states.described("10.0.0.9:1", &report("10.0.0.9:1", None));
        assert!(!states.reported(&report("10.0.0.9:1", None)));
        assert_eq!(states, before);
    }
}
