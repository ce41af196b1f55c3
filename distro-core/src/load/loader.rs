//! The snapshot that a starting member pulls, from several members at once, and the proof that
//! nobody has data.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::membership::Phase;
use crate::message::Request;
use crate::record::RecordId;
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

/// What one call asks for: a range of slots, from after a record on.
#[derive(Debug, Clone)]
struct Part {
    first: Slot,
    last: Slot,
    after: Option<RecordId>,
}

/// The load of one start.
#[derive(Debug)]
pub(crate) struct Loader {
    began: Tick,
    todo: VecDeque<Part>,
    under_way: BTreeMap<MemberId, Part>,
    /// When a member that had data last went from the list: it may come back.
    lost_source: Option<Tick>,
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
        Self { began: now, todo, under_way: BTreeMap::new(), lost_source: None, pulled: None }
    }

    /// Whether it is proved that nobody has data: everybody said so, or stayed silent for long. A
    /// source that went from the list counts as silent since then.
    pub(crate) fn is_alone(
        &self,
        mut others: impl Iterator<Item = Prospect>,
        alone_after: Duration,
        now: Tick,
    ) -> bool {
        let is_past = |since: Tick| now.since(since) >= alone_after;
        self.lost_source.is_none_or(is_past)
            && others.all(|other| match other {
                Prospect::Source | Prospect::Loading => false,
                Prospect::NoSource => true,
                Prospect::Silent => is_past(self.began),
            })
    }

    /// Time passed in which this member did not listen.
    pub(crate) fn forgive(&mut self, pause: Duration) {
        self.began = self.began.after(pause);
        self.lost_source = self.lost_source.map(|at| at.after(pause));
    }

    /// A member that has data is no member any more.
    pub(crate) fn lost_source(&mut self, now: Tick) {
        self.lost_source = Some(now);
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
        last: Option<RecordId>,
        more: bool,
        now: Tick,
    ) {
        let Some(part) = self.under_way.remove(&source) else { return };
        if let Some(record_id) = last.filter(|_| more) {
            let first = Slot::of(&record_id.0);
            self.todo.push_front(Part { first, last: part.last, after: Some(record_id) });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    #[test]
    fn alone_is_who_is_told_so_by_everybody_or_hears_nothing_for_long() {
        let loader = Loader::new(at(0));
        let is_alone = |others: &[Prospect], ms| {
            loader.is_alone(others.iter().copied(), Duration::from_secs(5), at(ms))
        };
        assert!(is_alone(&[Prospect::NoSource, Prospect::NoSource], 100));
        assert!(!is_alone(&[Prospect::NoSource, Prospect::Silent], 4_999));
        assert!(is_alone(&[Prospect::NoSource, Prospect::Silent], 5_000));
        assert!(!is_alone(&[Prospect::Loading, Prospect::Silent], 60_000));
        assert!(!is_alone(&[Prospect::Source], 60_000));
    }

    #[test]
    fn a_source_that_goes_from_the_list_is_waited_for_like_one_that_is_silent() {
        let mut loader = Loader::new(at(0));
        let is_alone = |loader: &Loader, ms| {
            loader.is_alone([Prospect::NoSource].into_iter(), Duration::from_secs(5), at(ms))
        };
        assert!(is_alone(&loader, 60_000));
        loader.lost_source(at(60_000));
        assert!(!is_alone(&loader, 64_999));
        assert!(is_alone(&loader, 65_000));
    }

    #[test]
    fn who_answers_but_has_not_said_what_it_is_counts_as_silent() {
        assert_eq!(Prospect::of(true, false, None), Prospect::Silent);
        assert_eq!(Prospect::of(true, false, Some(Phase::Joining)), Prospect::NoSource);
        assert_eq!(Prospect::of(true, false, Some(Phase::Up)), Prospect::Source);
        assert_eq!(Prospect::of(false, true, Some(Phase::Up)), Prospect::NoSource);
    }

    #[test]
    fn parts_are_shared_out_and_what_one_source_fails_another_gives() {
        let mut loader = Loader::new(at(0));
        let (a, b) = (MemberId(1), MemberId(2));
        assert!(loader.poll::<()>(a).is_some() && loader.poll::<()>(b).is_some());
        assert!(loader.poll::<()>(a).is_none(), "one call to each at a time");
        loader.failed(a);
        loader.answered(b, None, false, at(1));
        let mut asked = 0;
        while let Some(Request::Load { .. }) = loader.poll::<()>(b) {
            assert_eq!(loader.pulled(), None);
            asked += 1;
            loader.answered(b, None, false, at(2));
        }
        assert_eq!((asked, loader.pulled(), loader.parts_left()), (31, Some(at(2)), 0));
    }

    #[test]
    fn a_page_that_stops_goes_on_from_its_last_place() {
        let mut loader = Loader::new(at(0));
        let _ = loader.poll::<()>(MemberId(1));
        // A tag of the range that was asked for.
        let mut tags = (0..).map(|n| format!("t{n}"));
        let tag = tags.find(|tag| Slot::of(tag).index() < PART).expect("there are tags for all");
        let last: RecordId = (tag.as_str().into(), "key".into());
        loader.answered(MemberId(1), Some(last.clone()), true, at(1));
        let Some(Request::Load { first, after, .. }) = loader.poll::<()>(MemberId(1)) else {
            panic!("the rest of the part");
        };
        assert_eq!((first, after), (Slot::of(&tag), Some(last)));
    }
}
