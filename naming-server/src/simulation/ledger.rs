//! What the clients have done, what must therefore be true of every answer, and the story.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::story::Story;
use super::truth::Truth;

/// Within this time after a change of the network or the members, or of the instance, everybody
/// has heard of it who can.
const SETTLED: Duration = Duration::from_secs(10);
/// Within this time after its last beat, and after every fault, a dead instance is gone.
const BURIED: Duration = Duration::from_secs(45);
/// For so long a member that heard a beat knows by itself that an instance lives.
const HEARING: Duration = Duration::from_secs(10);
/// Within this time everybody has heard of a change while all is well.
const SPREAD: Duration = Duration::from_secs(3);
/// An acknowledged write that is older than this when its member crashes has been passed on.
const PASSED_ON: Duration = Duration::from_secs(2);

/// An instance, by its service and port.
pub(super) type Name = (String, u16);

/// The instances a list shows, by port, and whether they are shown as healthy.
pub(super) type Hosts = BTreeMap<u16, bool>;

/// Shared by the clients and the faults of a simulation, all on one thread.
pub(super) type SharedLedger = Rc<RefCell<Ledger>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A write of its client is under way.
    Changing,
    /// Registered, and beating since.
    Live,
    /// Deregistered.
    Gone,
    /// Silent for ever.
    Dead,
    /// Nobody knows: the member that took the last write died with it.
    Unknown,
}

struct Instance {
    state: State,
    /// Where its client is.
    side: usize,
    /// Since when it is in this state.
    since: Duration,
    /// Who acknowledged the last write.
    acknowledged_by: usize,
    /// When members last answered a beat of it.
    heard: BTreeMap<usize, Duration>,
    /// The members that showed what is true and have not been out of hearing since, and when the
    /// first answer that did so arrived.
    agreeing: BTreeMap<usize, Duration>,
}

pub(super) struct Ledger {
    pub(super) truth: Truth,
    pub(super) story: Story,
    instances: BTreeMap<Name, Instance>,
    pub(super) violations: Vec<String>,
    /// While set, clients that would change something wait.
    pub(super) is_quiet: bool,
    /// How many answers were held against the truth, and how many of them had to show something.
    pub(super) checked: u64,
    pub(super) demanded: u64,
    /// Answers of members that were not ready yet.
    pub(super) refused: u64,
    /// Pushes that arrived.
    pub(super) pushed: u64,
    /// Beats answered with "unknown".
    pub(super) unknown_beats: u64,
}

impl Ledger {
    pub(super) fn new(story: Story) -> Self {
        Self {
            truth: Truth::default(),
            story,
            instances: BTreeMap::new(),
            violations: Vec::new(),
            is_quiet: false,
            checked: 0,
            demanded: 0,
            refused: 0,
            pushed: 0,
            unknown_beats: 0,
        }
    }

    /// The network or the members are different from now on.
    pub(super) fn changed(&mut self) {
        let truth = &self.truth;
        for instance in self.instances.values_mut() {
            let by = instance.acknowledged_by;
            instance.agreeing.retain(|member, _| match instance.state {
                State::Gone => truth.are_connected(*member, by),
                _ => truth.hears(*member, instance.side),
            });
        }
    }

    /// A member is gone with its memory, and with what nobody else knew.
    pub(super) fn crashed(&mut self, member: usize, now: Duration) {
        for instance in self.instances.values_mut() {
            instance.agreeing.remove(&member);
            instance.heard.remove(&member);
            if instance.acknowledged_by == member && instance.since + PASSED_ON > now {
                match instance.state {
                    // Its next beat brings it back.
                    State::Live => {
                        instance.since = now;
                        instance.agreeing.clear();
                    }
                    State::Gone => instance.state = State::Unknown,
                    State::Changing | State::Dead | State::Unknown => {}
                }
            }
        }
        self.changed();
    }

    /// Nobody remembers anything.
    pub(super) fn all_crashed(&mut self, now: Duration) {
        for instance in self.instances.values_mut() {
            instance.agreeing.clear();
            instance.heard.clear();
            instance.since = now;
        }
    }

    /// A client begins to change its instance.
    pub(super) fn begin(&mut self, name: &Name, side: usize, now: Duration) {
        let changing = Instance {
            state: State::Changing,
            side,
            since: now,
            acknowledged_by: 0,
            heard: BTreeMap::new(),
            agreeing: BTreeMap::new(),
        };
        self.instances.insert(name.clone(), changing);
    }

    /// A write was acknowledged.
    pub(super) fn acknowledged(&mut self, name: &Name, live: bool, by: usize, now: Duration) {
        if let Some(instance) = self.instances.get_mut(name) {
            instance.state = if live { State::Live } else { State::Gone };
            instance.since = now;
            instance.acknowledged_by = by;
            instance.heard = BTreeMap::from([(by, now)]);
            instance.agreeing = BTreeMap::from([(by, now)]);
        }
    }

    /// A member answered a beat.
    pub(super) fn heard(&mut self, name: &Name, member: usize, now: Duration) {
        if let Some(instance) = self.instances.get_mut(name) {
            instance.heard.insert(member, now);
        }
    }

    /// A client is silent from now on.
    pub(super) fn died(&mut self, name: &Name, now: Duration) {
        if let Some(instance) = self.instances.get_mut(name) {
            (instance.state, instance.since) = (State::Dead, now);
        }
    }

    /// Holds an answer of a member, to a question of `since`, against what is true.
    pub(super) fn check_list(
        &mut self,
        member: usize,
        service: &str,
        since: Duration,
        now: Duration,
        hosts: &Hosts,
    ) {
        self.checked += 1;
        let mut faults = Vec::new();
        for ((of, port), instance) in &mut self.instances {
            if of == service {
                let shown = hosts.get(port).copied();
                let (demands, fault) = instance.judge(&self.truth, member, since, now, shown);
                self.demanded += u64::from(demands);
                if let Some(fault) = fault {
                    let age = since.saturating_sub(instance.since).as_millis();
                    faults.push(format!(
                        "{service} {port}: {fault}, {age} ms after {:?}",
                        instance.state
                    ));
                }
            }
        }
        if hosts.is_empty() && self.must_show_somebody(member, service, since) {
            faults.push(format!("{service}: an empty list"));
        }
        for fault in faults {
            self.violation(&format!("member {member} shows {fault}, asked at {since:?}"));
        }
    }

    /// Whether somebody beats whom this member has had time to hear. What cuts do to those on the
    /// other side is held against nobody.
    fn must_show_somebody(&self, member: usize, service: &str, since: Duration) -> bool {
        self.truth.cut_changed_at + SETTLED <= since
            && self.instances.iter().any(|((of, _), instance)| {
                of == service
                    && instance.state == State::Live
                    && instance.since + SETTLED <= since
                    && self.truth.hears(member, instance.side)
            })
    }

    /// Looks at a push. What it shows is older than its arrival, by an unknown time.
    pub(super) fn check_push(&mut self, member: usize, service: &str, list: &Value, now: Duration) {
        let hosts = hosts_of(list);
        let count = hosts.as_ref().map_or(0, Hosts::len);
        self.pushed += 1;
        self.story.tell(&format!("member {member} pushes {service}: {count} instances"));
        if hosts.is_none_or(|hosts| hosts.is_empty())
            && self.must_show_somebody(member, service, now)
        {
            self.violation(&format!("member {member} pushes an empty list of {service}"));
        }
    }

    /// A beat of a live instance was answered with "unknown".
    pub(super) fn check_unknown_beat(&mut self, name: &Name, member: usize, since: Duration) {
        self.unknown_beats += 1;
        let truth = &self.truth;
        let fault = self
            .instances
            .get_mut(name)
            .and_then(|instance| instance.judge(truth, member, since, since, None).1);
        if fault.is_some() {
            self.violation(&format!("member {member} does not know {name:?}"));
        }
    }

    /// A call failed. Whether that may be: see [`Truth::serves_since`].
    pub(super) fn check_failure(
        &mut self,
        side: usize,
        member: usize,
        since: Duration,
        what: &str,
    ) {
        if self.truth.serves_since(side, member).is_some_and(|serves| serves <= since) {
            self.violation(&format!("a call of side {side} to member {member} failed: {what}"));
        }
    }

    pub(super) fn violation(&mut self, text: &str) {
        self.story.tell(&format!("VIOLATION {text}"));
        self.violations.push(text.to_owned());
    }

    /// Counts for the end of the story.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        let Self { checked, demanded, refused, pushed, unknown_beats, .. } = self;
        let _ = write!(
            text,
            "{checked} answers checked, {demanded} demands on them, {refused} refused, \
             {pushed} pushes, {unknown_beats} beats unknown, {} instances",
            self.instances.len()
        );
        text
    }
}

impl Instance {
    /// Whether what others judged while they were cut off cannot show: that is long ago, or the
    /// member heard the instance itself and knows better. Who knows of it by hearsay only, shows
    /// what others judged until they who hear it have taken that back.
    fn is_steady(&self, truth: &Truth, member: usize, since: Duration) -> bool {
        let heard = self.heard.get(&member);
        truth.mended_at.is_zero()
            || truth.mended_at + SETTLED <= since
            || heard.is_some_and(|heard| *heard + HEARING > since)
    }

    /// Whether the member had shown what is true before the question was asked. Answers overtake
    /// each other.
    fn agrees(&self, member: usize, since: Duration) -> bool {
        self.agreeing.get(&member).is_some_and(|at| *at <= since)
    }

    /// Whether anything must be shown, and what is wrong.
    fn judge(
        &mut self,
        truth: &Truth,
        member: usize,
        since: Duration,
        now: Duration,
        shown: Option<bool>,
    ) -> (bool, Option<&'static str>) {
        let settled = self.since.max(truth.changed_at) + SETTLED <= since
            || truth.has_loaded(member) && self.since + SPREAD <= since;
        let is_about_now = self.since <= since;
        match self.state {
            State::Live if is_about_now && truth.hears(member, self.side) => {
                if shown == Some(true) {
                    self.agreeing.entry(member).or_insert(now);
                    return (true, None);
                }
                let must =
                    settled || self.agrees(member, since) && self.is_steady(truth, member, since);
                let fault = if shown.is_none() { "no live instance" } else { "a live one as ill" };
                (must, must.then_some(fault))
            }
            State::Gone if is_about_now && truth.are_connected(member, self.acknowledged_by) => {
                if shown.is_none() {
                    self.agreeing.entry(member).or_insert(now);
                    return (true, None);
                }
                let must = settled || self.agrees(member, since);
                (must, must.then_some("a deregistered instance"))
            }
            State::Dead
                if truth.is_whole() && self.since.max(truth.changed_at) + BURIED <= since =>
            {
                (true, shown.is_some().then_some("a dead instance"))
            }
            _ => (false, None),
        }
    }
}

/// What an answer to a question for a list shows; `None` if it is no such answer.
pub(super) fn hosts_of(list: &Value) -> Option<Hosts> {
    let hosts = list["hosts"].as_array()?;
    hosts
        .iter()
        .map(|host| Some((u16::try_from(host["port"].as_u64()?).ok()?, host["healthy"].as_bool()?)))
        .collect()
}
