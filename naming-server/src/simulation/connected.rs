//! Clients of 2.x: what they register lives by their connections, through all that befalls those.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use naming_model::ServiceKey;
use turmoil::sim_elapsed;

use super::cluster::{Cluster, Cut, Task};
use super::held::Link;
use super::network::SimulatedConnector;
use super::story::Story;
use super::{client_ip, member_ip, run_seeds};
use crate::registry::hosts;

/// From the end of a connection to that of what its client, which is dead, had registered.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// The same if nobody is told of the end: the client has to be asked first.
const SILENT_GONE_WITHIN: Duration = Duration::from_secs(45);
/// Nobody is given up sooner than that for saying nothing.
const SILENT_FOR: Duration = Duration::from_secs(20);
/// As the Java client: it looks so often whether something is to be registered again, and whether
/// its connection is still good.
const REDO_PERIOD: Duration = Duration::from_secs(3);
const CHECK_PERIOD: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
const SERVICES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not registered yet.
    Coming,
    Alive,
    /// Its process has ended, and its connection with it.
    Killed,
    /// Its machine is gone: its connection is as it was.
    CutOff,
}

#[derive(Debug)]
struct Life {
    state: State,
    since: Duration,
    /// The members that have shown it.
    seen: BTreeSet<usize>,
    /// The member that its client is connected to.
    at: usize,
}

/// What is true of all instances, by service and port.
type Book = Rc<RefCell<BTreeMap<(usize, u16), Life>>>;

fn now() -> Duration {
    sim_elapsed().unwrap_or_default()
}

/// An application with one instance.
struct Provider {
    side: usize,
    service: usize,
    port: u16,
    /// Where it connects first.
    member: usize,
    network: SimulatedConnector,
    book: Book,
    random: Rng,
}

impl Provider {
    fn note(&self, state: State) {
        if let Some(life) = self.book.borrow_mut().get_mut(&(self.service, self.port)) {
            (life.state, life.since) = (state, now());
        }
    }

    async fn connect(&mut self) -> Link {
        let label = format!("port {}", self.port);
        loop {
            let link = Link::set_up(&self.network, client_ip(self.side), self.member, &label);
            match tokio::time::timeout(Duration::from_secs(3), link).await {
                Ok(Some(link)) => return link,
                _ => self.member = (self.member + 1) % 3,
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Lives until `dies`, if it does.
    async fn live(mut self, dies: Option<Duration>) {
        let death = async {
            match dies {
                Some(dies) => tokio::time::sleep(dies).await,
                None => std::future::pending().await,
            }
        };
        let mut death = std::pin::pin!(death);
        let (mut link, mut old) = (self.connect().await, None);
        let mut redo = Duration::ZERO;
        loop {
            let lives = self.hold(&mut link, redo, &mut old);
            tokio::select! {
                () = &mut death => break,
                () = lives => {}
            }
            // The connection that it leaves ends when there is another.
            self.member = (self.member + 1) % 3;
            let next = self.connect().await;
            old = Some(std::mem::replace(&mut link, next));
            redo = Duration::from_millis(self.random.u64(..REDO_PERIOD.as_millis() as u64));
        }
        drop((link, old));
        self.note(State::Killed);
    }

    /// Registers over a connection, and stays there until the connection is no good or the server
    /// sends it elsewhere.
    async fn hold(&self, link: &mut Link, redo: Duration, old: &mut Option<Link>) {
        *old = None;
        tokio::time::sleep(redo).await;
        if !link.register(&format!("s{}", self.service), self.port).await {
            return;
        }
        let is_new = {
            let book = self.book.borrow();
            book.get(&(self.service, self.port)).is_some_and(|life| life.state == State::Coming)
        };
        if is_new {
            self.note(State::Alive);
        }
        if let Some(life) = self.book.borrow_mut().get_mut(&(self.service, self.port)) {
            life.at = self.member;
        }
        link.stay(CHECK_PERIOD).await;
    }
}

struct Scene {
    cluster: Cluster,
    book: Book,
    next_port: u16,
}

impl Scene {
    /// Three members, and clients at two places.
    fn begin(seed: u64, story: Story) -> Self {
        let cluster = Cluster::new(seed, story, 3, SERVICES);
        let mut scene = Self { cluster, book: Book::default(), next_port: 1_000 };
        scene.cluster.run(Duration::from_secs(8));
        for side in 0..2 {
            scene.add(side, 6, None, |n| n % 3);
        }
        let all_know = |scene: &Self| {
            let book = scene.book.borrow();
            book.values().all(|life| life.seen.len() == 3)
        };
        scene.until(Duration::from_secs(30), "all members know all", all_know);
        scene
    }

    /// So many clients at a place, each at a member first; they die after a while, if they do.
    fn add(
        &mut self,
        side: usize,
        count: usize,
        dies: Option<Duration>,
        member: fn(usize) -> usize,
    ) {
        let mut tasks: Vec<Task> = Vec::new();
        for n in 0..count {
            self.next_port += 1;
            let name = (n % SERVICES, self.next_port);
            let (since, seen) = (self.cluster.now(), BTreeSet::new());
            let life = Life { state: State::Coming, since, seen, at: 0 };
            self.book.borrow_mut().insert(name, life);
            let provider = Provider {
                side,
                service: name.0,
                port: name.1,
                member: member(n),
                network: self.cluster.network().clone(),
                book: Rc::clone(&self.book),
                random: Rng::with_seed(self.cluster.random.u64(..)),
            };
            tasks.push(Box::pin(provider.live(dies)));
        }
        self.cluster.add_side(side, tasks);
    }

    fn run(&mut self, time: Duration) {
        let until = self.cluster.now() + time;
        self.until(time + Duration::from_secs(1), "the time is over", |scene| {
            scene.cluster.now() >= until
        });
    }

    /// Runs until something is so, and looks all the while whether somebody is missing, or there
    /// who should be gone.
    fn until(&mut self, limit: Duration, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = self.cluster.now();
        while !is_so(self) {
            if self.cluster.now() > start + limit {
                self.cluster.violation(&format!("within {limit:?} it never came that {what}"));
                return;
            }
            self.cluster.step();
            self.look();
        }
    }

    fn look(&self) {
        let now = self.cluster.now();
        for member in self.cluster.ledger.borrow().truth.running() {
            let Some(shown) = self.shown_by(member) else { continue };
            for (name, life) in &mut *self.book.borrow_mut() {
                let (is_shown, was_seen) = (shown.contains(name), life.seen.contains(&member));
                if is_shown {
                    life.seen.insert(member);
                }
                let silent = now.saturating_sub(life.since);
                let fault = match life.state {
                    State::Alive if was_seen && !is_shown => "a living instance is missing",
                    State::Killed if is_shown && silent > GONE_WITHIN => "a dead one is there",
                    State::CutOff if is_shown && silent > SILENT_GONE_WITHIN => {
                        "one of whom nothing was heard for long is there"
                    }
                    State::CutOff if was_seen && !is_shown && silent < SILENT_FOR => {
                        "one that was silent for a moment is gone"
                    }
                    _ => continue,
                };
                self.cluster.violation(&format!("member {member}: {fault}: {name:?}, {life:?}"));
            }
        }
    }

    /// The services and ports of what a member shows.
    fn shown_by(&self, member: usize) -> Option<BTreeSet<(usize, u16)>> {
        let process = self.cluster.processes[member].running.borrow();
        let running = process.as_ref()?;
        let mut shown = BTreeSet::new();
        for (number, name) in self.cluster.services.iter().enumerate() {
            let service = ServiceKey::grouping("public", name, "").expect("a name");
            let Some(datum) = running.registry.find(&service) else { continue };
            datum.read(|reader| {
                shown.extend(hosts(&reader).map(|host| (number, host.key.port)));
            });
        }
        Some(shown)
    }

    /// A member begins anew: what it has shown says nothing.
    fn forget(&self, member: usize) {
        for life in self.book.borrow_mut().values_mut() {
            life.seen.remove(&member);
        }
    }

    fn set(&self, of: impl Fn(u16) -> bool, state: State) {
        let now = self.cluster.now();
        for ((_, port), life) in &mut *self.book.borrow_mut() {
            if of(*port) {
                (life.state, life.since) = (state, now);
            }
        }
    }

    /// Waits until all members show all who live, and checks that nothing went wrong.
    fn finish(mut self, seed: u64) {
        let all_know = |scene: &Self| {
            let book = scene.book.borrow();
            book.values().filter(|life| life.state == State::Alive).all(|life| life.seen.len() == 3)
        };
        self.until(Duration::from_secs(30), "all members know all who live", all_know);
        let alive = self.book.borrow().values().filter(|life| life.state == State::Alive).count();
        assert!(alive >= 12, "seed {seed}: {alive} live");
        let violations = &self.cluster.ledger.borrow().violations;
        assert!(
            violations.is_empty(),
            "seed {seed}: {:#?}",
            &violations[..violations.len().min(9)]
        );
    }
}

#[test]
fn what_a_killed_client_held_is_gone_within_a_second_everywhere() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        scene.add(2, 6, Some(Duration::from_secs(12)), |n| n % 3);
        scene.run(Duration::from_secs(30));
        assert!(scene.book.borrow().values().any(|life| life.state == State::Killed));
        scene.finish(seed);
    });
}

#[test]
fn a_machine_that_is_gone_is_given_up_after_it_was_asked() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        let first = scene.next_port;
        scene.add(2, 6, None, |n| n % 3);
        scene.run(Duration::from_secs(15));
        let members = [0, 1, 2].map(member_ip);
        scene.cluster.cut(&[client_ip(2)], &members, Cut::Silent);
        scene.set(|port| port > first, State::CutOff);
        scene.run(Duration::from_secs(60));
        scene.finish(seed);
    });
}

#[test]
fn a_client_whose_connection_is_dead_at_one_end_is_back_elsewhere_and_never_missing() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        let member = scene.cluster.random.usize(..3);
        let cut = Cut::any(&mut scene.cluster.random);
        scene.cluster.cut(&[client_ip(0)], &[member_ip(member)], cut);
        scene.run(Duration::from_secs(50));
        scene.cluster.mend(&[client_ip(0)], &[member_ip(member)]);
        scene.run(Duration::from_secs(20));
        scene.finish(seed);
    });
}

#[test]
fn a_member_that_dies_takes_nobody_with_it() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        let member = scene.cluster.random.usize(..3);
        match seed.is_multiple_of(2) {
            true => scene.cluster.kill(member),
            false => scene.cluster.crash(member),
        }
        scene.forget(member);
        scene.run(Duration::from_secs(40));
        scene.cluster.restart(member);
        scene.run(Duration::from_secs(20));
        scene.finish(seed);
    });
}

#[test]
fn a_cut_between_who_holds_and_who_owns_ends_nothing() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        let one = scene.cluster.random.usize(..3);
        let (one, other) = (member_ip(one), member_ip((one + 1) % 3));
        let cut = Cut::any(&mut scene.cluster.random);
        scene.cluster.cut(&[one], &[other], cut);
        scene.run(Duration::from_secs(60));
        scene.cluster.mend(&[one], &[other]);
        scene.run(Duration::from_secs(20));
        scene.finish(seed);
    });
}

#[test]
fn a_rolling_restart_takes_nobody_with_it() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        for member in 0..3 {
            scene.cluster.leave(member, Duration::from_secs(30));
            scene.forget(member);
            scene.run(Duration::from_secs(10));
            scene.cluster.restart(member);
            scene.run(Duration::from_secs(15));
        }
        scene.finish(seed);
    });
}

#[test]
fn members_share_out_their_clients_after_a_rolling_restart_and_nobody_is_missing() {
    run_seeds(|seed, story| {
        let mut scene = Scene::begin(seed, story);
        scene.add(2, 60, None, |_| 0);
        for member in [2, 1] {
            scene.cluster.leave(member, Duration::from_secs(30));
            scene.forget(member);
            scene.run(Duration::from_secs(5));
            scene.cluster.restart(member);
            scene.run(Duration::from_secs(10));
        }
        let clients = scene.book.borrow().len();
        let share = |scene: &Scene, member: usize| {
            scene.book.borrow().values().filter(|life| life.at == member).count()
        };
        let before = (0..3).map(|member| share(&scene, member)).max();
        assert!(before > Some(clients / 2), "seed {seed}: {before:?} of {clients} at one member");
        let most = (clients * 5).div_ceil(12);
        scene.until(Duration::from_secs(120), "no member has too many", |scene| {
            (0..3).all(|member| share(scene, member) <= most)
        });
        scene.run(Duration::from_secs(10));
        scene.finish(seed);
    });
}
