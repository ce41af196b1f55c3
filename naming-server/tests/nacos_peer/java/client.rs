//! What it answers to clients, and what it passes on to the owner of a service.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, json_text, text};
use super::data::{Instance, KEY_PREFIX, now_ms};
use super::http::{Request, Response, encode};
use super::{Inner, VERSION, strict};

/// How long a redirected write may take.
const REDIRECT_DEADLINE: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) fn answer_client(&self, request: &Request, path: &str) -> Answer {
        let Some(key) = key_of(request) else {
            // Nobody asks a server of Nacos for anything else in these tests.
            self.fault(format!("not a request that Java knows: {request:?}"));
            return text(501, "no such api");
        };
        let list = |key: &str| self.state().lists.get(key).cloned().unwrap_or_default();
        match (&*request.method, path) {
            ("GET", "ns/instance/list") => {
                let host = |instance: &Instance| {
                    json!({
                        "ip": instance.ip, "port": instance.port, "weight": instance.weight,
                        "healthy": instance.healthy, "metadata": instance.metadata,
                    })
                };
                let hosts: Vec<Value> = list(&key).iter().map(host).collect();
                json_text(json!({ "hosts": hosts }).to_string())
            }
            ("POST" | "PUT" | "DELETE", "ns/instance") | ("PUT", "ns/instance/beat") => {
                self.write(request, &key)
            }
            _ => {
                self.fault(format!("not a request that Java knows: {request:?}"));
                text(501, "no such api")
            }
        }
    }

    /// The filter before all writes: only the owner carries them out.
    fn write(&self, request: &Request, key: &str) -> Answer {
        let is_redirected = strict::is_from_server(request);
        if is_redirected {
            let members = self.addresses();
            self.checked("redirect", strict::redirect(request, &members));
        }
        let owner = self.owner(&self.state(), key);
        if owner == self.own {
            return match request.path().ends_with("/beat") {
                true => self.beat(request, key),
                false => self.change(request, key),
            };
        }
        if is_redirected {
            return text(400, "receive invalid redirect request from peer");
        }
        match self.redirect(request).send(&owner, REDIRECT_DEADLINE) {
            Ok(Response { status, body }) => {
                (Response { status, body }, "application/json;charset=UTF-8")
            }
            Err(error) => text(500, error),
        }
    }

    /// All parameters in the query, the headers of the client, and its own over them.
    fn redirect(&self, request: &Request) -> Request {
        let pair = |(name, value): (String, String)| format!("{name}={}&", encode(&value));
        let query: String = request.parameters().into_iter().map(pair).collect();
        let target = format!("{}?{query}encoding=UTF-8&nofix=1", request.path());
        let mut redirected = Request::new(&request.method, target);
        for (name, value) in &request.headers {
            if !name.eq_ignore_ascii_case("content-length") {
                redirected = redirected.header(&name.to_lowercase(), value);
            }
        }
        self.identified(redirected)
            .header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
            .header("client-version", VERSION)
            .header("user-agent", &format!("Nacos-Server:{VERSION}"))
            .header("Request-Source", &self.own)
            .header("Accept-Charset", "UTF-8")
    }

    fn change(&self, request: &Request, key: &str) -> Answer {
        let instance = instance_of(request);
        let mut state = self.state();
        let list = state.lists.entry(key.to_owned()).or_default();
        let others = list.iter().filter(|known| !known.is_same_place(&instance)).cloned();
        let mut list: Vec<Instance> = others.collect();
        if request.method != "DELETE" {
            list.push(instance);
        }
        state.lists.insert(key.to_owned(), list);
        self.changed(&mut state, key);
        text(200, "ok")
    }

    /// A beat of what it does not hold registers it if it says all that is needed.
    fn beat(&self, request: &Request, key: &str) -> Answer {
        let instance = instance_of(request);
        let mut state = self.state();
        let list = state.lists.entry(key.to_owned()).or_default();
        let mut code = 10_200;
        if let Some(known) = list.iter_mut().find(|known| known.is_same_place(&instance)) {
            known.last_beat_ms = now_ms();
            known.healthy = true;
        } else if request.parameter("beat").is_some() {
            list.push(instance);
            self.changed(&mut state, key);
        } else {
            code = 20_404;
        }
        let answer = json!({"clientBeatInterval": 5_000, "code": code, "lightBeatEnabled": true});
        json_text(answer.to_string())
    }
}

/// The key of the list that a request is about.
fn key_of(request: &Request) -> Option<String> {
    let parameter = |name: &str| request.parameter(name).filter(|text| !text.is_empty());
    let service = parameter("serviceName")?;
    let group = parameter("groupName").unwrap_or_else(|| "DEFAULT_GROUP".to_owned());
    let grouped = if service.contains("@@") { service } else { format!("{group}@@{service}") };
    let namespace = parameter("namespaceId").unwrap_or_else(|| "public".to_owned());
    Some(format!("{KEY_PREFIX}{namespace}##{grouped}"))
}

fn instance_of(request: &Request) -> Instance {
    let beat = request.parameter("beat").and_then(|beat| serde_json::from_str(&beat).ok());
    let beat: Value = beat.unwrap_or_default();
    let text = |name: &str, default: &str| {
        let of_beat = match &beat[if name == "clusterName" { "cluster" } else { name }] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        of_beat.or_else(|| request.parameter(name)).unwrap_or_else(|| default.to_owned())
    };
    let metadata: BTreeMap<String, String> =
        serde_json::from_str(&text("metadata", "{}")).unwrap_or_default();
    Instance {
        ip: text("ip", ""),
        port: text("port", "0").parse().unwrap_or_default(),
        weight: text("weight", "1").parse().unwrap_or(1.0),
        healthy: true,
        enabled: text("enabled", "true") == "true",
        cluster: text("clusterName", "DEFAULT"),
        metadata,
        last_beat_ms: now_ms(),
    }
}
