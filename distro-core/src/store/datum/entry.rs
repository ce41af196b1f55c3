//! A record as this member keeps it: with the time at which it was last heard.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::accounts::SlotAccount;
use crate::record::{Record, Value};
use crate::store::tombstone::Tombstone;
use crate::time::Tick;

pub(crate) struct Entry<V> {
    pub(crate) record: Record<V>,
    /// When this member was last told that the record is alive; of a tombstone: that it is gone.
    pub(crate) learned: Tick,
    /// When this member last heard the record itself or by a renewal, plus 1 ms; 0 is never.
    /// Atomic, because beats store it under the shared lock.
    pub(crate) heard_ms: AtomicU64,
}

impl<V: Value> Entry<V> {
    pub(crate) fn new(now: Tick) -> Self {
        Self { record: Record::default(), learned: now, heard_ms: AtomicU64::new(0) }
    }

    /// A packed tombstone as an entry again.
    pub(crate) fn unpacked(tombstone: &Tombstone) -> Self {
        let heard_ms = AtomicU64::new(tombstone.heard_ms);
        Self { record: tombstone.record(), learned: tombstone.learned, heard_ms }
    }

    /// What is left of it if it has no content.
    pub(crate) fn tombstone(&self) -> Option<Tombstone> {
        if self.record.value.is_some() {
            return None;
        }
        let Record { registration, liveness, deregistered, judged, .. } = self.record;
        let (learned, heard_ms) = (self.learned, self.heard_ms.load(Ordering::Relaxed));
        Some(Tombstone { registration, liveness, deregistered, judged, learned, heard_ms })
    }

    /// When it was last heard by this member.
    pub(crate) fn heard(&self) -> Option<Tick> {
        self.heard_ms.load(Ordering::Relaxed).checked_sub(1).map(Tick::from_ms)
    }

    /// Returns whether that is later than what was known, by enough to be another beat.
    pub(crate) fn hear(&self, at: Tick) -> bool {
        let before = self.heard_ms.fetch_max(at.as_ms() + 1, Ordering::Relaxed);
        before == 0 || at.as_ms() > before + SAME_BEAT_MS
    }

    /// When any member last heard it, or might have: what was learned after they were asked may
    /// have been heard by the member that gave it, and nobody was heard while nobody listened.
    pub(crate) fn last_told(&self, account: &SlotAccount) -> Tick {
        let is_newer = self.learned > account.asked;
        let heard = if is_newer { self.moment() } else { self.heard().unwrap_or(Tick::ZERO) };
        heard.max(account.listened_since)
    }

    /// Since when its silence counts.
    pub(crate) fn moment(&self) -> Tick {
        self.heard().map_or(self.learned, |heard| heard.max(self.learned))
    }
}

/// The same beat that comes in two ways differs by the time that it was on its way.
const SAME_BEAT_MS: u64 = 700;
