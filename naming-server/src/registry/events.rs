//! Why instances came and went: a bounded ring that can be asked, and the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use distro_core::Key;
use naming_model::{InstanceKey, RecordKey};
use parking_lot::Mutex;

use super::wall_ms;

/// Lines a second after which the log sums up.
const LINES_PER_SECOND: u32 = 100;
/// Services that are summed up by name within a second; the rest counts together.
const SUMMED_SERVICES: usize = 200;
/// Bytes kept of the text that says who did something.
pub(crate) const MAX_ACTOR: usize = 120;

/// What happened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
    /// It was there before this server was started again; its client is yet to be heard.
    Restored,
    /// It appeared.
    Registered,
    /// It was registered again with other content.
    Replaced,
    /// Some of its content was changed.
    Updated,
    /// A client or operator removed it.
    Deregistered,
    /// Its service was deleted.
    ServiceDeleted,
    /// No beat came for as long as it may be silent, a check failed, or somebody said so.
    Unhealthy,
    /// A beat came again, checks passed, or somebody said so.
    Healthy,
    /// No beat came for so long that it was removed.
    Expired,
    /// The connection that held it has ended.
    Lapsed,
    /// It has expired or lapsed as one of the last of its service, which goes on showing it.
    Held,
    /// Its service shows it no longer: nothing came in its place in time.
    Released,
}

impl EventKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 12] = [
        Self::Restored,
        Self::Registered,
        Self::Replaced,
        Self::Updated,
        Self::Deregistered,
        Self::ServiceDeleted,
        Self::Unhealthy,
        Self::Healthy,
        Self::Expired,
        Self::Lapsed,
        Self::Held,
        Self::Released,
    ];

    /// The word for it in events, log and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Registered => "registered",
            Self::Replaced => "replaced",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::ServiceDeleted => "service deleted",
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
            Self::Held => "held",
            Self::Released => "released",
        }
    }

    /// Whether the instance is gone after it.
    pub(crate) fn is_removal(self) -> bool {
        matches!(self, Self::Deregistered | Self::ServiceDeleted | Self::Expired | Self::Lapsed)
    }
}

/// One entry of the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// When, in milliseconds since the epoch.
    pub(crate) wall_ms: u64,
    /// The full service key.
    pub(crate) service: &'a str,
    /// Key of the instance's [record](RecordKey).
    pub(crate) instance: &'a str,
    /// What happened.
    pub(crate) kind: EventKind,
    /// Who did it: address and agent; empty if nobody did (a judgement of silence).
    pub(crate) by: &'a str,
    /// For judgements of silence: for how long nothing had been heard, in milliseconds.
    pub(crate) silent_ms: u64,
}

/// The events of this node. Bounded: the oldest go first.
pub(crate) struct Events {
    counts: [AtomicU64; EventKind::ALL.len()],
    kept: Mutex<Kept>,
}

/// What is kept of events, and of what the log says of them.
struct Kept {
    ring: Ring,
    log: LogLimit,
}

/// What the log said and left out in the current second.
#[derive(Default)]
struct LogLimit {
    second: u64,
    lines: u32,
    left_out: BTreeMap<(Box<str>, EventKind), u64>,
    left_out_elsewhere: u64,
}

impl Events {
    /// A ring of this many events; about 150 bytes each.
    pub(crate) fn new(capacity: usize) -> Self {
        let kept = Kept { ring: Ring::new(capacity), log: LogLimit::default() };
        Self { counts: Default::default(), kept: Mutex::new(kept) }
    }

    /// Takes note of an event: counts it, keeps it and writes it to the log.
    pub(crate) fn note(&self, mut event: Event<'_>) {
        self.counts[event.kind as usize].fetch_add(1, Ordering::Relaxed);
        event.by = &event.by[..event.by.floor_char_boundary(MAX_ACTOR)];
        let mut kept = self.kept.lock();
        kept.ring.push(&event);
        let has_line = kept.log.take(&event);
        drop(kept);
        if has_line {
            write_line(&event);
        }
    }

    /// Takes note of instances of a service that are back after a restart, without a line for
    /// each. Returns how many those are.
    pub(crate) fn note_restored(
        &self,
        service: &str,
        instances: impl Iterator<Item = Key>,
    ) -> usize {
        let (wall_ms, kind) = (wall_ms(), EventKind::Restored);
        let (mut count, mut kept) = (0, self.kept.lock());
        for instance in instances {
            count += 1;
            let instance = &*instance;
            kept.ring.push(&Event { wall_ms, service, instance, kind, by: "", silent_ms: 0 });
        }
        self.counts[kind as usize].fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// How many events of a kind there were since the start.
    pub(crate) fn count(&self, kind: EventKind) -> u64 {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// The latest events that `wanted` picks, newest first, at most `limit`.
    pub(crate) fn latest(&self, limit: usize, wanted: impl Fn(&Event<'_>) -> bool) -> EventPage {
        let (mut found, kept) = (EventPage::default(), self.kept.lock());
        let picked = kept.ring.newest_first().filter(wanted).take(limit);
        picked.for_each(|event| found.push(&event));
        found
    }

    /// Writes the summary of a second that has ended. Called now and then, so that the last
    /// second of a storm is not left unsaid.
    pub(crate) fn flush_log(&self, wall_ms: u64) {
        self.kept.lock().log.turn(wall_ms);
    }
}

/// The latest events, in pages that are filled and emptied as a whole: an event costs neither
/// allocations of its own nor, when it is forgotten, a visit to where they are.
struct Ring {
    /// The oldest first; none is empty.
    pages: VecDeque<EventPage>,
    /// Of all pages. Up to a page more than the capacity.
    length: usize,
    capacity: usize,
}

/// Some events, in order.
#[derive(Default)]
pub(crate) struct EventPage {
    heads: Vec<Head>,
    /// Service, instance and actor of each event.
    texts: String,
}

/// Events on a page of the ring.
const PAGE: usize = 256;

/// What an event has besides its texts.
struct Head {
    wall_ms: u64,
    silent_ms: u64,
    kind: EventKind,
    /// Where its texts begin, and where each of them ends.
    at: [u32; 4],
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self { pages: VecDeque::new(), length: 0, capacity }
    }

    fn push(&mut self, event: &Event<'_>) {
        if self.capacity == 0 {
            return;
        }
        if self.pages.back().is_none_or(|page| page.heads.len() >= PAGE) {
            let page = self.take_oldest().unwrap_or_default();
            self.pages.push_back(page);
        }
        if let Some(page) = self.pages.back_mut() {
            page.push(event);
            self.length += 1;
        }
    }

    /// An emptied page, if all others hold enough events.
    fn take_oldest(&mut self) -> Option<EventPage> {
        let length = self.pages.front()?.heads.len();
        if self.length < self.capacity + length {
            return None;
        }
        let mut page = self.pages.pop_front()?;
        self.length -= length;
        page.heads.clear();
        page.texts.clear();
        Some(page)
    }

    fn newest_first(&self) -> impl Iterator<Item = Event<'_>> {
        self.pages.iter().rev().flat_map(|page| page.events().rev()).take(self.capacity)
    }
}

impl EventPage {
    fn push(&mut self, event: &Event<'_>) {
        let &Event { wall_ms, service, instance, kind, by, silent_ms } = event;
        // A page has so few events with texts so short that this cannot cut anything.
        let end = |page: &Self| page.texts.len() as u32;
        let mut at = [end(self); 4];
        for (text, at) in [service, instance, by].into_iter().zip(&mut at[1..]) {
            self.texts.push_str(text);
            *at = end(self);
        }
        self.heads.push(Head { wall_ms, silent_ms, kind, at });
    }

    /// Its events in the order in which they were put in.
    pub(crate) fn events(&self) -> impl DoubleEndedIterator<Item = Event<'_>> {
        self.heads.iter().map(|head| {
            let [start, service, instance, end] = head.at.map(|at| at as usize);
            let text = |from, to| self.texts.get(from..to).unwrap_or_default();
            Event {
                wall_ms: head.wall_ms,
                service: text(start, service),
                instance: text(service, instance),
                kind: head.kind,
                by: text(instance, end),
                silent_ms: head.silent_ms,
            }
        })
    }
}

impl LogLimit {
    /// Whether an event has a line; if not, it is summed up.
    fn take(&mut self, event: &Event<'_>) -> bool {
        self.turn(event.wall_ms);
        let has_line = self.lines < LINES_PER_SECOND;
        if has_line {
            self.lines += 1;
        } else if self.left_out.len() < SUMMED_SERVICES {
            *self.left_out.entry((event.service.into(), event.kind)).or_default() += 1;
        } else {
            self.left_out_elsewhere += 1;
        }
        has_line
    }

    fn turn(&mut self, wall_ms: u64) {
        let second = wall_ms / 1_000;
        if second == self.second {
            return;
        }
        self.second = second;
        self.lines = 0;
        for ((service, kind), count) in std::mem::take(&mut self.left_out) {
            tracing::info!(service = &*service, count, "more instances {}", kind.name());
        }
        let elsewhere = std::mem::take(&mut self.left_out_elsewhere);
        if elsewhere > 0 {
            tracing::info!(count = elsewhere, "more changes of instances, whatever their service");
        }
    }
}

fn write_line(event: &Event<'_>) {
    let Some(key) = RecordKey::parse(event.instance) else { return };
    let InstanceKey { ip, port, cluster } = key.instance;
    let (service, what) = (event.service, event.kind.name());
    match event.kind {
        EventKind::Unhealthy | EventKind::Expired if event.by.is_empty() => {
            let silent_ms = event.silent_ms;
            tracing::info!(service, ip, port, cluster, silent_ms, "instance {what}");
        }
        _ => tracing::info!(service, ip, port, cluster, by = event.by, "instance {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(events: &Events, service: &str, instance: &str, kind: EventKind) {
        let by = &"é".repeat(200);
        events.note(Event { wall_ms: 1, service, instance, kind, by, silent_ms: 0 });
    }

    #[test]
    fn the_oldest_events_go_first_and_long_actors_are_cut() {
        // Within a page, and over many.
        for (capacity, count) in [(3, 5), (1_000, 5_000)] {
            let events = Events::new(capacity);
            for n in 0..count {
                let instance = format!("10.0.0.{n}#1#c");
                note(&events, "public##g@@s", &instance, EventKind::Registered);
                if n % 37 != 0 && count > 5 {
                    continue;
                }
                let kept = events.latest(usize::MAX, |_| true);
                let names: Vec<_> = kept.events().map(|event| event.instance.to_owned()).collect();
                let latest = (0..=n).rev().take(capacity).map(|n| format!("10.0.0.{n}#1#c"));
                assert!(names.into_iter().eq(latest), "after {n}");
            }
            let kept = events.latest(2, |event| event.instance != "10.0.0.4#1#c");
            let all: Vec<_> = kept.events().collect();
            assert_eq!(all.len(), 2);
            assert!(all.iter().all(|event| event.service == "public##g@@s"));
            assert!(all.iter().all(|event| event.by == "é".repeat(MAX_ACTOR / 2)));
            assert_eq!(events.count(EventKind::Registered), count);
            let expired = events.latest(10, |event| event.kind == EventKind::Expired);
            assert_eq!(expired.events().count(), 0);
        }
    }

    #[test]
    fn events_keep_little_more_than_their_capacity() {
        let events = Events::new(1_000);
        for n in 0..100_000 {
            note(&events, "public##g@@s", &format!("10.0.0.{n}#1#c"), EventKind::Registered);
            let ring = &events.kept.lock().ring;
            assert!(ring.length < 1_000 + 2 * PAGE, "{}", ring.length);
            assert_eq!(ring.length, ring.pages.iter().map(|page| page.heads.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_storm_is_summed_up_within_bounds() {
        let events = Events::new(0);
        for n in 0..1_000_u32 {
            let service = format!("public##g@@s{n}");
            note(&events, &service, "10.0.0.1#1#c", EventKind::Expired);
        }
        let kept = events.kept.lock();
        assert_eq!(kept.log.lines, LINES_PER_SECOND);
        assert_eq!(kept.log.left_out.len(), SUMMED_SERVICES);
        assert_eq!(kept.log.left_out_elsewhere, 1_000 - 100 - 200);
        drop(kept);
        events.flush_log(1_000);
        assert!(events.kept.lock().log.left_out.is_empty());
    }
}
