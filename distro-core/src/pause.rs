//! A member that was stopped or starved did not listen, so it may not judge, nor answer, until it has
//! caught up.

use std::time::Duration;

use crate::distro::{Distro, Output};
use crate::record::Value;
use crate::status::BRIEF_STOP;
use crate::time::Tick;

/// For so long after a stop calls may be read that came before its end: those of thousands of
/// clients have gathered, and a machine that starves its processes is slow to get through them.
const LATE_CALLS: Duration = Duration::from_secs(60);

/// Since when this process has run and listened without a break.
#[derive(Debug)]
pub(crate) struct Pauses {
    /// When the driver should have come back.
    next_tick: Tick,
    /// Silence before this moment is held against nobody.
    listening_since: Tick,
    /// Was stopped then, and has not compared its data since.
    resting_since: Option<Tick>,
    /// When this process was found to have been stopped the last time, be it briefly.
    woken_at: Option<Tick>,
}

impl Pauses {
    pub(crate) fn new(now: Tick, tick_period: Duration) -> Self {
        let next_tick = now.after(tick_period);
        Self { next_tick, listening_since: now, resting_since: None, woken_at: None }
    }

    pub(crate) fn next_tick(&self) -> Tick {
        self.next_tick
    }

    /// Whether a tick is due; says so once for each.
    pub(crate) fn takes_tick(&mut self, now: Tick, period: Duration) -> bool {
        let is_due = now >= self.next_tick;
        if is_due {
            self.next_tick = now.after(period);
        }
        is_due
    }

    pub(crate) fn listening_since(&self) -> Tick {
        self.listening_since
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.resting_since.is_some()
    }

    /// Whether calls are still read that may have come before the end of a stop.
    pub(crate) fn was_stopped_lately(&self, now: Tick) -> bool {
        self.woken_at.is_some_and(|at| now.since(at) < LATE_CALLS)
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// A member that did not listen may not judge: after a pause every lease gets a full time-out
    /// again, and nothing is shown before it has been compared.
    pub(crate) fn notice_pause(&mut self, now: Tick) {
        let late = now.since(self.pauses.next_tick);
        if late >= BRIEF_STOP && self.config.rules.pause() && !self.peers.is_empty() {
            self.pauses.woken_at = Some(now);
        }
        if late < self.config.pause_threshold {
            return;
        }
        self.pauses.next_tick = now;
        self.outputs.push_back(Output::Paused(late));
        if !self.config.rules.pause() {
            return;
        }
        self.listen_anew(now);
        self.accounts.listening_since = now;
        self.status.set_woken(now);
        self.status.set_listening_since(now);
        self.ask_for_all(None, now);
        // Who is alone has missed nothing: nobody else could have removed anything.
        let may_have_missed = late >= self.config.absent_after && !self.peers.is_empty();
        if may_have_missed && self.config.rules.forget_after_absence() {
            self.store.forget_unheard(now);
        }
        if let Some(loader) = &mut self.joining.loader {
            loader.forgive(late);
        }
        for peer in self.peers.values_mut() {
            peer.member.forgive(late);
            peer.verifier.demand(now);
            peer.next_probe = now;
        }
        if !self.peers.is_empty() {
            self.pauses.resting_since = Some(now);
        }
        self.look_around(now);
    }

    /// Silence counts anew for every record.
    pub(crate) fn listen_anew(&mut self, now: Tick) {
        self.pauses.listening_since = now;
        self.store.shared.late.note_event(now);
    }

    /// Ends the rest after a pause: one comparison is done, or nobody is there to compare with.
    pub(crate) fn rest(&mut self, now: Tick) {
        let Some(since) = self.pauses.resting_since else { return };
        let since_then = |at: Option<Tick>| at.is_some_and(|at| at >= since);
        let is_compared = self.peers.values().any(|peer| since_then(peer.verifier.completed));
        let is_alone = self.peers.values().all(|peer| since_then(peer.verifier.failed));
        if is_compared || is_alone || now < since {
            self.pauses.resting_since = None;
        }
    }
}
