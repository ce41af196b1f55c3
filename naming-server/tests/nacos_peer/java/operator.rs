//! What it answers to operators, and whom it lets in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, json_text, text};
use super::http::Request;
use super::{Inner, Sight};

/// So long after its start it does not know yet what users may do: up to 15 s.
const ROLES_AFTER: Duration = Duration::from_secs(1);

/// Who may do what, with authentication on.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    /// Name and value of the header by which servers know each other.
    pub(crate) identity: (String, String),
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The servers of Nacos that elect a leader, without whom nobody changes a switch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raft(Arc<Mutex<Voters>>);

#[derive(Debug, Default)]
struct Voters {
    all: BTreeSet<String>,
    alive: BTreeSet<String>,
}

impl Raft {
    pub(super) fn join(&self, own: &str) {
        let mut voters = self.0.lock().unwrap();
        voters.all.insert(own.to_owned());
        voters.alive.insert(own.to_owned());
    }

    pub(super) fn leave(&self, own: &str) {
        self.0.lock().unwrap().alive.remove(own);
    }

    fn has_leader(&self) -> bool {
        let voters = self.0.lock().unwrap();
        voters.alive.len() * 2 > voters.all.len()
    }
}

impl Inner {
    /// None for what is no affair of operators.
    pub(super) fn answer_operator(&self, request: &Request, path: &str) -> Option<Answer> {
        let wrapped = |data: &Value| {
            json_text(json!({"code": 200, "message": null, "data": data}).to_string())
        };
        Some(match (&*request.method, path) {
            ("GET", "core/cluster/nodes") => wrapped(&self.nodes()),
            ("GET", "core/cluster/self") => wrapped(&self.own_member()),
            ("GET", "console/health/readiness" | "console/health/liveness") => text(200, "OK"),
            ("GET", "ns/operator/switches") => {
                let on = self.state().judges_beats;
                json_text(
                    json!({"name": "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00",
                    "healthCheckEnabled": on})
                    .to_string(),
                )
            }
            ("PUT", "ns/operator/switches") => self.set_switch(request),
            ("GET", "ns/operator/metrics") => json_text(self.counts().to_string()),
            ("POST", "auth/login") => self.log_in(request),
            _ if request.path() == "/nacos/serverlist" => text(404, "no such page"),
            _ => return None,
        })
    }

    fn nodes(&self) -> Value {
        let state = self.state();
        let other = |(address, member): (&String, &super::Member)| {
            let (ip, port) = address.split_once(':').unwrap();
            json!({
                "ip": ip, "port": port.parse::<u16>().unwrap(), "state": member.sight.name(),
                "extendInfo": {}, "address": address, "failAccessCnt": member.failures,
            })
        };
        state.members.iter().map(other).chain([self.own_member()]).collect()
    }

    fn counts(&self) -> Value {
        let state = self.state();
        let instances: usize = state.lists.values().map(Vec::len).sum();
        json!({"status": "UP", "serviceCount": state.lists.len(), "instanceCount": instances})
    }

    /// Of the switches only `check`, at this server alone.
    fn set_switch(&self, request: &Request) -> Answer {
        let is = |name: &str, value: &str| request.parameter(name).as_deref() == Some(value);
        if !is("entry", "check") || !is("debug", "true") {
            self.fault(format!("not a switch that these tests turn: {request:?}"));
            return text(501, "no such switch");
        }
        if !self.raft.has_leader() {
            return text(500, "caused: The Raft Group did not find the Leader node;");
        }
        self.state().judges_beats = is("value", "true");
        text(200, "ok")
    }

    fn log_in(&self, request: &Request) -> Answer {
        let Some(auth) = &self.auth else { return text(403, "unknown user!") };
        let is = |name: &str, value: &str| request.parameter(name).as_deref() == Some(value);
        match is("username", &auth.user) && is("password", &auth.password) {
            true => json_text(json!({"accessToken": self.token(), "tokenTtl": 18_000}).to_string()),
            false => text(403, "unknown user!"),
        }
    }

    /// Good at this server alone, as if every server had a key of its own.
    fn token(&self) -> String {
        format!("token-of-{}", self.own)
    }

    /// Why a request of a client or a switch is refused. Members' routes are open to everybody.
    pub(super) fn refusal(&self, request: &Request, path: &str) -> Option<Answer> {
        let auth = self.auth.as_ref()?;
        let is_secured = path.starts_with("ns/instance") && path != "ns/instance/statuses"
            || (&*request.method, path) == ("PUT", "ns/operator/switches");
        let (name, value) = &auth.identity;
        let is_let_in = request.find_header(name) == value
            || request.parameter("accessToken") == Some(self.token())
                && self.started.elapsed() > ROLES_AFTER;
        (is_secured && !is_let_in).then(|| text(403, "unknown user!"))
    }
}

impl Sight {
    fn name(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Suspicious => "SUSPICIOUS",
            Self::Down => "DOWN",
        }
    }
}
