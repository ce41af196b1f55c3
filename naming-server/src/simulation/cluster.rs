//! A cluster on a simulated network, its clients, and the faults that befall it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;
use turmoil::Sim;

use super::client::Client;
use super::ledger::{Ledger, Name, SharedLedger};
use super::network::SimulatedConnector;
use super::process::{Process, address};
use super::story::Story;
use super::{client_ip, member_ip};

/// Virtual time passes on every host in steps of this; whatever is sent arrives in a later step.
const TICK: Duration = Duration::from_millis(5);
/// The most by which the clocks of two members differ.
pub(super) const MOST_AHEAD: Duration = Duration::from_millis(400);

/// What becomes of who connects across a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing: packets are lost.
    Silent,
    /// Something on the way refuses.
    Rejecting,
}

impl Cut {
    pub(super) fn any(random: &mut Rng) -> Self {
        if random.bool() { Self::Silent } else { Self::Rejecting }
    }
}

/// What a client does.
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Cluster {
    sim: Sim<'static>,
    network: SimulatedConnector,
    folder: TempDir,
    seed: u64,
    pub(super) random: Rng,
    pub(super) ledger: SharedLedger,
    pub(super) processes: Vec<Rc<Process>>,
    sides: Vec<usize>,
    pub(super) services: Vec<String>,
    next_port: u16,
}

impl Cluster {
    /// So many members, not ready yet, and so many places where clients are.
    pub(super) fn new(seed: u64, story: Story, members: usize, services: usize) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(4_096)
            .udp_capacity(4_096)
            .enable_random_order()
            .build();
        let folder = tempfile::tempdir().expect("a folder for the secret");
        std::fs::write(folder.path().join("secret"), "a secret of thirty-two characters or more")
            .expect("the secret can be written");
        let mut cluster = Self {
            sim,
            network: SimulatedConnector::default(),
            folder,
            seed,
            random: Rng::with_seed(seed),
            ledger: Rc::new(RefCell::new(Ledger::new(story))),
            processes: Vec::new(),
            sides: Vec::new(),
            services: (0..services).map(|number| format!("s{number}")).collect(),
            next_port: 1_000,
        };
        let all: Vec<usize> = (0..members).collect();
        for _ in 0..members {
            cluster.add_member(&all);
        }
        cluster
    }

    /// Starts another member, which is told of `members`.
    pub(super) fn add_member(&mut self, members: &[usize]) -> usize {
        let member = self.processes.len();
        let secret_file = self.folder.path().join("secret").to_string_lossy().into_owned();
        let process = Rc::new(Process {
            member,
            members: RefCell::new(members.to_vec()),
            network: self.network.clone(),
            secret_file,
            ahead_ms: self.random.u64(..MOST_AHEAD.as_millis() as u64),
            seed: self.random.u64(..),
            is_wanted: RefCell::new(true),
            running: RefCell::new(None),
        });
        self.processes.push(Rc::clone(&process));
        self.tell(&format!("member {member} starts"));
        self.ledger.borrow_mut().truth.start(member, self.now());
        self.sim.host(std::net::IpAddr::from(member_ip(member)), move || Rc::clone(&process).run());
        member
    }

    /// A place for clients, and what runs there.
    pub(super) fn add_side(&mut self, side: usize, clients: Vec<Task>) {
        self.sides.push(side);
        self.sim.client(std::net::IpAddr::from(client_ip(side)), async move {
            for client in clients {
                tokio::task::spawn_local(client);
            }
            pending().await
        });
    }

    pub(super) fn client(&mut self, side: usize, members: &[usize]) -> Client {
        Client::new(side, members, &self.ledger, &self.network, self.random.u64(..))
    }

    /// A name for an instance that nobody else has.
    pub(super) fn name(&mut self, service: usize) -> Name {
        self.next_port += 1;
        (self.services[service % self.services.len()].clone(), self.next_port)
    }

    pub(super) fn network(&self) -> &SimulatedConnector {
        &self.network
    }

    pub(super) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(super) fn tell(&self, line: &str) {
        self.ledger.borrow().story.tell(&format!("# {:>6} {line}", self.now().as_millis()));
    }

    /// One tick on every host.
    pub(super) fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.violation(&format!("a host failed: {error}"));
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now() + time;
        self.run_until(time, "the time is over", |cluster| cluster.now() >= until);
    }

    /// Runs until the condition holds; how long that took.
    pub(super) fn run_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let start = self.now();
        while !condition(self) {
            if self.now() > start + limit {
                self.violation(&format!("within {limit:?} it never came that {what}"));
                break;
            }
            if let Err(error) = self.sim.step() {
                self.violation(&format!("a host failed: {error}"));
                break;
            }
        }
        let took = self.now() - start;
        self.tell(&format!("{what} after {} ms", took.as_millis()));
        took
    }

    pub(super) fn violation(&self, text: &str) {
        self.ledger.borrow_mut().violation(&format!("at {:?}: {text}", self.now()));
    }

    pub(super) fn run_until_ready(&mut self, limit: Duration) -> Duration {
        self.run_until(limit, "all are ready", |cluster| {
            let ledger = cluster.ledger.borrow();
            ledger.truth.running().iter().all(|member| ledger.truth.is_ready(*member))
        })
    }

    /// Runs until all members hold the same.
    pub(super) fn run_until_equal(&mut self, limit: Duration) -> Duration {
        self.run_until(limit, "all hold the same", Self::are_equal)
    }

    fn are_equal(&self) -> bool {
        let running = self.ledger.borrow().truth.running();
        let roots: BTreeSet<_> = running
            .iter()
            .map(|member| {
                let running = self.processes[*member].running.borrow();
                running.as_ref().map(|running| running.registry.store.root())
            })
            .collect();
        roots.len() == 1 && !roots.contains(&None)
    }

    // Faults.

    fn disturb(&self, what: &str, change: impl FnOnce(&mut Ledger, Duration)) {
        self.tell(what);
        let mut ledger = self.ledger.borrow_mut();
        change(&mut ledger, self.now());
        ledger.changed();
    }

    /// Cuts all links between the two groups, both ways.
    pub(super) fn cut(&self, some: &[Ipv4Addr], others: &[Ipv4Addr], kind: Cut) {
        self.disturb(&format!("cut: {some:?} | {others:?}, {kind:?}"), |ledger, now| {
            for (one, other) in pairs(some, others) {
                self.sim.partition(one, other);
                self.network.set_silent(one, other, kind == Cut::Silent);
                self.network.set_silent(other, one, kind == Cut::Silent);
                ledger.truth.cut(one, other, now);
                ledger.truth.cut(other, one, now);
            }
        });
    }

    pub(super) fn mend(&self, some: &[Ipv4Addr], others: &[Ipv4Addr]) {
        self.disturb(&format!("mended: {some:?} | {others:?}"), |ledger, now| {
            for (one, other) in pairs(some, others) {
                self.sim.repair(one, other);
                ledger.truth.mend(one, other, now);
                ledger.truth.mend(other, one, now);
            }
        });
    }

    /// From now on nothing gets from `source` to `target`.
    pub(super) fn cut_one_way(&self, source: Ipv4Addr, target: Ipv4Addr, kind: Cut) {
        self.disturb(&format!("cut one way: {source} to {target}, {kind:?}"), |ledger, now| {
            self.sim.partition_oneway(source, target);
            self.network.set_silent(source, target, kind == Cut::Silent);
            ledger.truth.cut(source, target, now);
        });
    }

    pub(super) fn mend_one_way(&self, source: Ipv4Addr, target: Ipv4Addr) {
        self.disturb(&format!("mended one way: {source} to {target}"), |ledger, now| {
            self.sim.repair_oneway(source, target);
            ledger.truth.mend(source, target, now);
        });
    }

    /// Keeps back whatever two members send to each other.
    pub(super) fn hold(&self, one: usize, other: usize) {
        let (one, other) = (member_ip(one), member_ip(other));
        self.disturb(&format!("held: {one} and {other}"), |ledger, now| {
            self.sim.hold(one, other);
            ledger.truth.cut(one, other, now);
        });
    }

    /// Lets it all go.
    pub(super) fn release(&self, one: usize, other: usize) {
        let (one, other) = (member_ip(one), member_ip(other));
        self.disturb(&format!("released: {one} and {other}"), |ledger, now| {
            self.sim.release(one, other);
            ledger.truth.mend(one, other, now);
        });
    }

    /// The machine stops: nobody is told, and new connections are not even refused.
    pub(super) fn crash(&mut self, member: usize) {
        self.stopped(member, "crashes");
        self.quietly(member, |sim| sim.crash(member_ip(member)));
    }

    /// The process ends at once: its machine refuses connections, and what comes on old ones.
    pub(super) fn kill(&mut self, member: usize) {
        self.stopped(member, "is killed");
        *self.processes[member].is_wanted.borrow_mut() = false;
        self.quietly(member, |sim| sim.bounce(member_ip(member)));
    }

    /// Lets nothing out of a member meanwhile. Its tasks end in an order that differs from run to
    /// run, and so would the order in which its connections are closed.
    fn quietly(&mut self, member: usize, end: impl FnOnce(&mut Sim<'static>)) {
        let members = self.processes.iter().map(|process| member_ip(process.member));
        let others = members.chain(self.sides.iter().map(|side| client_ip(*side)));
        let others: Vec<Ipv4Addr> = others.filter(|other| *other != member_ip(member)).collect();
        for other in &others {
            self.sim.partition(member_ip(member), *other);
        }
        end(&mut self.sim);
        for other in &others {
            self.sim.repair(member_ip(member), *other);
        }
    }

    fn stopped(&self, member: usize, how: &str) {
        self.disturb(&format!("member {member} {how}"), |ledger, now| {
            ledger.truth.stop(member, now);
            ledger.crashed(member, now);
        });
    }

    /// Starts a member that does not run, with an empty memory.
    pub(super) fn restart(&mut self, member: usize) {
        self.disturb(&format!("member {member} starts again"), |ledger, now| {
            ledger.truth.start(member, now);
        });
        *self.processes[member].is_wanted.borrow_mut() = true;
        self.sim.bounce(member_ip(member));
    }

    /// Asks a member to stop as a signal does, and waits until it has.
    pub(super) fn leave(&mut self, member: usize, limit: Duration) {
        self.disturb(&format!("member {member} leaves"), |ledger, now| {
            ledger.truth.leave(member, now);
        });
        if let Some(running) = &*self.processes[member].running.borrow() {
            running.shutdown.cancel();
        }
        self.run_until(limit, "it has left", |cluster| {
            cluster.processes[member].running.borrow().is_none()
        });
        self.disturb("it is gone", |ledger, now| {
            ledger.truth.stop(member, now);
            ledger.changed();
        });
    }

    /// Tells the running members who the members are, as the watch of a file does.
    pub(super) fn list(&mut self, members: &[usize]) {
        self.disturb(&format!("the members are {members:?}"), |_, _| {});
        let list: Vec<_> = members
            .iter()
            .map(|member| address(*member).parse().expect("an address of ours"))
            .collect();
        for process in &self.processes {
            *process.members.borrow_mut() = members.to_vec();
            if let Some(running) = &*process.running.borrow() {
                let (control, list) = (running.control.clone(), list.clone());
                let told = ready_now(async move { control.set_members(&list).await });
                assert_eq!(told, Some(true), "the driver has room");
            }
        }
    }

    /// Checks that nothing went wrong; says what it was.
    pub(super) fn finish(self) {
        let ledger = self.ledger.borrow();
        ledger.story.tell(&ledger.summary());
        assert!(ledger.demanded > 0 && ledger.checked > 0, "nothing was checked");
        if !ledger.violations.is_empty() {
            let seed = self.seed;
            let first: Vec<&String> = ledger.violations.iter().take(10).collect();
            panic!(
                "seed {seed}: {} violations: {first:#?}\n{}",
                ledger.violations.len(),
                ledger.summary()
            );
        }
    }
}

fn pairs(some: &[Ipv4Addr], others: &[Ipv4Addr]) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> {
    some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)))
}

/// The outcome of something that need not wait.
fn ready_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
