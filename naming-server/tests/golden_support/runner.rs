//! Carries out the steps of one scenario.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare;
use super::http::{self, Endpoint, Reply};
use super::json;
use super::report::{self, StepFailure};
use super::scenario::{
    Action, Captures, Exchange, ExpectPush, Poll, Port, Request, Scenario, Side, Step,
};
use super::udp::{Packet, PushSocket};
use super::variables::{self, Variables};

/// Longest time `drain_push` goes on swallowing packets.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// Where and how scenarios are replayed.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) server: Endpoint,
    /// The port for consoles, if it has one.
    pub(crate) console: Option<Endpoint>,
    /// Headers that go with every request.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) side: Side,
    /// Address under which the server reaches our UDP sockets.
    pub(crate) client_ip: IpAddr,
}

impl Replay {
    /// Our own expectations, from this machine's loopback address.
    pub(crate) fn new(server: Endpoint) -> Self {
        Self {
            server,
            console: None,
            headers: Vec::new(),
            side: Side::Want,
            client_ip: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Runs every step, however the ones before went, and returns those that failed.
    // Stories with gRPC steps are run elsewhere.
    #[allow(dead_code)]
    pub(crate) fn run(&self, scenario: &Scenario) -> Vec<StepFailure> {
        let mut story = Story::new(self);
        let mut failures = Vec::new();
        for (part, steps) in [("step", &scenario.steps), ("finally", &scenario.finally)] {
            for (index, step) in steps.iter().enumerate() {
                failures.extend(story.attempt(step, format!("{part} {}", index + 1)));
            }
        }
        failures
    }
}

/// A socket and the last packet that was expected on it.
struct Subscriber {
    socket: PushSocket,
    last: Option<Packet>,
}

/// What a scenario has gathered so far.
pub(crate) struct Story<'a> {
    replay: &'a Replay,
    pub(crate) variables: Variables,
    pub(crate) marks: HashMap<String, Instant>,
    subscribers: HashMap<String, Subscriber>,
}

/// Nothing, or one line for each difference.
pub(crate) type Outcome = Result<(), Vec<String>>;

impl<'a> Story<'a> {
    pub(crate) fn new(replay: &'a Replay) -> Self {
        let variables =
            [("run", variables::run_token()), ("client.ip", replay.client_ip.to_string())];
        Self {
            replay,
            variables: variables.map(|(name, value)| (name.to_owned(), value.into())).into(),
            marks: HashMap::from([("start".to_owned(), Instant::now())]),
            subscribers: HashMap::new(),
        }
    }

    /// Carries a step out; what went wrong, if anything.
    pub(crate) fn attempt(&mut self, source: &Value, place: String) -> Option<StepFailure> {
        let source = variables::substitute(source, &self.variables);
        let step = match Step::parse(&source, self.replay.side) {
            Ok(step) => step,
            Err(error) => {
                let differences = vec![format!("{error}: {}", json::shown(&source))];
                return Some(StepFailure { place, what: String::new(), note: None, differences });
            }
        };
        if step.only.is_some_and(|side| side != self.replay.side) {
            return None;
        }
        let differences = self.carry_out(&step).err()?;
        Some(StepFailure { place, what: report::summary(&step), note: step.note, differences })
    }

    fn carry_out(&mut self, step: &Step) -> Outcome {
        let now = Instant::now();
        if let Some(mark) = &step.mark {
            self.marks.insert(mark.clone(), now);
        }
        match &step.action {
            Action::Http(exchange) => self.exchange(exchange),
            Action::Poll(poll) => self.poll(poll, now),
            Action::Sleep { ms } => {
                thread::sleep(Duration::from_millis(*ms));
                Ok(())
            }
            Action::SleepUntil { since, ms } => {
                let until = self.mark(since)? + Duration::from_millis(*ms);
                thread::sleep(until.saturating_duration_since(now));
                Ok(())
            }
            Action::Mark => Ok(()),
            Action::OpenUdp { socket } => self.open_udp(socket),
            Action::ExpectPush(push) => self.expect_push(push, now),
            Action::AckPush { socket, ref_as } => {
                let Subscriber { socket, last } = self.subscriber(socket)?;
                let packet = last.as_ref().ok_or_else(|| one("no packet to acknowledge"))?;
                socket.acknowledge(packet, *ref_as).map_err(one)
            }
            Action::ExpectNoPush { socket, ms } => {
                let socket = &self.subscriber(socket)?.socket;
                match socket.receive(Duration::from_millis(*ms)).map_err(one)? {
                    Some(datagram) => Err(one(format!("unexpected push: {}", datagram.shown()))),
                    None => Ok(()),
                }
            }
            Action::DrainPush { socket, quiet_ms } => {
                let socket = &self.subscriber(socket)?.socket;
                let quiet = Duration::from_millis(*quiet_ms);
                while socket.receive(quiet).map_err(one)?.is_some() {
                    if now.elapsed() > DRAIN_LIMIT {
                        return Err(one(format!("packets still come after {DRAIN_LIMIT:?}")));
                    }
                }
                Ok(())
            }
        }
    }

    fn exchange(&mut self, exchange: &Exchange) -> Outcome {
        let reply = self.send(&exchange.request)?;
        if let Some(expect) = &exchange.expect {
            let differences = compare::reply(expect, &reply, &self.variables);
            if !differences.is_empty() {
                return Err(differences);
            }
        }
        self.capture_reply(&exchange.capture, &reply)
    }

    fn poll(&mut self, poll: &Poll, now: Instant) -> Outcome {
        let begun = self.begin(poll.since.as_deref(), now)?;
        let deadline = begun + Duration::from_millis(poll.deadline_ms);
        let (reply, mut differences) = loop {
            let reply = self.send(&poll.request)?;
            let differences = compare::reply(&poll.expect, &reply, &self.variables);
            let left = deadline.saturating_duration_since(Instant::now());
            if differences.is_empty() || left.is_zero() {
                break (reply, differences);
            }
            thread::sleep(left.min(Duration::from_millis(poll.every_ms)));
        };
        if !differences.is_empty() {
            differences.insert(0, format!("not reached in {} ms:", poll.deadline_ms));
            return Err(differences);
        }
        not_early(begun, poll.not_before_ms)?;
        self.capture_reply(&poll.capture, &reply)
    }

    fn expect_push(&mut self, push: &ExpectPush, now: Instant) -> Outcome {
        let begun = self.begin(push.since.as_deref(), now)?;
        let deadline = begun + Duration::from_millis(push.deadline_ms);
        let mut differences = vec!["no packet".to_owned()];
        let packet = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let socket = &self.subscriber(&push.socket)?.socket;
            let Some(datagram) = socket.receive(left).map_err(one)? else {
                let deadline_ms = push.deadline_ms;
                differences.insert(0, format!("no matching push in {deadline_ms} ms; the last:"));
                return Err(differences);
            };
            let packet = datagram.open().map_err(one)?;
            differences = compare::push(push, &packet, &self.variables);
            if differences.is_empty() {
                break packet;
            }
        };
        let outcome = not_early(begun, push.not_before_ms)
            .and_then(|()| self.capture(&push.capture, &packet.outer));
        self.subscriber(&push.socket)?.last = Some(packet);
        outcome
    }

    fn open_udp(&mut self, name: &str) -> Outcome {
        let socket = PushSocket::open(self.replay.client_ip).map_err(one)?;
        let port = socket.port().map_err(one)?;
        self.variables.insert(format!("{name}.port"), port.into());
        self.subscribers.insert(name.to_owned(), Subscriber { socket, last: None });
        Ok(())
    }

    fn send(&self, request: &Request) -> Result<Reply, Vec<String>> {
        let Replay { server, console, headers, .. } = self.replay;
        let endpoint = match request.at {
            None => server,
            Some(Port::Console) => console.as_ref().ok_or_else(|| one("no port for consoles"))?,
        };
        let mut request = request.clone();
        request.headers.extend_from_slice(headers);
        http::send(endpoint, &request).map_err(|error| one(format!("no reply: {error}")))
    }

    fn capture_reply(&mut self, captures: &Captures, reply: &Reply) -> Outcome {
        let mut pointers = Captures::new();
        for (name, source) in captures {
            if let Some(header) = source.strip_prefix("header:") {
                let value = reply.header(header);
                let value = value.ok_or_else(|| one(format!("no header {header}")))?;
                self.variables.insert(name.clone(), value.into());
            } else {
                pointers.insert(name.clone(), source.clone());
            }
        }
        if pointers.is_empty() {
            return Ok(());
        }
        let body = json::parse(&reply.text).map_err(one)?;
        self.capture(&pointers, &body)
    }

    /// Keeps parts of `value` as variables.
    pub(crate) fn capture(&mut self, captures: &Captures, value: &Value) -> Outcome {
        for (name, pointer) in captures {
            let found = value.pointer(pointer).ok_or_else(|| one(format!("no {pointer}")))?;
            self.variables.insert(name.clone(), found.clone());
        }
        Ok(())
    }

    /// The moment the times of a step are counted from.
    pub(crate) fn begin(&self, since: Option<&str>, now: Instant) -> Result<Instant, Vec<String>> {
        since.map_or(Ok(now), |since| self.mark(since))
    }

    fn mark(&self, name: &str) -> Result<Instant, Vec<String>> {
        self.marks.get(name).copied().ok_or_else(|| one(format!("no mark {name}")))
    }

    fn subscriber(&mut self, name: &str) -> Result<&mut Subscriber, Vec<String>> {
        self.subscribers.get_mut(name).ok_or_else(|| one(format!("no socket {name}")))
    }
}

/// An outcome of one line.
pub(crate) fn one(difference: impl ToString) -> Vec<String> {
    vec![difference.to_string()]
}

fn not_early(begun: Instant, not_before_ms: u64) -> Outcome {
    let elapsed = begun.elapsed();
    if elapsed < Duration::from_millis(not_before_ms) {
        let elapsed_ms = elapsed.as_millis();
        return Err(one(format!("came after {elapsed_ms} ms, not before {not_before_ms} allowed")));
    }
    Ok(())
}
