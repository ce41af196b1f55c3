//! What one member makes of what another says: ages, ways, stamps, and who is told of what.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Answer, Beat, DATUM_KEY, Distro, DistroConfig, Entry, Health, Input, LeaseTerms, MemberId, Now,
    Operation, Output, Phase, Record, Reply, Request, Sender, Stamp, StampClock, Store,
    StoreConfig, Tick, Value,
};

const OTHER: MemberId = MemberId(2);

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

fn at(seconds: u64) -> Tick {
    Tick::from_ms(seconds * 1_000)
}

/// A member that has just started, and has heard another one.
struct Member {
    store: Arc<Store<Text, ()>>,
    distro: Distro<Text, ()>,
    answer: Answer<Text, ()>,
}

impl Member {
    fn new() -> Self {
        let now = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
        let clock = StampClock::new(MemberId(1), 1, now);
        let store = Arc::new(Store::new(StoreConfig::default(), clock, vec![]));
        let (config, others) = (DistroConfig::default(), [OTHER]);
        let distro = Distro::new(config, Arc::clone(&store), &others, 1, Tick::ZERO);
        let answer = distro.answer();
        let mut member = Self { store, distro, answer };
        let probe = member.tick(100).into_iter().find_map(|output| match output {
            Output::Send { call, request: Request::Probe { .. }, .. } => Some(call),
            _ => None,
        });
        let (contacts, phase) = (Vec::new(), Phase::Up);
        let probed = Reply::Probed { incarnation: 1, phase, contacts, list: 0, connections: None };
        let probe = Input::Answered(probe.expect("it asks who is there"), probed);
        member.distro.handle_input(Tick::from_ms(110), probe);
        member.outputs();
        member
    }

    fn tick(&mut self, ms: u64) -> Vec<Output<Text>> {
        self.distro.handle_input(Tick::from_ms(ms), Input::Tick);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output<Text>> {
        std::iter::from_fn(|| self.distro.poll_output()).collect()
    }

    /// Lives until then, however little it is told.
    fn live_until(&mut self, now: Tick) {
        (0..=now.as_ms()).step_by(100).for_each(|ms| _ = self.tick(ms));
    }

    fn ask(&self, request: Request<Text>, in_transit: Duration, now: Tick) -> Reply<Text> {
        let sender = Sender { member: OTHER, incarnation: 1, minor: 4 };
        self.answer.answer(sender, request, in_transit, now)
    }

    fn register(&self, tag: &str, key: &str, now: Tick) {
        let stamp = self.store.clock().issue(now);
        self.store.update(tag, now, |writer| {
            writer.register(key, stamp, Arc::new(Text(1)), Health::Healthy);
        });
    }

    /// An unhealthy record that this member has been told of, and never heard.
    fn unhealthy(now: Tick) -> Self {
        let mut member = Self::new();
        member.live_until(now);
        let stamp = member.store.clock().issue(at(0));
        let record = Record::registered(stamp, Arc::new(Text(1)), Health::Healthy);
        let judged = Record::judged(stamp, member.store.clock().issue(at(0)), Health::Unhealthy);
        let entry = |record| Entry { tag: "t".into(), key: "k".into(), record };
        let told = Request::Replicate(vec![entry(record), entry(judged)]);
        assert!(matches!(member.ask(told, Duration::ZERO, now), Reply::Done));
        assert_eq!(member.health(), Health::Unhealthy);
        member
    }

    fn health(&self) -> Health {
        let datum = self.store.find("t").expect("it is there");
        datum.read(|reader| reader.find("k").expect("so is the record").health())
    }

    fn renew(&self, age: Duration, in_transit: Duration, now: Tick) -> Reply<Text> {
        let age_ms = u64::try_from(age.as_millis()).expect("it is small");
        let beat = Beat { tag: "t".into(), key: "k".into(), age_ms, hops: 1, written: 1 };
        self.ask(Request::Renew(vec![beat]), in_transit, now)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_beat_from_before_a_member_started_makes_nobody_healthy_there() {
    let member = Member::unhealthy(at(10));
    for age in [HOUR, Duration::from_secs(11), Duration::from_millis(10_001)] {
        assert!(matches!(member.renew(age, Duration::ZERO, at(10)), Reply::Renewed { .. }));
        assert_eq!(member.health(), Health::Unhealthy, "{age:?}");
    }
    member.renew(Duration::from_secs(9), Duration::ZERO, at(10));
    assert_eq!(member.health(), Health::Healthy);
}

#[test]
fn who_hands_over_a_beat_from_before_is_asked_for_the_record_all_the_same() {
    let mut member = Member::new();
    member.live_until(at(10));
    let Reply::Renewed { unknown, .. } = member.renew(HOUR, Duration::ZERO, at(10)) else {
        panic!("it says what it lacks");
    };
    assert_eq!(unknown.len(), 1);
}

#[test]
fn a_beat_is_older_by_the_way_that_it_took() {
    let member = Member::unhealthy(at(60));
    let age = Duration::from_secs(14);
    member.renew(age, 2 * SECOND, at(60));
    assert_eq!(member.health(), Health::Unhealthy);
    member.renew(age, SECOND / 2, at(60));
    assert_eq!(member.health(), Health::Healthy);
}

#[test]
fn what_was_on_its_way_for_too_long_is_refused_whatever_it_is() {
    let member = Member::unhealthy(at(60));
    let late = DistroConfig::default().late_after;
    assert!(matches!(member.renew(SECOND, late, at(60)), Reply::Busy));
    let hear = || Request::Forward(Operation::hear("t", "k"));
    assert!(matches!(member.ask(hear(), 65 * SECOND, at(70)), Reply::Busy));
    let stamp = member.store.clock().issue(at(0));
    let operation = Operation::register("t", "new", stamp, Arc::new(Text(1)), Health::Healthy);
    assert!(matches!(member.ask(Request::Forward(operation), late, at(60)), Reply::Busy));
    assert!(matches!(
        member.ask(Request::Verify { root: 1, open: None }, late, at(60)),
        Reply::Busy
    ));
    assert_eq!(member.health(), Health::Unhealthy);
    let datum = member.store.find("t").expect("it is there");
    assert!(datum.read(|reader| reader.find("new").is_none()));
}

/// What the other member is told by then, and acknowledges.
fn told(member: &mut Member, ms: u64) -> Vec<Entry<Text>> {
    let mut told = Vec::new();
    let now = Tick::from_ms(ms);
    member.distro.handle_input(now, Input::Changed);
    while let Some(output) = member.distro.poll_output() {
        if let Output::Send { call, request: Request::Replicate(entries), .. } = output {
            told.extend(entries);
            member.distro.handle_input(now, Input::Answered(call, Reply::Done));
        }
    }
    told
}

#[test]
fn who_forwards_a_write_is_spared_that_and_nothing_that_follows_from_it() {
    let mut member = Member::new();
    member.register("t", "here", Tick::from_ms(120));
    assert_eq!(told(&mut member, 120).len(), 1);
    // What ends the datum ends a record that the other may not know to be there.
    let stamp = member.store.clock().issue(Tick::from_ms(150));
    let end = Request::Forward(Operation::deregister("t", DATUM_KEY, stamp));
    let ended = member.ask(end, Duration::ZERO, Tick::from_ms(150));
    assert!(matches!(ended, Reply::Forwarded { .. }));
    let told = told(&mut member, 190);
    let told: Vec<_> = told.iter().map(|e| (&*e.key, e.record.is_visible())).collect();
    assert_eq!(told, [("here", false)]);
}

#[test]
fn a_record_with_a_stamp_that_nobody_can_have_issued_is_left_out_and_the_rest_is_not() {
    let mut member = Member::new();
    let centuries = |n: u64| (1_700_000_000_000 + n * 3_155_760_000_000) << 16;
    let entry = |key: &str, time| {
        let stamp = Stamp::from_parts(time, OTHER, 1);
        let record = Record::registered(stamp, Arc::new(Text(1)), Health::Healthy);
        Entry { tag: "t".into(), key: key.into(), record }
    };
    let entries = vec![entry("broken", centuries(12)), entry("far", centuries(9))];
    member.ask(Request::Replicate(entries), Duration::ZERO, at(1));
    let datum = member.store.find("t").expect("it is there");
    let keys: Vec<String> =
        datum.read(|reader| reader.visible().map(|(key, ..)| key.to_string()).collect());
    assert_eq!((keys, member.store.disbelieved()), (vec!["far".to_owned()], 1));
    let stamp = Stamp::from_parts(centuries(25), OTHER, 1);
    let forward = Request::Forward(Operation::deregister("t", "far", stamp));
    assert!(matches!(member.ask(forward, Duration::ZERO, at(1)), Reply::Busy));
    // Once, so that the log says it once.
    let said = |outputs: Vec<Output<Text>>| {
        outputs.iter().filter(|output| matches!(output, Output::Disbelieved)).count()
    };
    assert_eq!((said(member.tick(1_100)), said(member.tick(1_300))), (1, 0));
}
