//! Tags whose owner does not speak this protocol, at one store or two: what is kept apart, which
//! stamps win, what a list says.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Action, ConnectionId, Distro, DistroConfig, End, Health, Held, Holding, HoldingConfig, Input,
    JudgeTerms, LeaseTerms, ListTerms, Listed, MemberId, Now, Operation, OwnerPolicy, Record,
    Rules, StampClock, Store, StoreConfig, Tick, Value, apply,
};

const TAG: &str = "tag-0";
const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
/// Does not speak this protocol.
const J: MemberId = MemberId(9);

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

/// A member of ours, and the others of its kind.
struct Member {
    store: Arc<Store<Text, ()>>,
    distro: Distro<Text, ()>,
}

impl Member {
    fn new(me: MemberId, rules: Rules) -> Self {
        let now = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
        let config = StoreConfig {
            // All tags fall to the first of the list.
            owner_policy: OwnerPolicy::Tags(|_| 0),
            is_durable: |_, key| key.starts_with('!'),
            rules,
            ..StoreConfig::default()
        };
        let store = Arc::new(Store::new(config, StampClock::new(me, 1, now), vec![]));
        let distro = Distro::new(DistroConfig::default(), Arc::clone(&store), &[], 1, Tick::ZERO);
        let mut member = Self { store, distro };
        let other = if me == A { B } else { A };
        member.distro.handle_input(Tick::ZERO, Input::Members(vec![other]));
        member.owners(&[J, A, B], 0);
        member
    }

    fn owners(&mut self, owners: &[MemberId], second: u64) {
        self.distro.handle_input(at(second), Input::Owners(owners.to_vec()));
    }

    fn take(&self, keys: &[&str], second: u64, is_settled: bool) {
        let list: Vec<_> = keys.iter().map(|key| listed(key, 1)).collect();
        self.take_list(&list, second, is_settled);
    }

    fn take_list(&self, list: &[Listed<Text>], second: u64, is_settled: bool) {
        let as_of = at(second);
        let terms = ListTerms { is_settled, is_told: true, as_of, room: 1_000 };
        assert!(self.store.take_list(TAG, list, terms, at(second)));
    }

    fn shown(&self) -> Vec<String> {
        let Some(datum) = self.store.find(TAG) else { return Vec::new() };
        datum.read(|reader| reader.visible().map(|(key, ..)| key.to_string()).collect())
    }

    fn health(&self, key: &str) -> Health {
        self.record(key).expect("it is there").health()
    }

    fn record(&self, key: &str) -> Option<Record<Text>> {
        self.store.find(TAG)?.read(|reader| Some(reader.find(key)?.into_owned()))
    }

    fn register(&self, key: &str, second: u64) {
        let stamp = self.store.clock().issue(at(second));
        let value = Arc::new(Text(7));
        let operation = Operation::register(TAG, key, stamp, value, Health::Healthy);
        apply(&self.store, &operation, at(second));
    }
}

/// What both know of a record in the end, whoever tells the other first.
fn merged(one: &Member, other: &Member, key: &str) -> Record<Text> {
    let mut record = one.record(key).unwrap_or_default();
    record.merge(&other.record(key).unwrap_or_default());
    record
}

fn listed(key: &str, value: u32) -> Listed<Text> {
    Listed { key: key.into(), value: Arc::new(Text(value)), health: Health::Healthy }
}

fn at(second: u64) -> Tick {
    Tick::from_ms(second * 1_000)
}

fn pair(rules: Rules) -> (Member, Member) {
    (Member::new(A, rules), Member::new(B, rules))
}

#[test]
fn what_others_own_is_kept_apart_and_what_is_durable_is_not() {
    let (a, empty) = pair(Rules::default());
    a.take(&["x", "y"], 1, true);
    assert_eq!(a.shown(), ["x", "y"]);
    assert_eq!(a.store.root(), empty.store.root());
    assert_eq!(a.store.visible_count(0), 2);
    a.register("!kept", 2);
    assert_ne!(a.store.root(), empty.store.root());
    // Somebody of this protocol looks after it all the same.
    assert_eq!((a.store.owner(TAG), a.store.keeper(TAG)), (Some(J), Some(A)));
    assert!(a.store.is_foreign(TAG) && !a.store.owns(TAG));
}

#[test]
fn the_checksum_follows_the_owner_there_and_back() {
    let (mut a, mut b) = pair(Rules::default());
    a.take(&["x", "y"], 1, true);
    a.register("!kept", 1);
    let apart = a.store.root();
    a.owners(&[A, B], 50);
    // Another store that is given the same records has the same sum.
    b.owners(&[A, B], 50);
    for key in ["!kept", "x", "y"] {
        b.store.restore(TAG, [(key.into(), a.record(key).unwrap())], at(50));
    }
    assert_eq!(a.store.root(), b.store.root());
    assert_ne!(a.store.root(), apart);
    a.owners(&[J, A], 60);
    assert_eq!(a.store.root(), apart);
}

fn terms(second: u64) -> JudgeTerms {
    let (as_of, listening_since) = (at(second), Tick::ZERO);
    JudgeTerms { as_of, enabled: true, expire: true, listening_since, patience: 0 }
}

#[test]
fn who_takes_over_gives_everybody_a_full_time_out() {
    let (mut a, _) = pair(Rules::default());
    a.take(&["x"], 1, true);
    a.owners(&[A, B], 100);
    let judge = |second| {
        while a.store.judge(&terms(second)) {}
    };
    (100..130).for_each(judge);
    assert_eq!(a.health("x"), Health::Unhealthy);
    (130..133).for_each(judge);
    assert!(a.shown().is_empty());
}

#[test]
fn the_health_that_a_new_owner_writes_anew_can_be_refuted() {
    let (mut a, mut b) = pair(Rules::default());
    let unhealthy = [Listed { health: Health::Unhealthy, ..listed("x", 1) }];
    for member in [&a, &b] {
        member.take(&["x"], 1, true);
    }
    a.take_list(&unhealthy, 40, true);
    b.store.hear(TAG, "x", at(45));
    a.owners(&[A, B], 50);
    b.owners(&[A, B], 50);
    assert_eq!((a.health("x"), b.health("x")), (Health::Unhealthy, Health::Healthy));
    b.store.restore(TAG, [("x".into(), a.record("x").unwrap())], at(51));
    assert_eq!(b.health("x"), Health::Healthy);
    // So is that of what a Java server told of when nobody else knew it.
    a.store.adopt_list(TAG, &[Listed { health: Health::Unhealthy, ..listed("y", 1) }], 9, at(52));
    let adopted = a.record("y").unwrap();
    assert!(adopted.liveness > adopted.registration);
}

#[test]
fn nobody_judges_what_others_own() {
    let (a, _) = pair(Rules::default());
    a.take(&["x"], 1, true);
    for second in 1..400 {
        while a.store.judge(&terms(second)) {}
    }
    assert_eq!((a.shown().len(), a.health("x")), (1, Health::Healthy));
}

/// The old owner goes on sending lists to a member that has not noticed yet.
fn who_wins_after_a_take_over(rules: Rules) -> bool {
    let (mut a, b) = pair(rules);
    a.take(&["x"], 1, true);
    b.take(&["x"], 1, true);
    a.owners(&[A, B], 50);
    b.take(&[], 51, true);
    merged(&a, &b, "x").is_visible()
}

#[test]
fn the_word_of_the_new_owner_counts_and_not_that_of_the_old_one() {
    assert!(who_wins_after_a_take_over(Rules::default()));
    assert!(!who_wins_after_a_take_over(Rules { take_over: false, ..Rules::default() }));
    // With stamps of the moment not even writing anew would help.
    assert!(!who_wins_after_a_take_over(Rules { foreign_stamps: false, ..Rules::default() }));
}

#[test]
fn what_one_has_seen_removed_does_not_come_back_from_another_that_has_not() {
    let (mut a, mut b) = pair(Rules::default());
    for second in [1, 5, 9] {
        // Whatever was written how often: what was learned later counts.
        b.take_list(&[listed("x", second as u32)], second, true);
    }
    a.take(&["x"], 1, true);
    a.take(&[], 20, true);
    a.owners(&[A, B], 50);
    b.owners(&[A, B], 50);
    assert!(!merged(&a, &b, "x").is_visible());
    // The same for what was ours before.
    let (mut a, mut b) = pair(Rules::default());
    a.owners(&[A, B], 1);
    a.register("x", 1);
    b.store.restore(TAG, [("x".into(), a.record("x").unwrap())], at(1));
    a.owners(&[J, A, B], 2);
    for second in [10, 20, 30] {
        b.take_list(&[listed("x", second as u32)], second, true);
    }
    a.take(&[], 40, true);
    a.owners(&[A, B], 50);
    b.owners(&[A, B], 50);
    assert!(!merged(&a, &b, "x").is_visible());
}

#[test]
fn what_a_settled_owner_does_not_list_goes_at_once_and_otherwise_after_its_time_out() {
    let (a, _) = pair(Rules::default());
    a.take(&["x", "y"], 1, true);
    a.take(&["x"], 40, true);
    assert_eq!(a.shown(), ["x"]);
    let mut a = Member::new(A, Rules::default());
    a.take(&["x", "y"], 1, true);
    a.owners(&[J, B, A], 60);
    a.take(&["y"], 61, false);
    assert_eq!(a.shown(), ["x", "y"]);
    // Heard here: it lives.
    a.store.hear(TAG, "x", at(70));
    a.take(&["y"], 99, false);
    assert_eq!(a.shown(), ["x", "y"]);
    a.take(&["y"], 100, false);
    assert_eq!(a.shown(), ["y"]);
}

#[test]
fn what_was_registered_with_an_owner_a_moment_ago_was_removed_if_it_is_missing() {
    let mut a = Member::new(A, Rules::default());
    a.owners(&[J, B, A], 60);
    a.take(&["x"], 65, false);
    a.take(&[], 68, false);
    assert_eq!(a.shown(), ["x"], "owners may not agree yet");
    a.take(&[], 71, false);
    assert!(a.shown().is_empty());
    // No list at all says nothing.
    a.take(&["x"], 75, false);
    let terms = ListTerms { is_settled: false, is_told: false, as_of: at(77), room: 9 };
    a.store.take_list(TAG, &[], terms, at(77));
    assert_eq!(a.shown(), ["x"]);
}

/// The owner did two things for clients here; after that a list comes from before.
fn shown_after_an_old_list(rules: Rules) -> Vec<String> {
    let a = Member::new(A, rules);
    a.take(&["x"], 1, true);
    a.store.take_registration(TAG, "y", Arc::new(Text(2)), Health::Healthy, at(40));
    a.store.take_removal(TAG, "x", at(40));
    assert_eq!(a.shown(), ["y"]);
    a.take(&["x"], 41, true);
    let shown = a.shown();
    a.take(&["x"], 44, true);
    assert_eq!(a.shown(), ["x"], "the owner's word counts again");
    shown
}

#[test]
fn what_the_owner_took_for_a_client_here_is_not_undone_by_a_list_from_before() {
    assert_eq!(shown_after_an_old_list(Rules::default()), ["y"]);
    let without = Rules { writes_hold: false, ..Rules::default() };
    assert_eq!(shown_after_an_old_list(without), ["x"]);
}

#[test]
fn two_that_fold_in_the_same_list_never_agree() {
    let roots_after = |rules| {
        let (a, b) = pair(rules);
        a.take(&["x"], 1, true);
        b.take(&["x"], 1, true);
        [a.store.root(), b.store.root()]
    };
    let [a, b] = roots_after(Rules::default());
    assert_eq!(a, b);
    let [a, b] = roots_after(Rules { foreign_apart: false, ..Rules::default() });
    assert_ne!(a, b);
}

#[test]
fn a_list_that_was_asked_for_before_something_was_learned_does_not_touch_it() {
    let (a, _) = pair(Rules::default());
    a.take(&["x"], 10, true);
    let terms = ListTerms { is_settled: true, is_told: true, as_of: at(9), room: 9 };
    a.store.take_list(TAG, &[], terms, at(11));
    assert_eq!(a.shown(), ["x"]);
}

#[test]
fn health_is_the_owners_word_unless_it_cannot_know() {
    let (a, _) = pair(Rules::default());
    a.take(&["x", "y"], 1, true);
    let unhealthy = |second, is_settled| {
        let as_of = at(second);
        let terms = ListTerms { is_settled, is_told: true, as_of, room: 0 };
        a.store.take_health(TAG, |_| Some(Health::Unhealthy), terms, as_of);
    };
    unhealthy(40, false);
    assert_eq!((a.health("x"), a.health("y")), (Health::Healthy, Health::Healthy));
    a.store.hear(TAG, "x", at(41));
    unhealthy(42, true);
    assert_eq!((a.health("x"), a.health("y")), (Health::Healthy, Health::Unhealthy));
    a.store.hear(TAG, "y", at(43));
    assert_eq!(a.health("y"), Health::Healthy);
}

#[test]
fn a_list_for_a_tag_of_ours_is_refused_or_adopted_without_undoing_anything() {
    let (mut a, _) = pair(Rules::default());
    a.owners(&[A, B, J], 1);
    a.register("gone", 2);
    let stamp = a.store.clock().issue(at(3));
    apply(&a.store, &Operation::deregister(TAG, "gone", stamp), at(3));
    a.register("here", 3);
    let list = ["gone", "here", "new"].map(|key| listed(key, 1));
    let terms = ListTerms { is_settled: true, is_told: true, as_of: at(4), room: 9 };
    assert!(!a.store.take_list(TAG, &list, terms, at(4)));
    assert_eq!(a.shown(), ["here"]);
    a.store.adopt_list(TAG, &list, 9, at(5));
    assert_eq!(a.shown(), ["here", "new"]);
    assert_eq!(a.record("here").unwrap().value.as_deref(), Some(&Text(7)));
}

#[test]
fn a_list_after_the_service_was_deleted_counts() {
    let (a, _) = pair(Rules::default());
    a.take(&["x"], 1, true);
    let stamp = a.store.clock().issue(at(5));
    apply(&a.store, &Operation::close(TAG, stamp), at(5));
    assert!(a.shown().is_empty());
    a.take(&["x"], 20, true);
    assert_eq!(a.shown(), ["x"]);
}

#[test]
fn a_list_adds_no_more_than_there_is_room_for() {
    let (a, _) = pair(Rules::default());
    let list = ["x", "y", "z"].map(|key| listed(key, 1));
    let terms = ListTerms { is_settled: true, is_told: true, as_of: at(1), room: 2 };
    a.store.take_list(TAG, &list, terms, at(1));
    assert_eq!(a.shown().len(), 2);
}

/// A holder looks at its connection at this second.
fn look(holding: &mut Holding<Text>, member: &mut Member, second: u64) -> Vec<Action<Text>> {
    member.distro.handle_input(at(second), Input::Tick);
    holding.heard(ConnectionId(1), at(second));
    holding.tick(&member.store, &member.distro.shared_status().clone(), at(second))
}

#[test]
fn what_a_connection_holds_under_a_foreign_tag_is_left_to_its_owner() {
    let (mut a, _) = pair(Rules::default());
    a.take(&["k"], 1, true);
    let stamp = a.record("k").expect("it was listed").registration;
    let mut holding = Holding::new(HoldingConfig::default());
    holding.begin(ConnectionId(1), 7, at(1));
    let place = || (TAG.into(), "k".into());
    assert!(holding.registered(ConnectionId(1), place(), Arc::new(Text(1)), stamp).is_none());
    for second in 2..9 {
        for action in look(&mut holding, &mut a, second) {
            assert!(matches!(action, Action::Beat { key, .. } if &*key == "k"));
            assert_eq!(a.store.hold(TAG, "k", stamp, at(second)), Held::Shown);
        }
    }
    // A list without it may be a loss as well as a removal: the client is asked, and it comes back.
    a.take(&[], 9, true);
    assert_eq!(a.shown(), [""; 0]);
    let is_by_another = true;
    assert_eq!(a.store.hold(TAG, "k", stamp, at(10)), Held::Missing { is_by_another });
    let actions: Vec<_> = (10..18).flat_map(|s| look(&mut holding, &mut a, s)).collect();
    assert!(actions.iter().any(|action| matches!(action, Action::Register { .. })));
    // Nothing is ended here but by the owner.
    a.take(&["k"], 20, true);
    let stamp = a.record("k").expect("it was listed").registration;
    assert!(!a.store.lapse(TAG, "k", stamp, at(21)) && !a.store.retract(TAG, "k", stamp, at(21)));
    assert_eq!(a.shown(), ["k"]);
}

/// One connection at `a` that holds what the owner of the foreign tag lists.
fn held_under_a_foreign_tag(client: u64) -> (Member, Holding<Text>) {
    let (a, _) = pair(Rules::default());
    a.take(&["k"], 1, true);
    let stamp = a.record("k").expect("it was listed").registration;
    let mut holding = Holding::new(HoldingConfig::default());
    holding.begin(ConnectionId(1), client, at(1));
    let place = (TAG.into(), "k".into());
    assert!(holding.registered(ConnectionId(1), place, Arc::new(Text(1)), stamp).is_none());
    (a, holding)
}

#[test]
fn the_owner_of_a_foreign_tag_is_asked_to_remove_only_what_its_client_has_left_for_good() {
    for has_come in [false, true] {
        let (mut a, mut holding) = held_under_a_foreign_tag(7);
        look(&mut holding, &mut a, 2);
        holding.end(ConnectionId(1), End::Lost, at(3));
        if has_come {
            a.distro.shared_status().note_arrival(7, at(3));
        }
        let actions: Vec<_> = (4..12).flat_map(|s| look(&mut holding, &mut a, s)).collect();
        let lapses = actions.iter().any(|action| matches!(action, Action::Lapse { .. }));
        assert_eq!((lapses, holding.is_empty()), (!has_come, true), "has come: {has_come}");
    }
}

#[test]
fn what_a_connection_holds_is_claimed_once_when_its_tag_is_foreign_no_more() {
    let (mut a, mut holding) = held_under_a_foreign_tag(7);
    for second in 2..9 {
        look(&mut holding, &mut a, second);
    }
    a.owners(&[A, B], 9);
    let actions: Vec<_> = (10..30).flat_map(|s| look(&mut holding, &mut a, s)).collect();
    assert!(matches!(&*actions, [Action::Reclaim { key, .. }] if &**key == "k"), "{actions:?}");
}

#[test]
fn what_a_connection_has_just_registered_is_claimed_when_its_owner_dies_at_once() {
    for is_noted in [false, true] {
        let (mut a, mut holding) = held_under_a_foreign_tag(7);
        if is_noted {
            holding.note_foreign(ConnectionId(1), &(TAG.into(), "k".into()));
        }
        // Before the connection renews for the first time.
        a.owners(&[A, B], 1);
        let actions: Vec<_> = (2..30).flat_map(|s| look(&mut holding, &mut a, s)).collect();
        let claims = actions.iter().filter(|action| matches!(action, Action::Reclaim { .. }));
        assert_eq!(claims.count(), usize::from(is_noted), "noted: {is_noted}");
    }
}
