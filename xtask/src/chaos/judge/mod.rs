//! What counts as a broken promise. No clock and no socket: whoever watches says what was seen and
//! when, and all times are those since the row began.

mod instance;
mod node;
mod sides;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

pub(super) use self::instance::{Instance, Life};
pub(super) use self::node::State;
pub(super) use self::sides::Sides;
pub(super) use self::tally::{Finding, Tally};

/// Time since the row began.
pub(super) type At = Duration;

/// Calls that begin so soon after a fault may fail.
const FAULT_WINDOW: Duration = Duration::from_secs(3);
/// So long after its death a dead instance may be listed: its lease, and what judging takes.
const DEAD: Duration = Duration::from_secs(35);
/// So long after the last heal a node may be wrong about what it could not know before: who died,
/// who was deregistered, and who lives on the other side of a cut.
const HEALED: Duration = Duration::from_secs(10);
/// Whoever was not heard for so long may rightly be missing soon, since the time-out is 15 seconds.
/// That its client could not beat is counted on its own.
const UNHEARD: Duration = Duration::from_secs(12);
/// So old what a push says may be.
const PUSH_AGE: Duration = Duration::from_secs(2);

/// How a list came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    Read,
    Push,
}

/// One list of one service, as one node showed it.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) node: usize,
    pub(super) channel: Channel,
    pub(super) service: usize,
    /// When it was asked for, or arrived by itself.
    pub(super) begun: At,
    pub(super) received: At,
    /// Number of the instance within its service, and whether it is shown as healthy.
    pub(super) hosts: &'a [(usize, bool)],
}

/// A call that brought no useful answer.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) node: usize,
    pub(super) begun: At,
    pub(super) ended: At,
    pub(super) what: &'a str,
}

/// All that is known of the row.
#[derive(Debug)]
pub(super) struct Judge {
    nodes: Vec<State>,
    instances: Vec<Instance>,
    per_service: usize,
    /// From here on everything counts.
    armed: Option<At>,
    last_change: At,
    fault_window_end: At,
    /// Cuts and pauses in force.
    holds: usize,
    /// Whose clients a cut keeps on which side, and when that cut ended.
    sides: Option<(Sides, Option<At>)>,
    /// When a node last showed that a deregistered instance is gone.
    shown_gone: HashMap<(usize, Channel, usize), At>,
    /// When each node last showed each instance as healthy, node by node.
    shown: Vec<Option<At>>,
    tally: Tally,
}

impl Judge {
    pub(super) fn new(nodes: usize, services: usize, per_service: usize) -> Self {
        Self {
            nodes: vec![State::Down; nodes],
            instances: vec![Instance::default(); services * per_service],
            per_service,
            armed: None,
            last_change: At::ZERO,
            fault_window_end: At::ZERO,
            holds: 0,
            sides: None,
            shown_gone: HashMap::new(),
            shown: vec![None; nodes * services * per_service],
            tally: Tally::default(),
        }
    }

    /// Everything is up and known everywhere; from now on promises hold.
    pub(super) fn arm(&mut self, at: At) {
        self.armed = Some(at);
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Something is wrong with an instance that is watched in another way than by the lists of its
    /// service. `id` is any number that no other instance of the row has.
    pub(super) fn found(&mut self, finding: Finding, id: usize, at: At, text: String) {
        if self.armed.is_some_and(|armed| at >= armed) {
            self.tally.find(finding, id, at, text);
        }
    }

    pub(super) fn state(&self, node: usize) -> State {
        self.nodes.get(node).copied().unwrap_or(State::Down)
    }

    /// A node is in another state, by the hand of whoever runs the row or, if it is
    /// [`State::Ready`], by its own word.
    pub(super) fn node_is(&mut self, node: usize, state: State) {
        if let Some(known) = self.nodes.get_mut(node) {
            *known = state;
        }
    }

    /// Something was broken on purpose; `holds` if it lasts until [`Judge::mended`].
    pub(super) fn broken(&mut self, at: At, holds: bool) {
        self.holds += usize::from(holds);
        self.last_change = at;
        self.fault_window_end = at + FAULT_WINDOW;
    }

    /// Something that held is over, or a node was started.
    pub(super) fn mended(&mut self, at: At, held: bool) {
        self.holds = self.holds.saturating_sub(usize::from(held));
        self.last_change = at;
        if let Some((_, ended)) = &mut self.sides {
            ended.get_or_insert(at);
        }
    }

    /// A cut begins that separates clients, too. A node need not know of instances on the other
    /// side until the cut has been over for a while.
    pub(super) fn split(&mut self, sides: Sides) {
        self.sides = Some((sides, None));
    }

    /// Whether a node could not know of the clients of a service at this time.
    fn is_apart(&self, node: usize, service: usize, at: At) -> bool {
        self.sides.is_some_and(|(sides, ended)| {
            !sides.reaches(node, service) && ended.is_none_or(|ended| at <= ended + HEALED)
        })
    }

    pub(super) fn instance(&mut self, id: usize) -> Option<&mut Instance> {
        self.instances.get_mut(id)
    }

    /// An instance had to register again though its client had never stopped beating.
    pub(super) fn asked_to_register_again(&mut self) {
        if self.armed.is_some() {
            self.tally.registered_again += 1;
        }
    }

    pub(super) fn call_succeeded(&mut self) {
        self.tally.calls += 1;
    }

    /// A list is about to be shown that came over gRPC.
    pub(super) fn list_streamed(&mut self) {
        self.tally.streamed += 1;
    }

    /// A client has connected over gRPC.
    pub(super) fn connected(&mut self) {
        self.tally.calls += 1;
        self.tally.connected += 1;
    }

    /// A call failed through no fault of a node.
    pub(super) fn call_may_fail(&mut self) {
        if self.armed.is_some() {
            self.tally.calls += 1;
            self.tally.failed_elsewhere += 1;
        }
    }

    pub(super) fn call_failed(&mut self, failure: &Failure<'_>) {
        if self.armed.is_none_or(|armed| failure.begun < armed) {
            return;
        }
        self.tally.calls += 1;
        if !self.state(failure.node).was_ready_since(failure.begun) {
            self.tally.failed_elsewhere += 1;
        } else if failure.begun < self.fault_window_end {
            self.tally.failed_early += 1;
        } else {
            let text = format!(
                "call to node {} took {:?}: {}",
                failure.node + 1,
                failure.ended - failure.begun,
                failure.what
            );
            self.tally.failed_calls += 1;
            self.tally.tell(failure.begun, text);
        }
    }

    pub(super) fn seen(&mut self, seen: &Seen<'_>) {
        match seen.channel {
            Channel::Read => self.tally.reads += 1,
            Channel::Push => self.tally.pushes += 1,
        }
        let Some(armed) = self.armed.filter(|armed| seen.begun >= *armed) else { return };
        let ids = seen.service * self.per_service..(seen.service + 1) * self.per_service;
        let mut living = 0;
        for (number, id) in ids.enumerate() {
            let Some(&instance) = self.instances.get(id) else { return };
            let shown = seen.hosts.iter().find(|(host, _)| *host == number).map(|(_, h)| *h);
            if shown == Some(true)
                && let Some(last) = self.shown.get_mut(seen.node * self.instances.len() + id)
            {
                *last = Some(seen.received);
            }
            match instance.life {
                Life::Unknown | Life::Leaving => {}
                Life::Alive if self.is_apart(seen.node, seen.service, seen.begun) => {}
                Life::Alive => {
                    living += 1;
                    self.judge_living(id, instance, shown, seen);
                }
                Life::Dead { since } => self.judge_dead(id, since.max(armed), shown, seen),
                Life::Gone { since } => self.judge_gone(id, since, shown, seen),
            }
        }
        if living > 0 && seen.hosts.is_empty() {
            self.tally.empty_lists += 1;
            self.tally.tell(seen.begun, format!("{} of service {}", place(seen), seen.service));
        }
    }

    fn judge_living(&mut self, id: usize, one: Instance, shown: Option<bool>, seen: &Seen<'_>) {
        if shown == Some(true) {
            return;
        }
        if seen.received > one.heard + UNHEARD {
            self.tally.unheard.insert(id);
            return;
        }
        let finding = if shown.is_none() { Finding::Missing } else { Finding::Unhealthy };
        self.find(finding, id, seen);
    }

    fn judge_dead(&mut self, id: usize, since: At, shown: Option<bool>, seen: &Seen<'_>) {
        let deadline = (since + DEAD).max(self.last_change + HEALED);
        if shown.is_some() && self.holds == 0 && since_of(seen) > deadline {
            self.find(Finding::LeftDead, id, seen);
        }
    }

    fn judge_gone(&mut self, id: usize, since: At, shown: Option<bool>, seen: &Seen<'_>) {
        let key = (seen.node, seen.channel, id);
        if shown.is_none() {
            if seen.begun >= since {
                self.shown_gone.entry(key).or_insert(seen.received);
            }
            return;
        }
        let begun = since_of(seen);
        let is_back = self.shown_gone.get(&key).is_some_and(|gone| begun >= *gone);
        let deadline = since.max(self.last_change) + HEALED;
        if is_back || self.holds == 0 && begun > deadline {
            self.find(Finding::Resurrected, id, seen);
        }
    }

    fn find(&mut self, finding: Finding, id: usize, seen: &Seen<'_>) {
        let number = id % self.per_service;
        let text = format!(
            "{} of service {}: instance {number} {finding}, {}",
            place(seen),
            seen.service,
            self.history(id)
        );
        self.tally.find(finding, id, seen.begun, text);
    }

    /// When and where an instance was last heard and seen.
    fn history(&self, id: usize) -> String {
        let shown = (0..self.nodes.len()).map(|node| {
            let last = self.shown.get(node * self.instances.len() + id).copied().flatten();
            let last = last.map_or_else(|| "never".to_owned(), |at| format!("at {}", seconds(at)));
            format!("node {} {last}", node + 1)
        });
        let shown: Vec<_> = shown.collect();
        let Instance { heard, heard_by, .. } = self.instances.get(id).copied().unwrap_or_default();
        let heard = format!("heard by node {} at {}", heard_by + 1, seconds(heard));
        format!("{heard}; seen at {}", shown.join(", "))
    }
}

/// The moment of which a list surely speaks.
fn since_of(seen: &Seen<'_>) -> At {
    match seen.channel {
        Channel::Read => seen.begun,
        Channel::Push => seen.begun.saturating_sub(PUSH_AGE),
    }
}

fn seconds(at: At) -> String {
    format!("{:.2} s", at.as_secs_f64())
}

fn place(seen: &Seen<'_>) -> String {
    let what = match seen.channel {
        Channel::Read => "list read from",
        Channel::Push => "list pushed by",
    };
    format!("{what} node {} ({} hosts)", seen.node + 1, seen.hosts.len())
}
