//! What holds whatever happens in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SERVICES: [&str; 3] = ["g@@a", "g@@b", "g@@c"];

#[derive(Debug, Clone)]
enum Step {
    Subscribe(usize),
    Unsubscribe(usize),
    Change(usize),
    /// Lets so many milliseconds pass.
    Pass(u64),
    /// The stream has room for one list.
    Send,
    /// The client answers one of the lists it has got.
    Answer {
        which: usize,
        ok: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let service = 0..SERVICES.len();
    prop_oneof![
        2 => service.clone().prop_map(Step::Subscribe),
        1 => service.clone().prop_map(Step::Unsubscribe),
        4 => service.prop_map(Step::Change),
        3 => (0..1_500_u64).prop_map(Step::Pass),
        4 => Just(Step::Send),
        4 => (0..6_usize, prop::bool::weighted(0.8)).prop_map(|(which, ok)| Step::Answer { which, ok }),
    ]
}

/// An outbox, its client, and what the client must get to know.
struct Story {
    bench: Bench,
    passed_ms: u64,
    /// Lists at the client, not answered.
    unanswered: Vec<Due>,
    /// Services with a change that no list was rendered after.
    owed: HashMap<&'static str, ()>,
    subscribed: [bool; SERVICES.len()],
    is_closed: bool,
}

impl Story {
    fn new() -> Self {
        let bench = Bench::new();
        let (passed_ms, unanswered, owed, subscribed, is_closed) = Default::default();
        Self { bench, passed_ms, unanswered, owed, subscribed, is_closed }
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Subscribe(at) => {
                self.bench.subscribe(SERVICES[at], "");
                self.subscribed[at] = true;
            }
            Step::Unsubscribe(at) => {
                self.bench.outbox.unsubscribe(&key(SERVICES[at]));
                self.subscribed[at] = false;
                self.owed.remove(SERVICES[at]);
            }
            Step::Change(at) => {
                self.bench.change(SERVICES[at]);
                if self.subscribed[at] {
                    self.owed.insert(SERVICES[at], ());
                }
            }
            Step::Pass(ms) => self.pass(ms),
            Step::Send => self.send(),
            Step::Answer { which, ok } => {
                if which < self.unanswered.len() {
                    let due = self.unanswered.remove(which);
                    self.bench.outbox.acked(due.request_id, ok, self.bench.now);
                }
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.passed_ms += ms;
        self.is_closed |= self.bench.try_at(self.passed_ms).is_err();
    }

    fn send(&mut self) {
        if let Some(due) = self.bench.send() {
            self.owed.remove(due.service.grouped());
            self.unanswered.push(due);
        }
    }

    /// Nothing outgrows the subscriptions.
    fn check_bounds(&self) {
        let Outbox { entries, ready, timers, awaited, .. } = &self.bench.outbox;
        assert_eq!(entries.len(), self.subscribed.iter().filter(|is_so| **is_so).count());
        assert!(ready.len() <= entries.len() && timers.len() <= entries.len());
        assert!(awaited.len() <= 5 * entries.len(), "{}", awaited.len());
        let ids: usize = entries.values().map(|entry| entry.ids().count()).sum();
        assert_eq!(ids, awaited.len());
    }
}

proptest! {
    #[test]
    fn a_change_after_the_last_send_is_always_followed_by_a_send(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let mut story = Story::new();
        for step in &steps {
            story.play(step);
            if story.is_closed {
                return Ok(());
            }
            story.check_bounds();
        }
        // Room for all that is due, and a client that answers: a second is enough.
        for _ in 0..10 {
            for _ in 0..SERVICES.len() {
                story.send();
            }
            story.unanswered.retain(|due| {
                story.bench.outbox.acked(due.request_id, true, story.bench.now);
                false
            });
            story.pass(100);
        }
        prop_assert!(story.is_closed || story.owed.is_empty(), "{:?}", story.owed);
    }

    #[test]
    fn a_client_that_acks_in_time_is_never_closed_and_comes_to_rest(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let mut story = Story::new();
        for step in &steps {
            if matches!(step, Step::Answer { .. }) {
                continue;
            }
            story.play(step);
            for due in std::mem::take(&mut story.unanswered) {
                story.bench.outbox.acked(due.request_id, true, story.bench.now);
            }
            prop_assert!(!story.is_closed);
        }
        for _ in 0..20 {
            story.pass(100);
            story.send();
            for due in std::mem::take(&mut story.unanswered) {
                story.bench.outbox.acked(due.request_id, true, story.bench.now);
            }
        }
        prop_assert_eq!(story.bench.outbox.deadline(), None);
    }
}
