//! Holding connections, with a store and a clock that the test moves.

use super::*;
use crate::config::StoreConfig;
use crate::operation::Operation;
use crate::record::{Health, LeaseTerms, Record};
use crate::stamp::{MemberId, StampClock};
use crate::store::Heard;
use crate::time::Now;
use crate::{JudgeTerms, apply};

#[derive(Debug, PartialEq)]
struct Text(u32);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        Some(LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) })
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
}

const FIRST: ConnectionId = ConnectionId(1);
const CLIENT: u64 = 7;

/// A member with one connection, whose front does what it is asked to.
struct Member {
    store: Store<Text, ()>,
    status: SharedStatus,
    holding: Holding<Text>,
    now: Tick,
    asked: Vec<ConnectionId>,
    closed: Vec<ConnectionId>,
    sent_away: Vec<ConnectionId>,
    registered: usize,
}

impl Member {
    fn new() -> Self {
        let now = Tick::START;
        let clock = StampClock::new(MemberId(1), 1, Now { tick: now, wall_ms: 1_700_000_000_000 });
        let status = SharedStatus::new(MemberId(1), 1, Duration::from_secs(3), now);
        let mut holding = Holding::new(HoldingConfig::default());
        holding.begin(FIRST, CLIENT, now);
        let store = Store::new(StoreConfig::default(), clock, vec![]);
        let (asked, closed, sent_away) = (Vec::new(), Vec::new(), Vec::new());
        Self { store, status, holding, now, asked, closed, sent_away, registered: 0 }
    }

    fn register(&mut self, key: &str, value: u32) -> Stamp {
        let (stamp, value) = (self.store.clock().issue(self.now), Arc::new(Text(value)));
        let written = Operation::register("t", key, stamp, Arc::clone(&value), Health::Healthy);
        apply(&self.store, &written, self.now);
        assert!(self.holding.registered(FIRST, ("t".into(), key.into()), value, stamp).is_none());
        stamp
    }

    /// What another member has written arrives.
    fn learn(&self, key: &str, record: Record<Text>) {
        self.store.restore("t", [(key.into(), record)], self.now);
    }

    /// Lets time pass, with a sign of life each second or none.
    fn run(&mut self, seconds: u64, speaks: bool) {
        for _ in 0..10 * seconds {
            self.now = self.now.after(Duration::from_millis(100));
            self.status.ran(self.now);
            if speaks && self.now.as_ms().is_multiple_of(1_000) {
                self.holding.heard(FIRST, self.now);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        for action in self.holding.tick(&self.store, &self.status, self.now) {
            match action {
                Action::Lapse { tag, key, registration } => {
                    self.store.lapse(&tag, &key, registration, self.now);
                }
                Action::Register { connection, tag, key, value } => {
                    self.registered += 1;
                    let stamp = self.store.clock().issue(self.now);
                    let written = Operation::register(
                        tag.clone(),
                        key.clone(),
                        stamp,
                        value,
                        Health::Healthy,
                    )
                    .expecting(Stamp::NEVER);
                    assert!(apply(&self.store, &written, self.now).is_applied);
                    let over = self.holding.registered_anew(connection, (tag, key), stamp);
                    assert!(over.is_none());
                }
                Action::Ask(connection) => self.asked.push(connection),
                Action::Close(connection) => self.closed.push(connection),
                Action::SendAway(connection) => self.sent_away.push(connection),
                Action::Beat { .. } | Action::Reclaim { .. } => panic!("nothing is foreign"),
            }
        }
        let terms = JudgeTerms {
            as_of: self.now,
            enabled: true,
            expire: true,
            listening_since: Tick::ZERO,
            patience: 0,
        };
        while self.store.judge(&terms) {}
    }

    fn shows(&self, key: &str) -> Option<u32> {
        let datum = self.store.find("t")?;
        datum.read(|reader| {
            let (record, value) = reader.find_visible(key)?;
            assert_eq!(record.health(), Health::Healthy);
            Some(value.0)
        })
    }
}

fn elsewhere(member: &Member, ahead_ms: u64, value: u32) -> (Stamp, Record<Text>) {
    let time = member.store.clock().issue(member.now).time() + (ahead_ms << 16);
    let stamp = Stamp::from_parts(time, MemberId(2), 1);
    (stamp, Record::registered(stamp, Arc::new(Text(value)), Health::Healthy))
}

#[test]
fn what_a_connection_holds_lives_as_long_as_its_client_speaks_and_is_gone_soon_after_its_end() {
    let mut member = Member::new();
    member.register("a", 1);
    member.run(100, true);
    assert_eq!(member.shows("a"), Some(1));
    assert!(member.asked.is_empty() && member.registered == 0);
    member.holding.end(FIRST, End::Lost, member.now);
    let ended = member.now;
    member.run(1, false);
    assert_eq!(member.shows("a"), None);
    assert!(member.now.since(ended) <= Duration::from_secs(1) && member.holding.is_empty());
    assert!(matches!(member.store.hear("t", "a", member.now), Heard::Unknown));
}

#[test]
fn who_falls_silent_is_asked_after_20_s_and_given_up_5_s_later() {
    let mut member = Member::new();
    member.register("a", 1);
    member.run(19, false);
    assert!(member.asked.is_empty() && member.shows("a").is_some());
    member.run(2, false);
    assert_eq!(member.asked, [FIRST]);
    // It answers, and has another 20 s.
    member.holding.heard(FIRST, member.now);
    member.run(19, false);
    assert!(member.asked.len() == 1 && member.closed.is_empty() && member.shows("a").is_some());
    member.run(5, false);
    assert!(member.asked.len() == 2 && member.closed.is_empty());
    member.run(2, false);
    assert_eq!((member.closed.as_slice(), member.shows("a")), ([FIRST].as_slice(), None));
    assert!(member.holding.is_empty());
}

#[test]
fn the_end_of_a_connection_waits_for_a_client_that_has_come_to_another_member() {
    for (before_ms, after_ms) in [(2_000, 0), (0, 500)] {
        let mut member = Member::new();
        member.run(10, true);
        member.register("a", 1);
        let step = Duration::from_millis(before_ms);
        member.status.note_arrival(CLIENT, member.now.before(step).unwrap());
        if after_ms > 0 {
            member.now = member.now.after(Duration::from_secs(4));
            member.status.ran(member.now);
        }
        member.holding.end(FIRST, End::Lost, member.now);
        member.status.note_arrival(CLIENT, member.now.after(Duration::from_millis(after_ms)));
        member.run(4, false);
        assert_eq!(member.shows("a"), Some(1));
        member.run(2, false);
        assert_eq!(member.shows("a"), None);
    }
}

#[test]
fn neither_its_own_arrival_nor_an_old_one_nor_that_of_another_client_delays_the_end() {
    let mut member = Member::new();
    member.status.note_arrival(CLIENT, member.now);
    member.register("a", 1);
    member.status.note_arrival(CLIENT + 1, member.now.after(Duration::from_millis(1)));
    member.holding.end(FIRST, End::Lost, member.now);
    member.run(1, false);
    assert_eq!(member.shows("a"), None);

    let mut member = Member::new();
    member.run(1, true);
    member.register("a", 1);
    member.status.note_arrival(CLIENT, member.now);
    member.run(4, true);
    member.holding.end(FIRST, End::Lost, member.now);
    member.run(1, false);
    assert_eq!(member.shows("a"), None);
}

#[test]
fn who_was_sent_away_has_5_s_to_register_elsewhere() {
    let mut member = Member::new();
    member.register("a", 1);
    member.holding.end(FIRST, End::SentAway, member.now);
    member.holding.end(FIRST, End::Lost, member.now);
    member.run(4, false);
    assert_eq!(member.shows("a"), Some(1));
    let (_, record) = elsewhere(&member, 0, 2);
    member.learn("a", record);
    member.run(5, false);
    assert_eq!(member.shows("a"), Some(2));
}

#[test]
fn what_expired_or_was_lost_is_registered_anew_while_the_client_speaks() {
    let mut member = Member::new();
    let stamp = member.register("a", 1);
    let over = member.store.clock().issue(member.now);
    member.store.update("t", member.now, |writer| writer.judge("a", over, Health::Expired));
    assert_eq!(member.shows("a"), None);
    member.run(6, true);
    assert_eq!((member.shows("a"), member.registered), (Some(1), 1));
    // The end of the connection ends what was registered last.
    let now: Vec<Stamp> = member.holding.held_by(FIRST).map(|(.., stamp)| stamp).collect();
    assert!(now.len() == 1 && now[0] > stamp);
    member.holding.end(FIRST, End::Lost, member.now);
    member.run(1, false);
    assert_eq!(member.shows("a"), None);
}

#[test]
fn nobody_registers_anew_for_a_client_that_is_silent() {
    let mut member = Member::new();
    member.register("a", 1);
    member.run(21, false);
    let stamp = member.store.clock().issue(member.now);
    member.store.update("t", member.now, |writer| writer.judge("a", stamp, Health::Expired));
    member.run(3, false);
    assert_eq!((member.shows("a"), member.registered), (None, 0));
    member.holding.heard(FIRST, member.now);
    member.step();
    assert_eq!((member.shows("a"), member.registered), (Some(1), 1));
}

#[test]
fn what_was_removed_on_purpose_stays_removed_whatever_the_client_says() {
    let mut member = Member::new();
    member.register("a", 1);
    let stamp = member.store.clock().issue(member.now);
    apply(&member.store, &Operation::deregister("t", "a", stamp), member.now);
    member.run(60, true);
    assert_eq!((member.shows("a"), member.registered), (None, 0));
    assert_eq!(member.holding.held_by(FIRST).count(), 0);
}

#[test]
fn what_another_connection_registered_and_ended_comes_back_only_for_a_client_that_speaks_since() {
    for removes in [true, false] {
        let mut member = Member::new();
        member.register("a", 1);
        // By a clock that is behind, so that the client must have come back there later.
        let (stamp, record) = elsewhere(&member, 1, 2);
        member.learn("a", record);
        member.run(6, false);
        assert_eq!(member.shows("a"), Some(2));
        let end = if removes { stamp.just_after() } else { stamp };
        member.learn("a", Record::removed(end));
        member.run(10, false);
        assert_eq!((member.shows("a"), member.registered), (None, 0));
        member.run(2, true);
        let expected = if removes { (None, 0) } else { (Some(1), 1) };
        assert_eq!((member.shows("a"), member.registered), expected);
    }
}

#[test]
fn after_a_stop_nothing_is_renewed_before_the_client_has_spoken_anew() {
    let mut member = Member::new();
    member.register("a", 1);
    member.run(3, true);
    member.now = member.now.after(Duration::from_secs(18));
    // What waited in the socket is read first, and the control plane notices the stop.
    member.holding.heard(FIRST, member.now);
    member.step();
    member.status.set_woken(member.now);
    member.status.ran(member.now);
    member.holding.heard(FIRST, member.now);
    let woken = member.now;
    member.run(8, false);
    let heard = member.store.find("t").unwrap().read(|reader| reader.last_heard("a")).unwrap();
    assert!(heard < woken);
    assert_eq!(member.asked, [FIRST]);
    member.holding.heard(FIRST, member.now);
    member.step();
    let heard = member.store.find("t").unwrap().read(|reader| reader.last_heard("a")).unwrap();
    assert_eq!(heard, member.now);
    // Nobody was silent while nobody listened.
    assert!(member.closed.is_empty());
}

#[test]
fn a_client_that_withdraws_or_replaces_what_it_holds_gets_back_what_to_retract() {
    let mut member = Member::new();
    let stamps = ["a", "b", "c"].map(|key| member.register(key, 1));
    let removed = member.holding.retain(FIRST, "t", |key| key == "b");
    assert_eq!(removed, [("a".into(), stamps[0]), ("c".into(), stamps[2])]);
    assert!(member.holding.retain(FIRST, "u", |_| false).is_empty());
    for (key, stamp) in removed {
        assert!(member.store.retract("t", &key, stamp, member.now));
    }
    member.run(10, true);
    assert_eq!(["a", "b", "c"].map(|key| member.shows(key)), [None, Some(1), None]);
}

#[test]
fn a_registration_that_is_done_after_the_end_of_its_connection_ends_at_once() {
    let mut member = Member::new();
    member.holding.end(FIRST, End::Lost, member.now);
    // While the end is under way it goes with the rest.
    let first = member.register("a", 1);
    member.run(1, false);
    assert_eq!(member.shows("a"), None);
    let stamp = member.store.clock().issue(member.now);
    assert!(stamp > first);
    let record_id = ("t".into(), "a".into());
    let late = member.holding.registered(FIRST, record_id, Arc::new(Text(1)), stamp);
    assert!(matches!(late, Some(Action::Lapse { registration, .. }) if registration == stamp));
    let record_id = ("t".into(), "a".into());
    let late = member.holding.registered_anew(FIRST, record_id, stamp);
    assert!(matches!(late, Some(Action::Lapse { .. })));
}

#[test]
fn connections_that_began_or_were_late_together_are_renewed_by_turns() {
    let mut member = Member::new();
    // One of sixteen that share the connections out.
    let ids = || (0..100).map(|n| ConnectionId(1 + 16 * n));
    ids().for_each(|id| member.holding.begin(id, id.0, member.now));
    let moments = |holding: &Holding<Text>| {
        let mut moments: Vec<Tick> = holding.due.iter().map(|(at, _)| *at).collect();
        moments.dedup();
        moments.len()
    };
    assert!(moments(&member.holding) >= 8);
    ids().for_each(|id| member.holding.heard(id, member.now));
    member.now = member.now.after(Duration::from_secs(12));
    member.status.ran(member.now);
    member.step();
    assert!(moments(&member.holding) >= 8);
}

#[test]
fn a_member_that_is_cut_off_sends_its_clients_away_once_and_holds_for_them_until_it_hears_again() {
    let mut member = Member::new();
    member.register("a", 1);
    member.status.set_cut_off_since(Some(member.now));
    member.run(10, true);
    assert!(member.sent_away.is_empty(), "it may be over in a moment");
    member.run(15, true);
    assert_eq!(member.sent_away, [FIRST]);
    member.holding.end(FIRST, End::Lost, member.now);
    // It comes back, and is not sent away again.
    let back = ConnectionId(2);
    member.holding.begin(back, CLIENT, member.now);
    for _ in 0..300 {
        member.holding.heard(back, member.now);
        member.run(1, false);
    }
    assert_eq!((&member.sent_away[..], member.shows("a")), (&[FIRST][..], Some(1)));
    member.status.set_cut_off_since(None);
    member.run(6, false);
    assert_eq!(member.shows("a"), Some(1), "the others have yet to tell");
    member.run(7, false);
    assert_eq!(member.shows("a"), None);
}

#[test]
fn what_was_removed_elsewhere_is_not_held_after_a_cut() {
    let mut member = Member::new();
    let stamp = member.register("a", 1);
    member.status.set_cut_off_since(Some(member.now));
    member.run(25, true);
    member.holding.end(FIRST, End::SentAway, member.now);
    assert!(member.store.retract("t", "a", stamp, member.now));
    member.run(60, false);
    assert_eq!((member.shows("a"), member.registered), (None, 0));
}
