//! One other member: whether it answers, whether only others hear it, or whether it is gone.

use std::time::Duration;

use crate::config::DistroConfig;
use crate::load::Prospect;
use crate::stamp::MemberId;
use crate::time::Tick;

/// What a member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
    /// Has no data yet and sees nobody who has: takes writes, owns nothing.
    #[default]
    Joining,
    /// Has no data yet, but sees a member that has it.
    Loading,
    /// Has what there is, and its share of the slots.
    Up,
    /// About to stop: owns nothing any more.
    Leaving,
}

/// What one member holds of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Answers, and has no data yet.
    Joining,
    /// Answers.
    Up,
    /// Has not answered for a while.
    Suspicious,
    /// Has not answered for long, or is surely gone.
    Down,
    /// Said that it stops.
    Leaving,
}

/// What a member tells of its contact with another: the last time is that of an answer, by
/// whomever it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Of whom.
    pub member: MemberId,
    /// The start of that member which was heard.
    pub incarnation: u32,
    /// What it said of itself.
    pub phase: Phase,
    /// How long ago, by the clock of the teller, in milliseconds.
    pub age_ms: u64,
}

/// Another member. Contact is an answered call of one's own: an incoming call proves the other
/// direction only.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) phase: Phase,
    pub(crate) incarnation: u32,
    /// When the last answered call was sent.
    answered: Option<Tick>,
    /// The last contact that others told of.
    rumoured: Option<Tick>,
    /// How many calls in a row were refused, and when the first of them was.
    refused: u8,
    refused_since: Tick,
}

/// How many refusals in a row mean that the process is gone.
const SURE_REFUSALS: u8 = 2;

/// Hearsay is older than an answer by the ways it took.
const HEARSAY_DELAY: u32 = 2;

impl Member {
    pub(crate) fn new(id: MemberId) -> Self {
        Self {
            id,
            phase: Phase::Joining,
            incarnation: 0,
            answered: None,
            rumoured: None,
            refused: 0,
            refused_since: Tick::ZERO,
        }
    }

    /// It answered a call that was sent at `sent`.
    pub(crate) fn answered(&mut self, sent: Tick) {
        self.refused = 0;
        self.answered = self.answered.max(Some(sent));
    }

    /// It told what it is, in an answer.
    pub(crate) fn introduced(&mut self, incarnation: u32, phase: Phase) {
        self.incarnation = incarnation;
        self.phase = phase;
    }

    /// What it said of itself, if it ever did: an answer to another call says nothing of that.
    pub(crate) fn told_phase(&self) -> Option<Phase> {
        (self.incarnation > 0).then_some(self.phase)
    }

    /// The connection was refused: the process is not there, or something on the way refuses in
    /// its name. Who was heard by others in spite of that is believed to be gone when they have
    /// not heard it for `forget_after` either.
    pub(crate) fn refused(&mut self, now: Tick, forget_after: Duration) {
        let is_forgotten = self.is_heard_since_refusal()
            && Some(now) >= self.rumoured.map(|at| at.after(forget_after));
        if self.refused == 0 || is_forgotten {
            (self.refused, self.refused_since) = (0, now);
        }
        self.refused = self.refused.saturating_add(1);
    }

    /// Whether others had contact with it after we were refused.
    fn is_heard_since_refusal(&self) -> bool {
        self.rumoured.is_some_and(|at| at > self.refused_since)
    }

    /// It said that it stops.
    pub(crate) fn leaves(&mut self, incarnation: u32) {
        if self.incarnation == incarnation {
            self.phase = Phase::Leaving;
        }
    }

    /// Another member told of it. What a refusal has disproved does not count.
    pub(crate) fn rumoured(&mut self, contact: &Contact, at: Tick) {
        if self.is_surely_gone() && at <= self.refused_since || Some(at) <= self.last_contact() {
            return;
        }
        if contact.incarnation == 0 {
            // Who told of it has not been told itself what it is.
            return;
        }
        self.rumoured = Some(at);
        if !(self.phase == Phase::Leaving && self.incarnation == contact.incarnation) {
            self.introduced(contact.incarnation, contact.phase);
        }
    }

    /// Time passed in which this member did not listen; it is nobody's fault.
    pub(crate) fn forgive(&mut self, pause: Duration) {
        self.answered = self.answered.map(|at| at.after(pause));
        self.rumoured = self.rumoured.map(|at| at.after(pause));
    }

    /// The last contact that anybody had.
    pub(crate) fn last_contact(&self) -> Option<Tick> {
        self.answered.max(self.rumoured)
    }

    /// Refused more than once, and nobody has heard it since.
    pub(crate) fn is_surely_gone(&self) -> bool {
        self.refused >= SURE_REFUSALS && !self.is_heard_since_refusal()
    }

    /// What a member that joins may expect of it.
    pub(crate) fn prospect(&self, config: &DistroConfig, now: Tick) -> Prospect {
        let is_reachable = self.is_reachable(config, now);
        Prospect::of(is_reachable, self.is_surely_gone(), self.told_phase())
    }

    /// The state as shown to operators.
    pub(crate) fn state(&self, config: &DistroConfig, now: Tick) -> MemberState {
        let Some(answered) = self.answered.filter(|_| !self.is_surely_gone()) else {
            return MemberState::Down;
        };
        match (now.since(answered), self.phase) {
            (silence, _) if silence >= config.down_after => MemberState::Down,
            (_, Phase::Leaving) => MemberState::Leaving,
            (silence, _) if silence >= config.suspicious_after => MemberState::Suspicious,
            (_, Phase::Joining | Phase::Loading) => MemberState::Joining,
            (_, Phase::Up) => MemberState::Up,
        }
    }

    /// Whether calls to it are likely to be answered.
    pub(crate) fn is_reachable(&self, config: &DistroConfig, now: Tick) -> bool {
        let is_recent = |at: Tick| now.since(at) < config.suspicious_after;
        self.refused == 0 && self.answered.is_some_and(is_recent)
    }

    /// Whether it may own slots: it is up, and some member that can reach us has heard it.
    pub(crate) fn is_eligible(&self, config: &DistroConfig, now: Tick) -> bool {
        let is_recent = |at: Tick| now.since(at) < config.down_after;
        self.phase == Phase::Up
            && !self.is_surely_gone()
            && self.last_contact().is_some_and(is_recent)
    }

    /// Surely gone, or about to be.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_surely_gone() || self.phase == Phase::Leaving
    }

    /// Whether it may be hearing clients without our being told of it.
    pub(crate) fn is_unheard(&self, config: &DistroConfig, now: Tick) -> bool {
        let limit = |of: Option<Tick>, limit| of.is_none_or(|at| now.since(at) >= limit);
        !self.is_gone()
            && limit(self.answered, config.suspicious_after)
            && limit(self.rumoured, config.suspicious_after * HEARSAY_DELAY)
    }

    /// What this member may tell others of it: nothing before it has itself been told what it is.
    /// Others would take our ignorance for news, and its slots away from it.
    pub(crate) fn contact(&self, now: Tick) -> Option<Contact> {
        self.told_phase()?;
        let at = self.last_contact().filter(|_| !self.is_surely_gone())?;
        let age_ms = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        Some(Contact { member: self.id, incarnation: self.incarnation, phase: self.phase, age_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn member() -> Member {
        let mut member = Member::new(MemberId(2));
        member.answered(at(10_000));
        member.introduced(1, Phase::Up);
        member
    }

    fn contact(incarnation: u32, phase: Phase) -> Contact {
        Contact { member: MemberId(2), incarnation, phase, age_ms: 0 }
    }

    #[test]
    fn silence_makes_suspicious_and_then_down() {
        let (config, member) = (DistroConfig::default(), member());
        let state = |ms| member.state(&config, at(ms));
        assert_eq!(state(11_999), MemberState::Up);
        assert_eq!(state(12_000), MemberState::Suspicious);
        assert!(member.is_eligible(&config, at(15_999)) && member.is_unheard(&config, at(12_000)));
        assert_eq!(state(16_000), MemberState::Down);
        assert!(!member.is_eligible(&config, at(16_000)));
    }

    #[test]
    fn refused_twice_is_down_at_once_and_surely_so() {
        let (config, mut member) = (DistroConfig::default(), member());
        member.refused(at(10_100), config.down_after);
        assert!(!member.is_reachable(&config, at(10_100)) && !member.is_surely_gone());
        member.refused(at(10_200), config.down_after);
        assert_eq!(member.state(&config, at(10_200)), MemberState::Down);
        assert!(!member.is_eligible(&config, at(10_200)));
        assert!(!member.is_unheard(&config, at(99_000)));
        member.rumoured(&contact(1, Phase::Up), at(10_050));
        assert_eq!(member.contact(at(10_300)), None, "older than the refusal");
        member.answered(at(11_000));
        assert_eq!(member.state(&config, at(11_000)), MemberState::Up);
    }

    #[test]
    fn who_refuses_us_but_is_heard_by_others_is_not_gone() {
        let (config, mut member) = (DistroConfig::default(), member());
        let refuse = |member: &mut Member, ms| member.refused(at(ms), config.down_after);
        // A firewall answers for it: refusals and hearsay go on side by side.
        for second in 11..30 {
            refuse(&mut member, second * 1_000);
            member.rumoured(&contact(1, Phase::Up), at(second * 1_000 + 500));
            let now = at(second * 1_000 + 700);
            assert!(member.is_eligible(&config, now) && !member.is_surely_gone());
            assert!(!member.is_reachable(&config, now) && !member.is_unheard(&config, now));
        }
        // When the others do not hear it either, refusals count again.
        refuse(&mut member, 30_000);
        assert!(!member.is_surely_gone());
        refuse(&mut member, 36_000);
        refuse(&mut member, 37_000);
        assert!(member.is_surely_gone() && !member.is_eligible(&config, at(37_000)));
        assert_eq!(member.contact(at(37_000)), None);
    }

    #[test]
    fn who_is_heard_by_others_keeps_its_slots_but_takes_no_calls() {
        let (config, mut member) = (DistroConfig::default(), member());
        member.rumoured(&contact(1, Phase::Up), at(20_000));
        assert!(member.is_eligible(&config, at(21_000)));
        assert!(!member.is_unheard(&config, at(21_000)));
        assert!(!member.is_reachable(&config, at(21_000)));
        assert_eq!(member.state(&config, at(21_000)), MemberState::Down);
        assert!(member.is_unheard(&config, at(24_000)));
    }

    #[test]
    fn hearsay_from_before_does_not_call_a_leaving_member_back() {
        let (config, mut member) = (DistroConfig::default(), member());
        member.leaves(1);
        member.rumoured(&contact(1, Phase::Up), at(11_000));
        assert_eq!(member.state(&config, at(11_000)), MemberState::Leaving);
        assert!(!member.is_eligible(&config, at(11_000)));
        member.rumoured(&contact(2, Phase::Up), at(11_500));
        assert!(member.is_eligible(&config, at(11_500)), "it started again");
    }

    #[test]
    fn what_a_member_is_spreads_from_those_only_who_were_told() {
        let (config, mut heard) = (DistroConfig::default(), Member::new(MemberId(2)));
        heard.answered(at(11_000));
        assert_eq!(heard.contact(at(11_000)), None);
        let mut member = member();
        member.rumoured(&contact(0, Phase::Joining), at(11_000));
        assert!(member.is_eligible(&config, at(11_000)));
    }

    #[test]
    fn a_pause_of_our_own_is_held_against_nobody() {
        let (config, mut member) = (DistroConfig::default(), member());
        member.forgive(Duration::from_secs(60));
        assert_eq!(member.state(&config, at(71_000)), MemberState::Up);
    }
}
