//! Which services a Java server has to be told of, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distro_core::Tick;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// From a change to the message: further changes go with it. Not less than 0.3 s: a checksum
/// message that was on its way must not be read after it.
pub(crate) const SPREAD_DELAY: Duration = Duration::from_millis(350);
/// Services that wait at most for one member. What is left out it finds in the checksums.
const MOST_WAITING: usize = 50_000;

/// The services that wait for one member. Names alone, each once.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    due: BTreeMap<Arc<str>, Tick>,
    order: BTreeSet<(Tick, Arc<str>)>,
}

impl Waiting {
    /// What waits already keeps the earlier time.
    fn add(&mut self, tag: &Arc<str>, due: Tick) -> bool {
        if self.due.len() >= MOST_WAITING || self.due.contains_key(tag) {
            return false;
        }
        self.due.insert(Arc::clone(tag), due);
        self.order.insert((due, Arc::clone(tag)));
        true
    }
}

impl Outbox {
    /// A service has changed.
    pub(crate) fn note(&self, tag: &Arc<str>, now: Tick) {
        if self.waiting.lock().add(tag, now.after(SPREAD_DELAY)) {
            self.wake.notify_one();
        }
    }

    /// Takes services that are due, `most` at most, in the order of their times.
    pub(crate) fn take_due(&self, now: Tick, most: usize) -> Vec<Arc<str>> {
        let mut waiting = self.waiting.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((due, tag)) = waiting.order.pop_first()
        {
            if due > now {
                waiting.order.insert((due, tag));
                break;
            }
            waiting.due.remove(&tag);
            taken.push(tag);
        }
        taken
    }

    /// Puts back what could not be told, for later.
    pub(crate) fn put_back(&self, tags: &[Arc<str>], due: Tick) {
        let mut waiting = self.waiting.lock();
        for tag in tags {
            waiting.add(tag, due);
        }
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Tick> {
        self.waiting.lock().order.first().map(|(due, _)| *due)
    }

    /// Returns when something has been added. Nothing is missed between two calls.
    pub(crate) async fn added(&self) {
        self.wake.notified().await;
    }

    /// How many services wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn tag(number: usize) -> Arc<str> {
        format!("public##g@@s{number:06}").into()
    }

    #[test]
    fn changes_gather_from_the_first_on() {
        let outbox = Outbox::default();
        outbox.note(&tag(1), at(0));
        outbox.note(&tag(2), at(100));
        outbox.note(&tag(1), at(300));
        assert_eq!(outbox.next_due(), Some(at(350)));
        assert!(outbox.take_due(at(349), 10).is_empty());
        assert_eq!(outbox.take_due(at(350), 10), [tag(1)]);
        assert_eq!(outbox.take_due(at(450), 10), [tag(2)]);
        assert_eq!((outbox.next_due(), outbox.len()), (None, 0));
    }

    #[test]
    fn what_failed_comes_again_after_what_is_new() {
        let outbox = Outbox::default();
        (0..3).for_each(|number| outbox.note(&tag(number), at(0)));
        let taken = outbox.take_due(at(350), 2);
        assert_eq!(taken, [tag(0), tag(1)]);
        outbox.put_back(&taken, at(5_000));
        outbox.note(&tag(1), at(400));
        assert_eq!(outbox.take_due(at(4_000), 9), [tag(2)], "the time of the next try stays");
        assert_eq!(outbox.take_due(at(5_000), 9), [tag(0), tag(1)]);
    }

    #[test]
    fn no_more_wait_than_the_limit() {
        let outbox = Outbox::default();
        (0..MOST_WAITING + 10).for_each(|number| outbox.note(&tag(number), at(0)));
        assert_eq!(outbox.len(), MOST_WAITING);
        outbox.put_back(&[tag(MOST_WAITING + 11)], at(9));
        assert_eq!(outbox.len(), MOST_WAITING);
    }
}
