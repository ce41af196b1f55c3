//! A member that was stopped or starved did not listen, so it may not judge, nor answer, until it has
//! caught up.

use std::time::Duration;

use crate::distro::{Distro, Output};
use crate::record::Value;
use crate::status::BRIEF_STOP;
use crate::time::Tick;

/// For so long after a stop calls may be read that came before its end: those of thousands of
/// clients have gathered, and a machine that starves its processes is slow to get through them.
pub(crate) const LATE_CALLS: Duration = Duration::from_secs(60);

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Who did not listen may not judge: after a pause every lease gets a full time-out again,
    /// and nothing is shown before it has been compared.
    pub(crate) fn notice_pause(&mut self, now: Tick) {
        let late = now.since(self.next_tick);
        if late >= BRIEF_STOP && self.config.rules.pause() && !self.peers.is_empty() {
            self.woken_at = Some(now);
        }
        if late < self.config.pause_threshold {
            return;
        }
        self.next_tick = now;
        self.outputs.push_back(Output::Paused(late));
        if !self.config.rules.pause() {
            return;
        }
        self.listen_anew(now);
        self.accounts.listening_since = now;
        self.board.set_woken(now);
        self.board.set_listening_since(now);
        self.ask_for_all(None, now);
        // Who is alone has missed nothing: nobody else could have removed anything.
        let may_have_missed = late >= self.config.absent_after && !self.peers.is_empty();
        if may_have_missed && self.config.rules.forget_after_absence() {
            self.store.forget_unheard(now);
        }
        if let Some(loader) = &mut self.loader {
            loader.forgive(late);
        }
        for peer in self.peers.values_mut() {
            peer.member.forgive(late);
            peer.verifier.demand(now);
            peer.next_probe = now;
        }
        if !self.peers.is_empty() {
            self.resting_since = Some(now);
        }
        self.look_around(now);
    }

    /// Silence counts anew for every record.
    pub(crate) fn listen_anew(&mut self, now: Tick) {
        self.listening_since = now;
        self.store.shared.late.note_event(now);
    }

    /// Ends the rest after a pause: one comparison is done, or nobody is there to compare with.
    pub(crate) fn rest(&mut self, now: Tick) {
        let Some(since) = self.resting_since else { return };
        let since_then = |at: Option<Tick>| at.is_some_and(|at| at >= since);
        let is_compared = self.peers.values().any(|peer| since_then(peer.verifier.completed));
        let is_alone = self.peers.values().all(|peer| since_then(peer.verifier.failed));
        if is_compared || is_alone || now < since {
            self.resting_since = None;
        }
    }
}
