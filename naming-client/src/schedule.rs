//! What is due when: at most one moment per id, so that the table is no larger than the things
//! it stands for.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    by_time: BTreeSet<(Instant, u64)>,
    by_id: HashMap<u64, Instant>,
}

impl Schedule {
    /// Sets the moment of `id`, whatever it was before.
    pub(crate) fn set(&mut self, id: u64, due: Instant) {
        self.remove(id);
        self.by_time.insert((due, id));
        self.by_id.insert(id, due);
    }

    /// Moves `id` to `due` if it has a later moment. What has none is being worked on.
    pub(crate) fn bring_forward(&mut self, id: u64, due: Instant) -> bool {
        match self.by_id.get(&id) {
            Some(known) if *known > due => {
                self.set(id, due);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(due) = self.by_id.remove(&id) {
            self.by_time.remove(&(due, id));
        }
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Takes out the first id whose moment has come, together with that moment.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let (due, id) = *self.by_time.first().filter(|(due, _)| *due <= now)?;
        self.remove(id);
        Some((id, due))
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }
}

/// Waits for `due`, or for ever.
pub(crate) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_id_has_one_moment_and_they_come_in_order() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        schedule.set(1, at(30));
        schedule.set(2, at(20));
        schedule.set(1, at(10));
        assert!(!schedule.bring_forward(1, at(15)), "it is sooner already");
        assert!(schedule.bring_forward(2, at(5)));
        assert!(!schedule.bring_forward(9, at(5)), "unknown ids stay unknown");
        assert_eq!(schedule.pop_due(at(4)), None);
        assert_eq!(schedule.pop_due(at(50)), Some((2, at(5))));
        assert_eq!(schedule.pop_due(at(50)), Some((1, at(10))));
        assert_eq!((schedule.pop_due(at(50)), schedule.next_due()), (None, None));
        schedule.set(3, at(1));
        schedule.remove(3);
        assert!(schedule.by_time.is_empty() && schedule.by_id.is_empty());
    }
}
