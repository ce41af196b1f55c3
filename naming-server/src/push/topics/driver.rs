//! The one task that tells subscribers: rounds of dirty services.
//!
//! ```text
//! change ──► queue ──► round ──► window ──► at rest
//!                        ▲          │ changed meanwhile
//!                        └──────────┘
//! ```
//!
//! A service is in one of these places at most once, so nothing here outgrows the table. Rounds
//! go on in turns, a hundred subscribers each: a service with many subscribers does not hold up
//! one with few.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Topic;
use super::round::Round;
use crate::push::Shared;
use crate::push::udp::Sender;

/// Subscribers told in one turn of a round: less than a millisecond.
const TURN: usize = 128;

pub(in crate::push) struct Driver {
    shared: Arc<Shared>,
    rounds: VecDeque<Round>,
    /// Services pushed a short while ago, by the end of their window.
    windows: BTreeMap<(Instant, u64), Arc<Topic>>,
    windows_opened: u64,
    sender: Sender,
}

impl Driver {
    pub(in crate::push) fn new(shared: Arc<Shared>) -> Self {
        let sender = Sender::new(Arc::clone(&shared));
        let (rounds, windows, windows_opened) = Default::default();
        Self { shared, rounds, windows, windows_opened, sender }
    }

    /// Tells subscribers, for ever. Cancelling it loses no more than packets lost on the way.
    pub(in crate::push) async fn run(mut self) {
        loop {
            self.start_rounds();
            for (topic, packets) in self.sender.extra_batches() {
                self.rounds.push_back(Round::extra(topic, packets));
            }
            self.sender.tick().await;
            if let Some(round) = self.rounds.pop_front() {
                self.advance(round).await;
                tokio::task::yield_now().await;
                continue;
            }
            let wake_at = self.sender.wake_at();
            let wake_at = self.windows.keys().next().map_or(wake_at, |(end, _)| wake_at.min(*end));
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Starts the rounds of what changed at rest, and of what changed in a window now over.
    fn start_rounds(&mut self) {
        let queued = std::mem::take(&mut *self.shared.queue.lock());
        for topic in queued {
            self.start_round(topic);
        }
        let now = Instant::now();
        while let Some(window) = self.windows.first_entry()
            && window.key().0 <= now
        {
            let topic = window.remove();
            self.start_round(topic);
        }
    }

    fn start_round(&mut self, topic: Arc<Topic>) {
        let Some(changed_at) = topic.take_mark() else { return };
        let round = Round::new(topic, changed_at);
        if self.shared.is_enabled() && !round.is_empty() {
            self.rounds.push_back(round);
        } else {
            self.open_window(round);
        }
    }

    fn open_window(&mut self, round: Round) {
        if round.is_extra {
            return;
        }
        self.windows_opened += 1;
        let end = round.started + self.shared.settings.debounce;
        self.windows.insert((end, self.windows_opened), round.topic);
    }

    /// One turn of a round.
    async fn advance(&mut self, mut round: Round) {
        if !self.shared.is_enabled() {
            self.open_window(round);
            return;
        }
        let mut told = 0;
        while told < TURN
            && let Some(stream) = round.streams.pop()
        {
            stream.changed(&round.topic.service, round.changed_at);
            told += 1;
        }
        let Round { topic, packets, .. } = &mut round;
        if self.sender.advance(&topic.service, packets, TURN - told).await {
            self.rounds.push_back(round);
        } else {
            self.open_window(round);
        }
    }
}
