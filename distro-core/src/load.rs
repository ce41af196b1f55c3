//! How a member that starts empty gets its data: a snapshot from whoever has it, slot by slot
//! from several members at once, and then a comparison with each of them; or the proof that
//! nobody has any.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::journal::Place;
use crate::member::Phase;
use crate::message::Request;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::time::Tick;

/// What a joining member knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Answers, and has data.
    Source,
    /// Answers, and has none but sees somebody who has.
    Loading,
    /// Answers that it has none, or is surely gone.
    NoSource,
    /// Does not answer.
    Silent,
}

impl Prospect {
    /// `phase` is what it said of itself, if it has.
    pub(crate) fn of(is_reachable: bool, is_surely_gone: bool, phase: Option<Phase>) -> Self {
        let Some(phase) = phase.filter(|_| is_reachable && !is_surely_gone) else {
            return if is_surely_gone { Self::NoSource } else { Self::Silent };
        };
        match phase {
            Phase::Up => Self::Source,
            Phase::Loading => Self::Loading,
            Phase::Joining | Phase::Leaving => Self::NoSource,
        }
    }
}

/// How many slots are asked for in one go.
const PART: usize = 32;

/// What one call asks for: a range of slots, from after a place on.
#[derive(Debug, Clone)]
struct Part {
    first: Slot,
    last: Slot,
    after: Option<Place>,
}

/// The load of one start.
#[derive(Debug)]
pub(crate) struct Loader {
    began: Tick,
    todo: VecDeque<Part>,
    under_way: BTreeMap<MemberId, Part>,
    /// When the last page came; what is written later comes by replication.
    pulled: Option<Tick>,
}

impl Loader {
    pub(crate) fn new(now: Tick) -> Self {
        let slots: Vec<Slot> = Slot::all().collect();
        let part = |slots: &[Slot]| {
            let (first, last) = (*slots.first()?, *slots.last()?);
            Some(Part { first, last, after: None })
        };
        let todo = slots.chunks(PART).filter_map(part).collect();
        Self { began: now, todo, under_way: BTreeMap::new(), pulled: None }
    }

    /// Whether it is proved that nobody has data: everybody said so, or stayed silent for long.
    pub(crate) fn is_alone(
        &self,
        mut others: impl Iterator<Item = Prospect>,
        alone_after: Duration,
        now: Tick,
    ) -> bool {
        others.all(|other| match other {
            Prospect::Source | Prospect::Loading => false,
            Prospect::NoSource => true,
            Prospect::Silent => now.since(self.began) >= alone_after,
        })
    }

    /// Time passed in which this member did not listen.
    pub(crate) fn forgive(&mut self, pause: Duration) {
        self.began = self.began.after(pause);
    }

    /// The next page to ask a source for.
    pub(crate) fn poll<V>(&mut self, source: MemberId) -> Option<Request<V>> {
        if self.under_way.contains_key(&source) {
            return None;
        }
        let part = self.todo.pop_front()?;
        self.under_way.insert(source, part.clone());
        Some(Request::Load { first: part.first, last: part.last, after: part.after })
    }

    /// A page came, ending at `last`.
    pub(crate) fn answered(
        &mut self,
        source: MemberId,
        last: Option<Place>,
        more: bool,
        now: Tick,
    ) {
        let Some(part) = self.under_way.remove(&source) else { return };
        if let Some(place) = last.filter(|_| more) {
            let first = Slot::of(&place.0);
            self.todo.push_front(Part { first, last: part.last, after: Some(place) });
        }
        if self.todo.is_empty() && self.under_way.is_empty() {
            self.pulled = Some(now);
        }
    }

    /// No page came: another source may give it.
    pub(crate) fn failed(&mut self, source: MemberId) {
        self.todo.extend(self.under_way.remove(&source));
    }

    /// When every slot had been pulled.
    pub(crate) fn pulled(&self) -> Option<Tick> {
        self.pulled
    }

    /// Parts that are yet to be pulled.
    pub(crate) fn parts_left(&self) -> usize {
        self.todo.len() + self.under_way.len()
    }
}
