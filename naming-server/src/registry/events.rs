//! Why instances came and went: a bounded ring that can be asked, and the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distro_core::{Key, Tick};
use naming_model::{InstanceKey, RecordKey};
use parking_lot::Mutex;

/// Lines a second after which the log sums up.
const LINES_PER_SECOND: u32 = 100;
/// Services that are summed up by name within a second; the rest counts together.
const SUMMED_SERVICES: usize = 200;
/// Bytes kept of the text that says who did something.
const MAX_ACTOR: usize = 120;

/// What happened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
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
    /// No beat came for as long as it may be silent.
    Unhealthy,
    /// A beat came again, or somebody set it healthy by hand.
    Healthy,
    /// No beat came for so long that it was removed.
    Expired,
}

impl EventKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 8] = [
        Self::Registered,
        Self::Replaced,
        Self::Updated,
        Self::Deregistered,
        Self::ServiceDeleted,
        Self::Unhealthy,
        Self::Healthy,
        Self::Expired,
    ];

    /// The word for it in events, log and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Replaced => "replaced",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::ServiceDeleted => "service deleted",
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::Expired => "expired",
        }
    }

    /// Whether the instance is gone after it.
    pub(crate) fn is_removal(self) -> bool {
        matches!(self, Self::Deregistered | Self::ServiceDeleted | Self::Expired)
    }
}

/// One entry of the ring.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// When, in milliseconds since the epoch.
    pub(crate) wall_ms: u64,
    /// The full service key.
    pub(crate) service: Arc<str>,
    /// Key of the instance's [record](RecordKey).
    pub(crate) instance: Key,
    /// What happened.
    pub(crate) kind: EventKind,
    /// Who did it: address and agent; empty if nobody did (a judgement of silence).
    pub(crate) by: String,
    /// For judgements of silence: for how long nothing had been heard, in milliseconds.
    pub(crate) silent_ms: u64,
}

/// The events of this node. Bounded: the oldest go first.
pub(crate) struct Events {
    ring: Mutex<VecDeque<Event>>,
    capacity: usize,
    counts: [AtomicU64; EventKind::ALL.len()],
    log: Mutex<LogLimit>,
}

/// What the log said and left out in the current second.
#[derive(Default)]
struct LogLimit {
    second: u64,
    lines: u32,
    left_out: BTreeMap<(Arc<str>, EventKind), u64>,
    left_out_elsewhere: u64,
}

impl Events {
    /// A ring of this many events; about 200 bytes each.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ring: Mutex::default(), capacity, counts: Default::default(), log: Mutex::default() }
    }

    /// Takes note of an event: counts it, keeps it and writes it to the log.
    pub(crate) fn note(&self, tick: Tick, mut event: Event) {
        self.counts[event.kind as usize].fetch_add(1, Ordering::Relaxed);
        if event.by.len() > MAX_ACTOR {
            let cut = event.by.floor_char_boundary(MAX_ACTOR);
            event.by.truncate(cut);
            event.by.shrink_to_fit();
        }
        self.log(tick, &event);
        if self.capacity == 0 {
            return;
        }
        let mut ring = self.ring.lock();
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// How many events of a kind there were since the start.
    pub(crate) fn count(&self, kind: EventKind) -> u64 {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// The latest events that `wanted` picks, newest first, at most `limit`.
    pub(crate) fn latest(&self, limit: usize, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.ring.lock().iter().rev().filter(|event| wanted(event)).take(limit).cloned().collect()
    }

    /// Writes the summary of a second that has ended. Called now and then, so that the last
    /// second of a storm is not left unsaid.
    pub(crate) fn flush_log(&self, tick: Tick) {
        self.log.lock().turn(tick);
    }

    fn log(&self, tick: Tick, event: &Event) {
        let mut log = self.log.lock();
        log.turn(tick);
        if log.lines < LINES_PER_SECOND {
            log.lines += 1;
            drop(log);
            write_line(event);
        } else if log.left_out.len() < SUMMED_SERVICES {
            *log.left_out.entry((Arc::clone(&event.service), event.kind)).or_default() += 1;
        } else {
            log.left_out_elsewhere += 1;
        }
    }
}

impl LogLimit {
    fn turn(&mut self, tick: Tick) {
        let second = tick.as_ms() / 1_000;
        if second == self.second {
            return;
        }
        self.second = second;
        self.lines = 0;
        for ((service, kind), count) in std::mem::take(&mut self.left_out) {
            tracing::info!(service = %service, count, "more instances {}", kind.name());
        }
        let elsewhere = std::mem::take(&mut self.left_out_elsewhere);
        if elsewhere > 0 {
            tracing::info!(count = elsewhere, "more changes of instances in other services");
        }
    }
}

fn write_line(event: &Event) {
    let Some(key) = RecordKey::parse(&event.instance) else { return };
    let InstanceKey { ip, port, cluster } = key.instance;
    let (service, what) = (&event.service, event.kind.name());
    match event.kind {
        EventKind::Unhealthy | EventKind::Expired => {
            tracing::info!(%service, ip, port, cluster, silent_ms = event.silent_ms, "instance {what}");
        }
        _ => tracing::info!(%service, ip, port, cluster, by = %event.by, "instance {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(instance: &str, kind: EventKind) -> Event {
        Event {
            wall_ms: 1,
            service: "public##g@@s".into(),
            instance: instance.into(),
            kind,
            by: "é".repeat(200),
            silent_ms: 0,
        }
    }

    #[test]
    fn the_oldest_events_go_first_and_long_actors_are_cut() {
        let events = Events::new(3);
        for n in 0..5 {
            events.note(Tick::ZERO, event(&format!("10.0.0.{n}#1#c"), EventKind::Registered));
        }
        let kept = events.latest(10, |_| true);
        let names: Vec<_> = kept.iter().map(|event| event.instance.to_string()).collect();
        assert_eq!(names, ["10.0.0.4#1#c", "10.0.0.3#1#c", "10.0.0.2#1#c"]);
        assert!(kept[0].by.len() <= MAX_ACTOR);
        assert_eq!(events.count(EventKind::Registered), 5);
        assert_eq!(events.latest(10, |event| event.kind == EventKind::Expired).len(), 0);
    }

    #[test]
    fn a_storm_is_summed_up_within_bounds() {
        let events = Events::new(0);
        for n in 0..1_000_u32 {
            let mut one = event("10.0.0.1#1#c", EventKind::Expired);
            one.service = format!("public##g@@s{n}").into();
            events.note(Tick::ZERO, one);
        }
        let log = events.log.lock();
        assert_eq!(log.lines, LINES_PER_SECOND);
        assert_eq!(log.left_out.len(), SUMMED_SERVICES);
        assert_eq!(log.left_out_elsewhere, 1_000 - 100 - 200);
        drop(log);
        events.flush_log(Tick::from_ms(1_000));
        assert!(events.log.lock().left_out.is_empty());
    }
}
