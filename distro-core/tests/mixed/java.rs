//! A model of a server that keeps whole lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Ask, Told, owner_in};

/// An instance as such a server holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) version: u32,
    pub(crate) healthy: bool,
    /// When the owner last heard it. Beats change it on the owner alone.
    pub(crate) last_beat: u64,
}

/// The list of a service.
pub(crate) type List = BTreeMap<String, Held>;

/// Silence after which an instance is unhealthy, and after which it is removed.
const UNHEALTHY_MS: u64 = 15_000;
const REMOVED_MS: u64 = 30_000;

#[derive(Default)]
pub(crate) struct Java {
    pub(crate) lists: BTreeMap<String, List>,
    pub(crate) view: BTreeSet<usize>,
}

impl Java {
    pub(crate) fn owner(&self, tag: &str) -> Option<usize> {
        owner_in(&self.view, tag)
    }

    /// Carries out what it owns. Returns whether others must be told.
    pub(crate) fn carry_out(&mut self, tag: &str, key: &str, ask: Ask, now: u64) -> (Told, bool) {
        match ask {
            Ask::Register(version) => {
                let list = self.lists.entry(tag.to_owned()).or_default();
                let healthy = list.get(key).is_none_or(|held| held.healthy);
                list.insert(key.to_owned(), Held { version, healthy, last_beat: now });
                (Told::Done, true)
            }
            Ask::Deregister => {
                let list = self.lists.entry(tag.to_owned()).or_default();
                let was_there = list.remove(key).is_some();
                (Told::Done, was_there)
            }
            Ask::Beat => match self.lists.get_mut(tag).and_then(|list| list.get_mut(key)) {
                None => (Told::Unknown, false),
                Some(held) => {
                    held.last_beat = now;
                    held.healthy = true;
                    (Told::Done, false)
                }
            },
        }
    }

    /// Judges what it owns by clocks that may have stood still. Returns the tags that changed.
    pub(crate) fn judge(&mut self, me: usize, now: u64) -> Vec<String> {
        let (view, mut changed) = (&self.view, Vec::new());
        for (tag, list) in &mut self.lists {
            if owner_in(view, tag) != Some(me) {
                continue;
            }
            let before = list.len();
            list.retain(|_, held| held.last_beat + REMOVED_MS > now);
            for held in list.values_mut() {
                held.healthy &= held.last_beat + UNHEALTHY_MS > now;
            }
            if list.len() != before {
                changed.push(tag.clone());
            }
        }
        changed
    }

    /// What it says of what it owns, every 5 s.
    pub(crate) fn sums(&self, me: usize) -> BTreeMap<String, Sum> {
        let owned = self.lists.iter().filter(|(tag, _)| self.owner(tag) == Some(me));
        owned.map(|(tag, list)| (tag.clone(), sum_of(list))).collect()
    }

    /// Takes what another says of what that one owns: gives the tags to ask it for, and drops what
    /// it ought to have and has not.
    pub(crate) fn compare(
        &mut self,
        me: usize,
        source: usize,
        sums: &BTreeMap<String, Sum>,
    ) -> Vec<String> {
        if sums.keys().any(|tag| self.owner(tag) == Some(me)) {
            return Vec::new();
        }
        let view = &self.view;
        self.lists.retain(|tag, _| sums.contains_key(tag) || owner_in(view, tag) != Some(source));
        let differs = |(tag, sum): &(&String, &Sum)| {
            self.lists.get(*tag).is_none_or(|list| sum_of(list) != **sum)
        };
        sums.iter().filter(differs).map(|(tag, _)| tag.clone()).collect()
    }
}

/// What a checksum covers.
pub(crate) type Sum = Vec<(String, u32, bool)>;

pub(crate) fn sum_of(list: &List) -> Sum {
    list.iter().map(|(key, held)| (key.clone(), held.version, held.healthy)).collect()
}
