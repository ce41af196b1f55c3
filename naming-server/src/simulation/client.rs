//! Clients: applications that register and beat, readers that look, subscribers that are pushed to.

use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::time::Duration;

use fastrand::Rng;
use foldhash::fast::FixedState;
use serde_json::Value;
use turmoil::sim_elapsed;

use super::caller::{Answer, Caller};
use super::ledger::{Name, SharedLedger, hosts_of};
use super::network::SimulatedConnector;
use super::{PORT, client_ip};

/// From one beat to the next, as the server asks for.
const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Before a client that was refused by all tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const UNKNOWN_INSTANCE: u64 = 20_404;

/// What all clients have in common: where they are, and whom they know.
pub(super) struct Client {
    side: usize,
    members: Vec<usize>,
    ledger: SharedLedger,
    pub(super) random: Rng,
    caller: Caller,
}

fn now() -> Duration {
    sim_elapsed().unwrap_or_default()
}

pub(super) fn list_target(service: &str) -> String {
    format!("ns/instance/list?serviceName={service}")
}

/// Which parameters name an instance; the address belongs to the port.
fn target(path: &str, (service, port): &Name) -> String {
    format!("ns/instance{path}?serviceName={service}&ip=10.9.0.1&port={port}")
}

impl Client {
    pub(super) fn new(
        side: usize,
        members: &[usize],
        ledger: &SharedLedger,
        network: &SimulatedConnector,
        seed: u64,
    ) -> Self {
        let (members, ledger) = (members.to_vec(), SharedLedger::clone(ledger));
        let caller = Caller::new(client_ip(side), network.clone());
        Self { side, members, ledger, random: Rng::with_seed(seed), caller }
    }

    /// Registers a persistent instance in each service, where members listen on this host.
    pub(super) async fn place_persistent(mut self, services: Vec<String>, host: Ipv4Addr) {
        for service in services {
            let instance = format!("ip={host}&port={PORT}&ephemeral=false");
            let target = format!("ns/instance?serviceName={service}&{instance}");
            while self.call_any("POST", &target).await.is_none() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// One call to one member, told in the story.
    async fn call(&mut self, member: usize, method: &str, target: &str) -> Result<Answer, String> {
        let since = now();
        let result = self.caller.call(member, method, target).await;
        let mut ledger = self.ledger.borrow_mut();
        let outcome = match &result {
            Ok((200, body)) => format!("200 {}", digest(body)),
            Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(body)),
            Err(error) => error.clone(),
        };
        let what = format!("{method} {target}: {outcome}");
        ledger.story.tell(&format!("side {} asks member {member} {what}", self.side));
        match &result {
            Ok((200, _)) => {}
            other => {
                ledger.refused += u64::from(matches!(other, Ok((503, _))));
                ledger.check_failure(self.side, member, since, &what);
            }
        }
        result
    }

    /// As Java's client: begins anywhere, goes on to the next. `None` if all failed.
    async fn call_any(&mut self, method: &str, target: &str) -> Option<(usize, Answer)> {
        let start = self.random.usize(..self.members.len());
        for step in 0..self.members.len() {
            let member = self.members[(start + step) % self.members.len()];
            if let Ok((200, body)) = self.call(member, method, target).await {
                return Some((member, (200, body)));
            }
        }
        None
    }

    /// Until somebody has done it; who did.
    async fn insist(&mut self, method: &str, target: &str) -> usize {
        loop {
            if let Some((member, _)) = self.call_any(method, target).await {
                return member;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        let pause = self.random.u64(milliseconds);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn register(&mut self, name: &Name) {
        self.ledger.borrow_mut().begin(name, self.side, now());
        let by = self.insist("POST", &target("", name)).await;
        self.ledger.borrow_mut().acknowledged(name, true, by, now());
    }

    async fn deregister(&mut self, name: &Name) {
        self.ledger.borrow_mut().begin(name, self.side, now());
        let by = self.insist("DELETE", &target("", name)).await;
        self.ledger.borrow_mut().acknowledged(name, false, by, now());
    }

    pub(super) async fn register_once(mut self, name: Name) {
        self.register(&name).await;
    }

    pub(super) async fn deregister_once(mut self, name: Name) {
        self.deregister(&name).await;
    }

    /// One beat: light, or with all that is needed to register anew.
    async fn beat(&mut self, name: &Name, is_light: bool) {
        let mut target = target("/beat", name);
        if !is_light {
            let beat = format!(r#"{{"ip":"10.9.0.1","port":{},"weight":1.0}}"#, name.1);
            target += "&beat=";
            target.extend(beat.bytes().map(|byte| format!("%{byte:02x}")));
        }
        let since = now();
        let Some((member, (_, body))) = self.call_any("PUT", &target).await else { return };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if answer["code"] == UNKNOWN_INSTANCE {
            self.ledger.borrow_mut().check_unknown_beat(name, member, since);
            self.register(name).await;
        } else {
            self.ledger.borrow_mut().heard(name, member, now());
        }
    }

    /// An application that stays.
    pub(super) async fn stay(mut self, name: Name, is_light: bool) {
        self.register(&name).await;
        self.pause(0..5_000).await;
        loop {
            self.beat(&name, is_light).await;
            tokio::time::sleep(BEAT_INTERVAL).await;
        }
    }

    /// An application that ends without a word.
    pub(super) async fn die(mut self, name: Name) {
        self.register(&name).await;
        for _ in 0..self.random.u32(1..8) {
            tokio::time::sleep(BEAT_INTERVAL).await;
            self.beat(&name, false).await;
        }
        self.ledger.borrow_mut().died(&name, now());
    }

    /// An application that comes and goes.
    pub(super) async fn come_and_go(mut self, name: Name) {
        loop {
            self.pause(1_000..4_000).await;
            if self.ledger.borrow().is_quiet {
                continue;
            }
            self.register(&name).await;
            for _ in 0..self.random.u32(0..3) {
                self.pause(500..3_000).await;
                self.beat(&name, true).await;
            }
            self.pause(1_000..3_000).await;
            self.deregister(&name).await;
        }
    }

    /// Reads lists of members in reach, one after the other, and holds them against the truth.
    pub(super) async fn read(mut self, services: Vec<String>) {
        loop {
            self.pause(50..150).await;
            let member = self.members[self.random.usize(..self.members.len())];
            let service = &services[self.random.usize(..services.len())];
            let is_in_reach = {
                let ledger = self.ledger.borrow();
                ledger.truth.is_in_reach(self.side, member) && ledger.truth.is_ready(member)
            };
            if is_in_reach {
                self.look(member, service).await;
            }
        }
    }

    /// One look at one list; whether there was an answer.
    pub(super) async fn look(&mut self, member: usize, service: &str) -> bool {
        let since = now();
        let Ok((200, body)) = self.call(member, "GET", &list_target(service)).await else {
            return false;
        };
        let list: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut ledger = self.ledger.borrow_mut();
        match hosts_of(&list) {
            Some(hosts) => ledger.check_list(member, service, since, now(), &hosts),
            None => ledger.violation(&format!("member {member}: no list: {list}")),
        }
        true
    }

    /// Whenever a member starts, asks it again and again whether it is ready, and for lists all the
    /// while: whoever answers must know.
    pub(super) async fn watch_start(mut self, member: usize, services: Vec<String>) {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let is_starting = {
                let truth = &self.ledger.borrow().truth;
                truth.is_running(member) && !truth.is_ready(member)
            };
            if !is_starting {
                continue;
            }
            let service = &services[self.random.usize(..services.len())];
            let has_answered = self.look(member, service).await;
            let ready = self.call(member, "GET", "console/health/readiness").await;
            if has_answered || matches!(ready, Ok((200, _))) {
                self.ledger.borrow_mut().truth.note_ready(member, now());
            }
        }
    }

    /// Is told of changes of a service by one member, over UDP.
    pub(super) async fn subscribe(mut self, member: usize, service: String) -> turmoil::Result {
        let socket = turmoil::net::UdpSocket::bind("0.0.0.0:0").await?;
        let target = format!("{}&udpPort={}", list_target(&service), socket.local_addr()?.port());
        let mut buffer = vec![0; 65_536];
        loop {
            // A member that restarts has forgotten who listens.
            let is_ready = self.ledger.borrow().truth.is_ready(member);
            if is_ready {
                let _ = self.call(member, "GET", &target).await;
            }
            let until = tokio::time::Instant::now() + Duration::from_secs(10);
            while let Ok(received) =
                tokio::time::timeout_at(until, socket.recv_from(&mut buffer)).await
            {
                let (length, source) = received?;
                let Some((id, list)) = super::push::open(&buffer[..length]) else {
                    self.ledger.borrow_mut().violation("a packet that is no push");
                    continue;
                };
                let ack = format!(r#"{{"type":"push-ack","lastRefTime":"{id}","data":""}}"#);
                socket.send_to(ack.as_bytes(), source).await?;
                if let Some(list) = list {
                    self.ledger.borrow_mut().check_push(member, &service, &list, now());
                }
            }
        }
    }
}

/// A number that stands for the part of an answer that is the same in every run: not the time of
/// the day.
fn digest(body: &[u8]) -> String {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    if let Some(object) = value.as_object_mut() {
        object.remove("lastRefTime");
    }
    let mut hasher = std::hash::BuildHasher::build_hasher(&FixedState::with_seed(0));
    hasher.write(value.to_string().as_bytes());
    format!("{:016x}", hasher.finish())
}
