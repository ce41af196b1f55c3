//! Carries out the steps of one story.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::connection::{Answer, Connection, health_check, server_check};
use super::latitude::{self, Direction};
use super::payload::{Incoming, Outgoing};
use super::sdk;
use super::step::{ExpectClose, ExpectServer, GrpcAction, GrpcStep, How, MessageExpectation};
use super::step::{Open, Request, is_grpc};
use super::template;
use crate::golden_support::json::shown;
use crate::golden_support::report::StepFailure;
use crate::golden_support::runner::{Outcome, Replay, Story, one};
use crate::golden_support::scenario::{Captures, Scenario, Side};
use crate::golden_support::variables;

/// How long the server may take to register a connection.
const SETUP_PATIENCE: Duration = Duration::from_secs(5);
/// So long no ack of a setup comes that none may come of.
const NO_ACK_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at something that has no event.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where stories are replayed.
#[derive(Clone, Debug)]
pub(crate) struct GrpcReplay {
    pub(crate) http: Replay,
    pub(crate) grpc: SocketAddr,
}

impl GrpcReplay {
    /// Runs every step, however the ones before went, and returns those that failed.
    pub(crate) fn run(&self, scenario: &Scenario) -> Vec<StepFailure> {
        let mut story =
            GrpcStory { replay: self, story: Story::new(&self.http), connections: HashMap::new() };
        let mut failures = Vec::new();
        for (part, steps) in [("step", &scenario.steps), ("finally", &scenario.finally)] {
            for (index, step) in steps.iter().enumerate() {
                failures.extend(story.attempt(step, format!("{part} {}", index + 1)));
            }
        }
        failures
    }
}

struct GrpcStory<'a> {
    replay: &'a GrpcReplay,
    story: Story<'a>,
    connections: HashMap<String, Connection>,
}

impl GrpcStory<'_> {
    fn attempt(&mut self, source: &Value, place: String) -> Option<StepFailure> {
        // The steps of a loop are read one by one, when its variable is known.
        let is_loop = source["step"] == "for";
        let step = match is_loop {
            true => Ok(source.clone()),
            false => template::expand(&variables::substitute(source, &self.story.variables)),
        };
        let step = match step {
            Ok(step) if !is_grpc(&step) => return self.story.attempt(&step, place),
            Ok(step) => GrpcStep::parse(&step, self.side()),
            Err(error) => Err(error),
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                let differences = vec![format!("{error}: {}", shown(source))];
                return Some(StepFailure { place, what: String::new(), note: None, differences });
            }
        };
        if step.frame.only.is_some_and(|side| side != self.side()) {
            return None;
        }
        if let GrpcAction::For { var, from, to, steps } = &step.action {
            return self.repeat(var, *from..=*to, steps, &place);
        }
        let differences = self.carry_out(&step).err()?;
        let what = what(source);
        Some(StepFailure { place, what, note: step.frame.note, differences })
    }

    /// The first failure of a loop ends it.
    fn repeat(
        &mut self,
        name: &str,
        values: std::ops::RangeInclusive<u64>,
        steps: &[Value],
        place: &str,
    ) -> Option<StepFailure> {
        let mut failure = None;
        'all: for value in values {
            self.story.variables.insert(name.to_owned(), value.into());
            for (index, step) in steps.iter().enumerate() {
                let place = format!("{place}, {name} = {value}, {}", index + 1);
                failure = self.attempt(step, place);
                if failure.is_some() {
                    break 'all;
                }
            }
        }
        self.story.variables.remove(name);
        failure
    }

    fn carry_out(&mut self, step: &GrpcStep) -> Outcome {
        let now = Instant::now();
        let mark = step.frame.mark.as_deref();
        // The mark of a poll must not be its own beginning, and that of a request of the server is
        // its arrival.
        let begun = match &step.action {
            GrpcAction::PollRequest(poll) => self.story.begin(poll.since.as_deref(), now)?,
            _ => now,
        };
        if let Some(mark) = mark
            && !matches!(step.action, GrpcAction::ExpectServer(_))
        {
            self.story.marks.insert(mark.to_owned(), now);
        }
        match &step.action {
            GrpcAction::Open(open) => self.open(open),
            GrpcAction::Request(request) => self.request(request, now),
            GrpcAction::PollRequest(poll) => self.poll(poll, begun),
            GrpcAction::ExpectServer(expect) => self.expect_server(expect, mark, now),
            GrpcAction::ReplyServer { conn, kind, body } => {
                self.connection(conn)?.reply(kind.as_deref(), body.as_ref()).map_err(one)
            }
            GrpcAction::StreamSend(message) => {
                self.connection(&message.conn)?.send(&outgoing(message)).map_err(one)
            }
            GrpcAction::ExpectNone { conn, kind, ms } => {
                match self.take(conn, kind.as_deref(), *ms)? {
                    Some(message) => {
                        let Incoming { kind, body, .. } = message;
                        Err(one(format!("unexpected {kind}: {}", shown(&body))))
                    }
                    None => Ok(()),
                }
            }
            GrpcAction::Drain { conn, kind, quiet_ms } => {
                while self.take(conn, kind.as_deref(), *quiet_ms)?.is_some() {}
                Ok(())
            }
            GrpcAction::Acks { conn, acks } => {
                self.connection(conn)?.set_acks(acks.clone());
                Ok(())
            }
            GrpcAction::Close { conn } => {
                self.connection(conn)?.close();
                Ok(())
            }
            GrpcAction::HalfClose { conn } => {
                self.connection(conn)?.half_close();
                Ok(())
            }
            GrpcAction::Abort { conn } => {
                self.connection(conn)?.relay.abort();
                Ok(())
            }
            GrpcAction::Freeze { conn } => {
                self.connection(conn)?.relay.freeze();
                Ok(())
            }
            GrpcAction::ExpectClose(expect) => self.expect_close(expect, now),
            GrpcAction::ExpectOpen { conn } => {
                let connection = self.connection(conn)?;
                match (connection.relay.closed(), connection.inbox.ended()) {
                    (None, None) => Ok(()),
                    (tcp, stream) => Err(one(format!("it ended: TCP {tcp:?}, stream {stream:?}"))),
                }
            }
            GrpcAction::For { .. } => unreachable!("it was carried out by `repeat`"),
        }
    }

    // ---- connections

    fn open(&mut self, open: &Open) -> Outcome {
        let own_ip = || self.story.variables["client.ip"].as_str().unwrap_or_default().to_owned();
        let client_ip = open.client_ip.clone().unwrap_or_else(own_ip);
        let connection = Connection::open(self.replay.grpc, &client_ip, open.acks.clone());
        self.connections.insert(open.conn.clone(), connection.map_err(one)?);
        let name = open.sdk.as_deref().unwrap_or(sdk::DEFAULT);
        let setup = match &open.setup {
            Some(Value::Bool(false)) => None,
            Some(setup) => Some(setup.clone()),
            None => Some(sdk::setup(name).ok_or_else(|| one(format!("no SDK {name}")))?),
        };
        let checks_last = sdk::checks_last(name);
        if open.check && !checks_last {
            self.check_server(open)?;
        }
        if open.stream {
            self.connection(&open.conn)?.open_stream().map_err(one)?;
            if let Some(setup) = &setup {
                self.set_up(open, setup)?;
            }
        }
        if open.check && checks_last {
            self.check_server(open)?;
        }
        let connection = self.connection(&open.conn)?;
        let port = connection.relay.local_port();
        if open.keep_alive {
            connection.keep_alive();
        }
        self.story.variables.insert(format!("{}.port", open.conn), port.into());
        Ok(())
    }

    fn check_server(&mut self, open: &Open) -> Outcome {
        let answer = self.connection(&open.conn)?.call(&server_check(&open.headers));
        let usual =
            || serde_json::from_str(r#"{"type": "ServerCheckResponse"}"#).expect("an expectation");
        let expect = open.expect.check.clone().unwrap_or_else(usual);
        none(self.differences(&expect, &answer, Direction::Answer))?;
        let body = answer.map_or(Value::Null, |answer| answer.body);
        let id = body.get("connectionId").cloned().unwrap_or_default();
        self.story.variables.insert(format!("{}.id", open.conn), id);
        Ok(())
    }

    /// Sends the setup and waits until the connection is registered, as an SDK does.
    fn set_up(&mut self, open: &Open, setup: &Value) -> Outcome {
        let kind = "ConnectionSetupRequest".to_owned();
        let body = setup.to_string().into_bytes();
        let headers = open.headers.clone();
        let message = Outgoing { kind, body, headers, ..Outgoing::default() };
        let connection = self.connection(&open.conn)?;
        connection.send(&message).map_err(one)?;
        let has_abilities = setup.get("abilityTable").is_some_and(|table| !table.is_null());
        let expected = open.expect.ack.as_ref();
        let is_acked = expected.map_or(has_abilities, |ack| !ack.is_null());
        let is_ack = |message: &Incoming| message.kind == "SetupAckRequest";
        if !is_acked {
            let deadline = Instant::now() + SETUP_PATIENCE;
            loop {
                let check = Outgoing { headers: open.headers.clone(), ..health_check() };
                let answer = connection.call(&check);
                if answer.as_ref().is_ok_and(|answer| answer.kind == "HealthCheckResponse") {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(one(format!("not registered in time: {answer:?}")));
                }
                thread::sleep(2 * LOOK_EVERY);
            }
            let wait = if expected.is_some() { NO_ACK_WAIT } else { Duration::ZERO };
            return match connection.inbox.take(is_ack, Instant::now() + wait) {
                Some(ack) if expected.is_some() => {
                    Err(one(format!("unexpected SetupAckRequest {}", shown(&ack.body))))
                }
                _ => Ok(()),
            };
        }
        let ack = connection.inbox.take(is_ack, Instant::now() + SETUP_PATIENCE);
        let ack = ack.ok_or_else(|| one("no SetupAckRequest"))?;
        match expected {
            Some(body) => {
                let body = Some(body.clone());
                let expect = MessageExpectation { body, ..MessageExpectation::default() };
                none(self.differences(&expect, &Ok(ack), Direction::ServerRequest))
            }
            None => Ok(()),
        }
    }

    fn expect_close(&mut self, expect: &ExpectClose, now: Instant) -> Outcome {
        let begun = self.story.begin(expect.since.as_deref(), now)?;
        let deadline = begun + Duration::from_millis(expect.deadline_ms);
        let connection = self.connection(&expect.conn)?;
        let closed = || {
            let tcp = connection.relay.closed().filter(|_| expect.how != How::Stream);
            let stream = connection.inbox.ended().filter(|(status, _)| match expect.how {
                How::Tcp => false,
                How::Stream => true,
                How::Any => status != "OK",
            });
            tcp.map(|(_, at)| at).or_else(|| stream.map(|(_, at)| at))
        };
        let closed_at = loop {
            if let Some(at) = closed() {
                break at;
            }
            if Instant::now() >= deadline {
                return Err(one(format!("still open after {} ms", expect.deadline_ms)));
            }
            thread::sleep(LOOK_EVERY);
        };
        let ended = connection.inbox.ended();
        not_early(closed_at.saturating_duration_since(begun), expect.not_before_ms)?;
        match (&expect.status, ended) {
            (Some(status), Some((ended, _))) => {
                none(status.differences(&ended.into(), &self.story.variables, "status"))
            }
            _ => Ok(()),
        }
    }

    // ---- client to server

    fn request(&mut self, request: &Request, now: Instant) -> Outcome {
        let answer = self.call(request)?;
        if let Some(expect) = &request.expect {
            none(self.differences(expect, &answer, Direction::Answer))?;
        }
        not_early(now.elapsed(), request.not_before_ms)?;
        self.capture(&request.capture, &answer)
    }

    fn poll(&mut self, poll: &Request, begun: Instant) -> Outcome {
        let (Some((every_ms, deadline_ms)), Some(expect)) = (poll.pace(), &poll.expect) else {
            return Err(one("it has no end"));
        };
        let deadline = begun + Duration::from_millis(deadline_ms);
        loop {
            let answer = self.call(poll)?;
            let mut differences = self.differences(expect, &answer, Direction::Answer);
            let left = deadline.saturating_duration_since(Instant::now());
            if differences.is_empty() {
                not_early(begun.elapsed(), poll.not_before_ms)?;
                return self.capture(&poll.capture, &answer);
            }
            if left.is_zero() {
                differences.insert(0, format!("not reached in {deadline_ms} ms:"));
                return Err(differences);
            }
            thread::sleep(left.min(Duration::from_millis(every_ms)));
        }
    }

    fn call(&mut self, request: &Request) -> Result<Answer, Vec<String>> {
        Ok(self.connection(&request.conn)?.call(&outgoing(request)))
    }

    fn capture(&mut self, captures: &Captures, answer: &Answer) -> Outcome {
        match answer {
            Ok(message) => self.story.capture(captures, &message.body),
            Err(_) if captures.is_empty() => Ok(()),
            Err((status, _)) => Err(one(format!("nothing to capture from the status {status}"))),
        }
    }

    // ---- server to client

    fn expect_server(
        &mut self,
        expect: &ExpectServer,
        mark: Option<&str>,
        now: Instant,
    ) -> Outcome {
        let begun = self.story.begin(expect.since.as_deref(), now)?;
        let deadline = begun + Duration::from_millis(expect.deadline_ms);
        let mut differences = vec![format!("no {}", expect.kind)];
        let inbox = std::sync::Arc::clone(&self.connection(&expect.conn)?.inbox);
        let message = inbox.take(
            |message| {
                let is_old = expect.since.is_some() && message.at < begun;
                if message.kind != expect.kind || is_old {
                    return false;
                }
                let found = Ok(message.clone());
                let found = self.differences(&expect.expect, &found, Direction::ServerRequest);
                let is_right = found.is_empty();
                if !is_right {
                    differences = found;
                }
                is_right
            },
            deadline,
        );
        let Some(message) = message else {
            let end = inbox.ended().map_or(String::new(), |(status, _)| format!(" ({status})"));
            let text = format!("no matching request in {} ms{end}; the last:", expect.deadline_ms);
            differences.insert(0, text);
            return Err(differences);
        };
        if let Some(mark) = mark {
            self.story.marks.insert(mark.to_owned(), message.at);
        }
        let outcome = not_early(message.at.saturating_duration_since(begun), expect.not_before_ms)
            .and_then(|()| self.story.capture(&expect.capture, &message.body));
        self.connection(&expect.conn)?.last = Some(message);
        outcome
    }

    fn take(
        &mut self,
        conn: &str,
        kind: Option<&str>,
        ms: u64,
    ) -> Result<Option<Incoming>, Vec<String>> {
        let deadline = Instant::now() + Duration::from_millis(ms);
        let is_wanted = |message: &Incoming| kind.is_none_or(|kind| kind == message.kind);
        Ok(self.connection(conn)?.inbox.take(is_wanted, deadline))
    }

    // ---- the rest

    fn differences(
        &self,
        expect: &MessageExpectation,
        found: &Answer,
        direction: Direction,
    ) -> Vec<String> {
        latitude::differences(expect, found, &self.story.variables, self.side(), direction)
    }

    fn connection(&mut self, name: &str) -> Result<&mut Connection, Vec<String>> {
        self.connections.get_mut(name).ok_or_else(|| one(format!("no connection {name}")))
    }

    fn side(&self) -> Side {
        self.replay.http.side
    }
}

fn outgoing(request: &Request) -> Outgoing {
    Outgoing {
        kind: request.kind.clone(),
        body: request.bytes(),
        headers: request.headers.clone(),
        client_ip: request.client_ip.clone().unwrap_or_default(),
        type_url: request.type_url.clone(),
    }
}

/// A step in few words.
fn what(source: &Value) -> String {
    let parts = ["step", "conn", "type"].map(|key| source[key].as_str().unwrap_or_default());
    parts.join(" ").trim_end().to_owned()
}

fn none(differences: Vec<String>) -> Outcome {
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn not_early(elapsed: Duration, not_before_ms: u64) -> Outcome {
    if elapsed >= Duration::from_millis(not_before_ms) {
        return Ok(());
    }
    let elapsed_ms = elapsed.as_millis();
    Err(one(format!("came after {elapsed_ms} ms, not before {not_before_ms} allowed")))
}
