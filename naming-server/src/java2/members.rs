//! Who is there: the list, and what is thought of each member.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::member::{Member, State};
use super::owners::Owners;

/// So many failures in a row make a member one that is down. As in Java: more than three.
const DOWN_AFTER: u32 = 4;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// It has not told yet: it is sent no data.
    Unknown,
    /// One of ours, which has its data by our own protocol.
    Ours,
    /// A Java server.
    Java,
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) state: State,
    pub(crate) make: Make,
    /// The version that it tells.
    pub(crate) version: String,
    /// Failures in a row.
    pub(crate) failures: u32,
}

/// All members of the list.
#[derive(Debug)]
pub(crate) struct Members {
    own: Arc<str>,
    /// Whether this member is on the list: if not, it has no share.
    is_listed: bool,
    others: BTreeMap<Arc<str>, Other>,
}

impl Members {
    /// This member alone.
    pub(crate) fn new(own: Arc<str>) -> Self {
        Self { own, is_listed: false, others: BTreeMap::new() }
    }

    /// The list is this from now on. A new member counts as up before anybody has reached it, as
    /// in Java: all share out the same.
    pub(crate) fn set_list<'a>(&mut self, list: impl Iterator<Item = &'a str>) {
        let mut others = BTreeMap::new();
        self.is_listed = false;
        for address in list {
            if *address == *self.own {
                self.is_listed = true;
                continue;
            }
            let known = self.others.remove(address);
            let fresh = || Other {
                state: State::Up,
                make: Make::Unknown,
                version: String::new(),
                failures: 0,
            };
            others.insert(Arc::from(address), known.unwrap_or_else(fresh));
        }
        self.others = others;
    }

    /// Whether this member is on the list.
    pub(crate) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The others.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&Arc<str>, &Other)> {
        self.others.iter()
    }

    /// What is known of a member.
    pub(crate) fn find(&self, address: &str) -> Option<&Other> {
        self.others.get(address)
    }

    /// A member has told of itself, in a report or in the answer to one. False if it is not on the
    /// list.
    pub(crate) fn told(&mut self, address: &str, member: &Member) -> bool {
        let Some(other) = self.others.get_mut(address) else { return false };
        other.state = State::Up;
        other.failures = 0;
        other.make = if member.is_ours() { Make::Ours } else { Make::Java };
        crate::text::cut(member.version(), 64).clone_into(&mut other.version);
        true
    }

    /// A member has answered without telling of itself.
    pub(crate) fn answered(&mut self, address: &str) {
        if let Some(other) = self.others.get_mut(address) {
            other.state = State::Up;
            other.failures = 0;
            if other.make == Make::Unknown {
                other.make = Make::Java;
            }
        }
    }

    /// A report to a member has failed.
    pub(crate) fn failed(&mut self, address: &str) {
        let Some(other) = self.others.get_mut(address) else { return };
        other.failures = other.failures.saturating_add(1);
        other.state = match other.failures {
            DOWN_AFTER.. => State::Down,
            _ => State::Suspicious,
        };
    }

    /// Who shares the clients that beat.
    pub(crate) fn owners(&self) -> Owners {
        let shares = |(address, other): (&Arc<str>, &Other)| {
            matches!(other.state, State::Up | State::Suspicious).then(|| Arc::clone(address))
        };
        let others = self.others.iter().filter_map(shares);
        let own = self.is_listed.then(|| Arc::clone(&self.own));
        Owners::new(others.chain(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_judged_as_java_judges_them() {
        let mut members = Members::new("b:1".into());
        members.set_list(["a:1", "b:1", "c:1"].into_iter());
        let owner = |members: &Members, tag: &str| members.owners().owner(tag).cloned();
        let among = |members: &Members| {
            let tags = (0..64).map(|port| format!("10.0.0.1:{port}"));
            let mut found: Vec<_> = tags.filter_map(|tag| owner(members, &tag)).collect();
            found.sort_unstable();
            found.dedup();
            found.len()
        };
        assert_eq!(among(&members), 3, "a new member owns its share at once");
        for _ in 0..3 {
            members.failed("a:1");
            assert_eq!(members.find("a:1").unwrap().state, State::Suspicious);
            assert_eq!(among(&members), 3);
        }
        members.failed("a:1");
        assert_eq!(members.find("a:1").unwrap().state, State::Down);
        assert_eq!(among(&members), 2);
        let java: Member = serde_json::from_str(r#"{"ip":"a","port":1,"address":"a:1"}"#).unwrap();
        assert!(members.told("a:1", &java) && !members.told("x:1", &java));
        assert_eq!(among(&members), 3);
        let ours = Member::own("c:1", "2.5.1", 0);
        assert!(members.told("c:1", &ours));
        assert_eq!(members.find("c:1").unwrap().make, Make::Ours);
        members.set_list(["a:1"].into_iter());
        assert_eq!(among(&members), 1, "who is on no list has no share");
        members.set_list(["b:1", "c:1"].into_iter());
        assert!(members.find("a:1").is_none());
    }
}
