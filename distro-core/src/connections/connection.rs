//! One connection: whether its client is alive, and what is done for what it holds.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, ConnectionId, End, HoldingConfig, LATE_SIGNS, RecordId, Scene};
use crate::lease::LEAST_SETTLING;
use crate::record::{Key, Value};
use crate::stamp::Stamp;
use crate::store::Held;
use crate::time::Tick;

/// A client that changes servers may set up the new connection so long before the end of the old
/// one is noticed: for so long it waits for an answer over that.
const ARRIVES_BEFORE: Duration = Duration::from_secs(3);
/// So long a registration may take: what is gone is not registered anew before it has passed.
const REGISTERS_WITHIN: Duration = Duration::from_secs(2);
/// From one try to renew while this member may not write, to the next.
const TRY_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Connection<V> {
    client: u64,
    begun: Tick,
    /// When its client last gave a sign of life.
    pub(super) heard: Tick,
    /// Whether the client was asked for a sign of life since then.
    pub(super) is_asked: bool,
    /// A sign of life would change something at once.
    pub(super) waits_for_sign: bool,
    /// When it is looked at next.
    pub(super) due: Tick,
    renews: Tick,
    /// Whether its client was sent to another member.
    is_sent_away: bool,
    ended: Option<Ended>,
    pub(super) publications: BTreeMap<RecordId, Publication<V>>,
}

/// How a connection is over.
struct Ended {
    /// When that was noticed.
    at: Tick,
    /// An arrival of its client after this moment is one elsewhere.
    came_after: Tick,
    /// When what it holds lapses, and if its client has arrived elsewhere.
    lapses: Tick,
    lapses_at_last: Tick,
    /// What it holds outlasts it, for it ended while this member was cut off from where its client
    /// went.
    outlasts: bool,
}

/// What a client holds.
pub(super) struct Publication<V> {
    pub(super) value: Arc<V>,
    pub(super) registration: Stamp,
    /// Since when it is gone because of somebody else.
    missing_since: Option<Tick>,
    /// When it was last asked to be registered anew.
    asked: Option<Tick>,
    /// Whether a member that does not speak this protocol owned the tag at the last look.
    pub(super) was_foreign: bool,
}

impl<V> Publication<V> {
    pub(super) fn new(value: Arc<V>, registration: Stamp) -> Self {
        let (missing_since, asked) = (None, None);
        Self { value, registration, missing_since, asked, was_foreign: false }
    }
}

impl<V> Connection<V> {
    pub(super) fn new(client: u64, now: Tick, renews: Tick) -> Self {
        Self {
            client,
            begun: now,
            heard: now,
            is_asked: false,
            waits_for_sign: false,
            due: renews,
            renews,
            is_sent_away: false,
            ended: None,
            publications: BTreeMap::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns whether it was not over before.
    pub(super) fn end(&mut self, how: End, config: &HoldingConfig, now: Tick) -> bool {
        if self.is_over() {
            return false;
        }
        self.is_sent_away |= how == End::SentAway;
        let lapses_at_last = now.after(config.return_within);
        let lapses = if self.is_sent_away { lapses_at_last } else { now.after(config.lapse_after) };
        let before = now.before(ARRIVES_BEFORE).unwrap_or(Tick::ZERO);
        self.waits_for_sign = false;
        let came_after = before.max(self.begun);
        self.ended = Some(Ended { at: now, came_after, lapses, lapses_at_last, outlasts: false });
        true
    }

    pub(super) fn retain(&mut self, tag: &str, keeps: impl Fn(&str) -> bool) -> Vec<(Key, Stamp)> {
        let from: RecordId = (tag.into(), "".into());
        let record_ids = self.publications.range((Bound::Included(from), Bound::Unbounded));
        let record_ids = record_ids.take_while(|((of, _), _)| **of == *tag);
        let others: Vec<RecordId> = record_ids
            .filter(|((_, key), _)| !keeps(key))
            .map(|(record_id, _)| record_id.clone())
            .collect();
        let mut removed = Vec::new();
        for record_id in others {
            if let Some(publication) = self.publications.remove(&record_id) {
                removed.push((record_id.1, publication.registration));
            }
        }
        removed
    }
}

impl<V: Value> Connection<V> {
    /// Returns when to look again; `None` if nothing is left to do.
    pub(super) fn look<A: Default + Send + Sync + 'static>(
        &mut self,
        id: ConnectionId,
        scene: &mut Scene<'_, V, A>,
        actions: &mut Vec<Action<V>>,
    ) -> Option<Tick> {
        let (config, now) = (scene.config, scene.now);
        if self.ended.is_none() {
            // What was said before a stop says nothing of now, and nobody was silent during it.
            let since = self.heard.max(scene.woken);
            let (asks, gives_up) = (since.after(config.ask_after), config.answer_within);
            let gives_up = asks.after(gives_up);
            if now < gives_up {
                let again = self.look_after(id, asks, scene, actions);
                let again = again.min(if now < asks { asks } else { gives_up });
                return Some(match self.leaves_cut_at(id, scene) {
                    Some(leaves) if leaves <= now => {
                        self.is_sent_away = true;
                        actions.push(Action::SendAway(id));
                        again
                    }
                    Some(leaves) => again.min(leaves),
                    None => again,
                });
            }
            actions.push(Action::Close(id));
            self.end(End::Lost, config, now);
        }
        if self.is_sent_away && self.outlasts_cut(scene) {
            return Some(now.after(config.renew_period));
        }
        let ended = self.ended.as_ref()?;
        // Who was stopped has not been told.
        let was_stopped = scene.woken > Tick::ZERO && ended.at < scene.woken.after(LATE_SIGNS);
        let has_come = || {
            let has_arrived = || scene.status.has_arrived(self.client, ended.came_after);
            was_stopped || config.rules.arrivals() && has_arrived()
        };
        if now < ended.lapses {
            return Some(ended.lapses);
        }
        if now < ended.lapses_at_last && has_come() {
            return Some(ended.lapses_at_last);
        }
        // The owner of a foreign tag has no stamps: a removal would take with it what the client has
        // registered over its new connection. What that does not hold goes by the owner's time-outs.
        let (store, has_come) = (scene.store, has_come());
        let is_left = |tag: &str| has_come && store.is_foreign(tag);
        let publications = std::mem::take(&mut self.publications);
        for ((tag, key), publication) in publications.into_iter().filter(|_| config.rules.lapses())
        {
            if is_left(&tag) {
                continue;
            }
            actions.push(Action::Lapse { tag, key, registration: publication.registration });
        }
        None
    }

    /// Whether this member is cut off from where the client went. Then what it had registered counts
    /// as heard: nobody can say here that it does not live. When the cut is over, there is as much
    /// time as it takes to hear from the others what has become of it.
    fn outlasts_cut<A: Default + Send + Sync + 'static>(
        &mut self,
        scene: &Scene<'_, V, A>,
    ) -> bool {
        let Some(ended) = self.ended.as_mut().filter(|_| scene.config.rules.holds_in_cut()) else {
            return false;
        };
        if scene.status.cut_off_since().is_some() {
            ended.outlasts = true;
            let (store, now) = (scene.store, scene.now);
            self.publications.retain(|(tag, key), publication| {
                store.hold(tag, key, publication.registration, now) != Held::Removed
            });
            return true;
        }
        if std::mem::take(&mut ended.outlasts) {
            ended.lapses = scene.now.after(LEAST_SETTLING);
            ended.lapses_at_last = ended.lapses;
        }
        false
    }

    /// When the client is to be sent to members that hear more of each other than this one does.
    fn leaves_cut_at<A>(&self, id: ConnectionId, scene: &Scene<'_, V, A>) -> Option<Tick> {
        let may_leave = !self.is_sent_away && scene.config.rules.sends_away_in_cut();
        let since = scene.status.cut_off_since().filter(|_| may_leave)?;
        let first = since.after(scene.config.cut_off_after);
        // One that set up later has come back, or has just come: it may reach no other member.
        (self.begun < first).then(|| next_renewal(first, id, scene.config.cut_off_after))
    }

    /// Looks after a connection that is open. Returns when to look again.
    fn look_after<A: Default + Send + Sync + 'static>(
        &mut self,
        id: ConnectionId,
        asks: Tick,
        scene: &Scene<'_, V, A>,
        actions: &mut Vec<Action<V>>,
    ) -> Tick {
        let (config, now) = (scene.config, scene.now);
        let is_alive = self.is_alive(scene);
        let was_waiting = std::mem::take(&mut self.waits_for_sign);
        let is_due = now >= self.renews || was_waiting;
        if !is_alive {
            self.waits_for_sign = true;
        } else if is_due && !scene.status.may_write(now) && config.rules.signs_after_stop() {
            return now.after(TRY_AGAIN);
        } else if is_due {
            self.renew(id, scene, actions);
            if now >= self.renews {
                let next = self.renews.after(config.renew_period);
                let is_late = next <= now;
                let by_turns = || next_renewal(now, id, config.renew_period);
                self.renews = if is_late { by_turns() } else { next };
            }
        }
        // A client that is not heard since a stop is asked at once, and so is one that has to speak
        // before what it holds is registered anew.
        if (now >= asks || self.waits_for_sign) && !self.is_asked {
            self.is_asked = true;
            actions.push(Action::Ask(id));
        }
        if is_alive { self.renews } else { now.after(config.renew_period) }
    }

    /// Whether its client gave a sign of life a moment ago, and not before a stop of this member.
    fn is_alive<A>(&self, scene: &Scene<'_, V, A>) -> bool {
        let since_stop = scene.woken == Tick::ZERO || self.heard >= scene.woken.after(LATE_SIGNS);
        since_stop && scene.now.since(self.heard) < scene.config.ask_after
    }

    /// Counts what the client holds as heard, and looks what has become of it.
    fn renew<A: Default + Send + Sync + 'static>(
        &mut self,
        id: ConnectionId,
        scene: &Scene<'_, V, A>,
        actions: &mut Vec<Action<V>>,
    ) {
        let (store, now, rules) = (scene.store, scene.now, scene.config.rules);
        let (heard, mut waits) = (self.heard, false);
        self.publications.retain(|(tag, key), publication| {
            match store.hold(tag, key, publication.registration, now) {
                Held::Removed => return false,
                Held::Shown => {
                    publication.missing_since = None;
                    let is_foreign = store.is_foreign(tag);
                    let was_foreign = std::mem::replace(&mut publication.was_foreign, is_foreign);
                    let (tag, key) = (Arc::clone(tag), Arc::clone(key));
                    let (connection, value) = (id, Arc::clone(&publication.value));
                    if is_foreign {
                        actions.push(Action::Beat { connection, tag, key, value });
                    } else if was_foreign {
                        actions.push(Action::Reclaim { connection, tag, key, value });
                    }
                }
                Held::Missing { is_by_another } => {
                    let since = *publication.missing_since.get_or_insert(now);
                    let may_be_gone = is_by_another && heard <= since && rules.speaks_since();
                    let is_asked =
                        publication.asked.is_some_and(|at| now.since(at) < REGISTERS_WITHIN);
                    waits |= may_be_gone;
                    if !may_be_gone && !is_asked && rules.reassert() {
                        publication.asked = Some(now);
                        let (tag, key) = (Arc::clone(tag), Arc::clone(key));
                        let value = Arc::clone(&publication.value);
                        actions.push(Action::Register { connection: id, tag, key, value });
                    }
                }
            }
            true
        });
        self.waits_for_sign = waits;
    }
}

/// When a connection renews next, one of those that begin, or were late, together: by turns.
pub(super) fn next_renewal(now: Tick, id: ConnectionId, period: Duration) -> Tick {
    const TURNS: u32 = 8;
    // Neighbours have different turns, and so have those whose low bits are the same, as where
    // connections are shared out to several holdings. The upper three bits: less than eight.
    let spread = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    let turn = spread as u32 + 1;
    now.after(period.saturating_mul(turn) / TURNS)
}
