//! A member of this protocol, with what its server does for the other kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Answer, Distro, DistroConfig, Health, Heard, Input, LeaseTerms, ListTerms, Listed, MemberId,
    Now, Operation, OwnerPolicy, Phase, Rules, StampClock, Store, StoreConfig, Tick, Value, apply,
};

use crate::java::{Held, List};
use crate::world::{id_of, number_of, owner_in};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Text(pub(crate) u32);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        Some(LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) })
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
}

/// Owners have settled after so long without a change.
const SETTLED_MS: u64 = 35_000;
/// Who owns something says so every 5 s.
const SILENCE_MS: u64 = 15_000;
/// For so long a former owner may still have taken something.
const ADOPT_MS: u64 = 10_000;

pub(crate) struct Ours {
    pub(crate) store: Arc<Store<Text, ()>>,
    pub(crate) distro: Distro<Text, ()>,
    pub(crate) answer: Answer<Text, ()>,
    pub(crate) started_at: u64,
    pub(crate) view: BTreeSet<usize>,
    /// The views of late, with when they began.
    history: Vec<(u64, BTreeSet<usize>)>,
    /// Tags that a member did not list the last time, although it should.
    missed: BTreeMap<usize, BTreeSet<String>>,
    /// When each member last said what it owns.
    said: BTreeMap<usize, u64>,
    /// Tags of its own that others must be sent, and when.
    pub(crate) outbox: BTreeMap<String, u64>,
    /// What it took although it is another one's, to be passed on.
    pub(crate) owed: BTreeSet<(String, String)>,
    pub(crate) is_open: bool,
}

impl Ours {
    pub(crate) fn start(
        me: usize,
        others: &[MemberId],
        incarnation: u32,
        wall_ms: u64,
        started_at: u64,
        rules: Rules,
    ) -> Self {
        let now = Now { tick: Tick::ZERO, wall_ms };
        let clock = StampClock::new(id_of(me), incarnation, now);
        let owner_policy = OwnerPolicy::Tags(number_of);
        let config = StoreConfig { owner_policy, rules, ..StoreConfig::default() };
        let store = Arc::new(Store::new(config, clock, vec![]));
        let config = DistroConfig { rules, ..DistroConfig::default() };
        let seed = u64::from(incarnation) << 8 | me as u64;
        let distro = Distro::new(config, Arc::clone(&store), others, seed, Tick::ZERO);
        let answer = distro.answer();
        Self {
            store,
            distro,
            answer,
            started_at,
            view: BTreeSet::new(),
            history: Vec::new(),
            missed: BTreeMap::new(),
            said: BTreeMap::new(),
            outbox: BTreeMap::new(),
            owed: BTreeSet::new(),
            is_open: false,
        }
    }

    pub(crate) fn tick(&self, now: u64) -> Tick {
        Tick::from_ms(now - self.started_at)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.distro.phase() == Phase::Up
    }

    /// The owners from now on, as the core is told.
    pub(crate) fn see(&mut self, view: BTreeSet<usize>, now: u64) -> Input<Text> {
        self.history.push((now, view.clone()));
        let owners = view.iter().map(|n| id_of(*n)).collect();
        self.view = view;
        Input::Owners(owners)
    }

    pub(crate) fn owner(&self, tag: &str) -> Option<usize> {
        owner_in(&self.view, tag)
    }

    /// Since when all members are the same. While any comes or goes, those of the other kind may
    /// take themselves for owners and undo what the owner has.
    fn calm_since(&self) -> u64 {
        self.history.last().map_or(self.started_at, |(since, _)| *since)
    }

    /// Whether the tag was that one's until a moment ago.
    fn was_of_late(&self, tag: &str, source: usize, now: u64) -> bool {
        let mut until = now;
        for (since, view) in self.history.iter().rev() {
            if owner_in(view, tag) == Some(source) {
                return until + ADOPT_MS > now;
            }
            until = *since;
        }
        false
    }

    /// A list that was asked for at `asked`, or came now; `None` if there is none.
    pub(crate) fn take_list(
        &mut self,
        source: usize,
        tag: &str,
        list: Option<&List>,
        asked: u64,
        now: u64,
    ) {
        let listed: Vec<Listed<Text>> =
            list.into_iter().flatten().map(|(key, held)| listed(key, held)).collect();
        let tick = self.tick(now);
        if self.owner(tag) == Some(source) {
            let is_settled = self.calm_since() + SETTLED_MS <= now;
            let (as_of, room) = (self.tick(asked), usize::MAX);
            let terms = ListTerms { is_settled, is_told: list.is_some(), as_of, room };
            self.store.take_list(tag, &listed, terms, tick);
        } else if !self.is_open || self.store.owns(tag) && self.was_of_late(tag, source, now) {
            self.store.adopt_list(tag, &listed, usize::MAX, tick);
            self.outbox.entry(tag.to_owned()).or_insert(now + 400);
        }
    }

    /// What is held of members that own it and say nothing: one that owns nothing does not say so.
    pub(crate) fn unheard_of(&self, now: u64) -> BTreeMap<usize, Vec<String>> {
        let mut unheard = BTreeMap::<usize, Vec<String>>::new();
        for tag in self.tags().into_iter().filter(|tag| !self.list(tag).is_empty()) {
            let Some(owner) = self.owner(&tag) else { continue };
            let last = self.said.get(&owner).copied().unwrap_or_else(|| self.calm_since());
            if last + SILENCE_MS <= now {
                unheard.entry(owner).or_default().push(tag);
            }
        }
        unheard
    }

    /// What another says of what it owns; gives the tags to ask for.
    pub(crate) fn compare(
        &mut self,
        source: usize,
        sums: &BTreeMap<String, crate::java::Sum>,
        now: u64,
    ) -> Vec<String> {
        self.said.insert(source, now);
        let is_its = |tag: &str| self.owner(tag) == Some(source);
        let missed: BTreeSet<String> = self
            .store
            .all()
            .iter()
            .map(|datum| datum.tag().to_string())
            .filter(|tag| is_its(tag) && !sums.contains_key(tag) && !self.list(tag).is_empty())
            .collect();
        let differs = |(tag, sum): &(&String, &crate::java::Sum)| {
            is_its(tag) && crate::java::sum_of(&self.list(tag)) != **sum
        };
        let wanted = sums.iter().filter(differs).map(|(tag, _)| tag.clone()).collect();
        let before = self.missed.insert(source, missed.clone()).unwrap_or_default();
        for tag in missed.intersection(&before) {
            self.take_list(source, tag, None, now, now);
        }
        wanted
    }

    /// What it shows of a tag.
    pub(crate) fn list(&self, tag: &str) -> List {
        let Some(datum) = self.store.find(tag) else { return List::new() };
        datum.read(|reader| {
            let held = |key: &str, version, health| {
                let heard = reader.last_heard(key).map_or(0, Tick::as_ms);
                let healthy = health == Health::Healthy;
                Held { version, healthy, last_beat: self.started_at + heard }
            };
            let visible = reader.visible();
            visible
                .map(|(key, record, value)| (key.to_string(), held(key, value.0, record.health())))
                .collect()
        })
    }

    pub(crate) fn tags(&self) -> BTreeSet<String> {
        self.store.all().iter().map(|datum| datum.tag().to_string()).collect()
    }

    /// Writes under a stamp of this member.
    pub(crate) fn operation(
        &self,
        tag: &str,
        key: &str,
        version: Option<u32>,
        now: u64,
    ) -> Operation<Text> {
        let stamp = self.store.clock().issue(self.tick(now));
        match version {
            Some(version) => {
                Operation::register(tag, key, stamp, Arc::new(Text(version)), Health::Healthy)
            }
            None => Operation::deregister(tag, key, stamp),
        }
    }

    pub(crate) fn apply(&self, operation: &Operation<Text>, now: u64) {
        apply(&self.store, operation, self.tick(now));
    }

    /// What the owner has taken for a client of this member.
    pub(crate) fn done_elsewhere(&self, tag: &str, key: &str, version: Option<u32>, now: u64) {
        let tick = self.tick(now);
        match version {
            Some(version) => self.store.take_registration(
                tag,
                key,
                Arc::new(Text(version)),
                Health::Healthy,
                tick,
            ),
            None => _ = self.store.take_removal(tag, key, tick),
        }
    }

    pub(crate) fn hear(&self, tag: &str, key: &str, now: u64) -> bool {
        matches!(self.store.hear(tag, key, self.tick(now)), Heard::Known { .. })
    }
}

fn listed(key: &str, held: &Held) -> Listed<Text> {
    let health = if held.healthy { Health::Healthy } else { Health::Unhealthy };
    Listed { key: key.into(), value: Arc::new(Text(held.version)), health }
}
