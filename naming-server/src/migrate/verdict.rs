//! Whether all views agree with each other and with what the operator wants.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{Kind, Seen, View};

/// What the operator wants.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The list that all must have; empty: those that are asked.
    pub(super) members: BTreeSet<String>,
    /// What the switch `check` must be at servers of Nacos.
    pub(super) judges_beats: Option<bool>,
    /// By how many instances servers may differ.
    pub(super) spread: u64,
}

impl Wanted {
    /// The list that all must have.
    pub(super) fn list(&self, views: &[View]) -> BTreeSet<String> {
        match self.members.is_empty() {
            true => answers(views).map(|seen| seen.address.clone()).collect(),
            false => self.members.clone(),
        }
    }
}

/// What stands against the next step, in the operator's words. Nothing: it may be taken.
pub(super) fn objections(views: &[View], wanted: &Wanted) -> Vec<String> {
    let list = wanted.list(views);
    let mut found = Vec::new();
    for view in views {
        match &view.seen {
            Err(reason) => found.push(format!("{} gives no view: {reason}", view.place)),
            Ok(seen) => found.extend(of_one(seen, &list, views)),
        }
    }
    found.extend(asked_twice(views));
    found.extend(of_switch(views, wanted.judges_beats));
    found.extend(of_counts(views, &list, wanted.spread));
    found
}

fn answers(views: &[View]) -> impl Iterator<Item = &Seen> {
    views.iter().filter_map(|view| view.seen.as_ref().ok())
}

fn of_one(seen: &Seen, list: &BTreeSet<String>, views: &[View]) -> Vec<String> {
    let own = &seen.address;
    let mut found = Vec::new();
    if let Some(reason) = &seen.unready {
        found.push(format!("{own} is not ready: {reason}"));
    }
    // Every server counts itself in, listed or not.
    for member in list.iter().filter(|member| !seen.members.contains_key(*member)) {
        found.push(format!("{own} does not list {member}"));
    }
    for (member, state) in seen.members.iter().filter(|(member, _)| *member != own) {
        let runs = || answers(views).any(|other| other.address == *member);
        if !list.contains(member) {
            found.push(format!("{own} lists {member}, which is not expected"));
        } else if state != "UP" && runs() {
            found.push(format!("{own} sees {member} as {state}"));
        }
    }
    found
}

fn asked_twice(views: &[View]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = answers(views).find(|one| !seen.insert(&one.address))?;
    Some(format!("two of the servers asked say that they are {}", twice.address))
}

/// One server of Nacos that still judges beats is enough to remove the living.
fn of_switch(views: &[View], wanted: Option<bool>) -> Vec<String> {
    let nacos: Vec<&Seen> = answers(views).filter(|seen| seen.kind == Kind::Nacos).collect();
    let word = |on: bool| if on { "on" } else { "off" };
    if let Some(wanted) = wanted {
        let wrong = nacos.into_iter().filter(|seen| seen.judges_beats != wanted);
        let text = |seen: &Seen| {
            let (is, should) = (word(seen.judges_beats), word(wanted));
            format!("the switch check of {} is {is}, and should be {should}", seen.address)
        };
        return wrong.map(text).collect();
    }
    let at = |on: bool| nacos.iter().find(|seen| seen.judges_beats == on);
    match (at(true), at(false)) {
        (Some(on), Some(off)) => {
            vec![format!("the switch check is on at {} and off at {}", on.address, off.address)]
        }
        _ => Vec::new(),
    }
}

/// Only members count: what a server outside of the list holds becomes old.
fn of_counts(views: &[View], list: &BTreeSet<String>, spread: u64) -> Option<String> {
    let mut counts: BTreeMap<u64, &str> = BTreeMap::new();
    for seen in answers(views).filter(|seen| list.contains(&seen.address)) {
        counts.entry(seen.instances).or_insert(&seen.address);
    }
    let ((least, at_least), (most, at_most)) =
        (counts.first_key_value()?, counts.last_key_value()?);
    let text = || format!("{at_most} holds {most} instances, {at_least} holds {least}");
    (most - least > spread).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 3] = ["a:1", "b:1", "c:1"];

    fn seen(address: &str, kind: Kind) -> Seen {
        Seen {
            address: address.to_owned(),
            kind,
            members: LIST.map(|member| (member.to_owned(), "UP".to_owned())).into(),
            unready: None,
            judges_beats: true,
            services: 4,
            instances: 20,
        }
    }

    fn wanted() -> Wanted {
        let members = LIST.map(ToOwned::to_owned).into();
        Wanted { members, judges_beats: None, spread: 0 }
    }

    /// Two of Nacos and one of ours that agree, but for a change.
    fn said(change: impl FnOnce(&mut [Seen; 3], &mut Wanted)) -> Vec<String> {
        let mut all = [seen("a:1", Kind::Nacos), seen("b:1", Kind::Nacos), seen("c:1", Kind::Ours)];
        let mut wanted = wanted();
        change(&mut all, &mut wanted);
        let view = |seen: Seen| View { place: seen.address.parse().unwrap(), seen: Ok(seen) };
        objections(&all.map(view), &wanted)
    }

    #[test]
    fn servers_that_agree_raise_no_objection() {
        assert_eq!(said(|_, _| {}), [""; 0]);
        // The list is by default that of the servers asked.
        assert_eq!(said(|_, wanted| wanted.members.clear()), [""; 0]);
    }

    #[test]
    fn every_difference_is_an_objection_that_names_the_server() {
        let first = |change: fn(&mut [Seen; 3], &mut Wanted)| said(change).join("; ");
        assert_eq!(first(|all, _| drop(all[0].members.remove("b:1"))), "a:1 does not list b:1");
        let down = |all: &mut [Seen; 3], _: &mut Wanted| {
            all[1].members.insert("c:1".to_owned(), "DOWN".to_owned());
        };
        assert_eq!(first(down), "b:1 sees c:1 as DOWN");
        let stranger = |all: &mut [Seen; 3], _: &mut Wanted| {
            all[2].members.insert("d:1".to_owned(), "DOWN".to_owned());
        };
        assert_eq!(first(stranger), "c:1 lists d:1, which is not expected");
        let unready = |all: &mut [Seen; 3], _: &mut Wanted| all[2].unready = Some("why".to_owned());
        assert_eq!(first(unready), "c:1 is not ready: why");
        assert_eq!(
            first(|all, _| all[0].judges_beats = false),
            "the switch check is on at b:1 and off at a:1"
        );
        let off = |all: &mut [Seen; 3], wanted: &mut Wanted| {
            wanted.judges_beats = Some(false);
            all[0].judges_beats = false;
        };
        assert_eq!(first(off), "the switch check of b:1 is on, and should be off");
        assert_eq!(first(|all, _| all[1].instances = 19), "a:1 holds 20 instances, b:1 holds 19");
        let twice = |all: &mut [Seen; 3], _: &mut Wanted| all[1].address = "a:1".to_owned();
        assert!(first(twice).contains("two of the servers asked say that they are a:1"));
    }

    #[test]
    fn what_belongs_to_a_step_is_no_objection() {
        // Ours judges beats while those of Nacos do not.
        let off = |all: &mut [Seen; 3], _: &mut Wanted| {
            (all[0].judges_beats, all[1].judges_beats) = (false, false);
        };
        assert_eq!(said(off), [""; 0]);
        // Members that are not started yet.
        let listed = |all: &mut [Seen; 3], wanted: &mut Wanted| {
            wanted.members.insert("d:1".to_owned());
            for seen in all {
                seen.members.insert("d:1".to_owned(), "DOWN".to_owned());
            }
        };
        assert_eq!(said(listed), [""; 0]);
        // A server of Nacos that is out of the list keeps itself in its own, and gets old.
        let left = |all: &mut [Seen; 3], wanted: &mut Wanted| {
            wanted.members.remove("a:1");
            all[0].instances = 0;
            for seen in &mut all[1..] {
                seen.members.remove("a:1");
            }
        };
        assert_eq!(said(left), [""; 0]);
        // As many come and go as the operator allows.
        let spread = |all: &mut [Seen; 3], wanted: &mut Wanted| {
            (wanted.spread, all[0].instances) = (2, 22);
        };
        assert_eq!(said(spread), [""; 0]);
    }

    #[test]
    fn a_server_without_an_answer_is_an_objection() {
        let lost = View { place: "a:1".parse().unwrap(), seen: Err("refused".to_owned()) };
        let found = objections(&[lost], &wanted());
        assert_eq!(found, ["http://a:1/nacos gives no view: refused"]);
    }
}
