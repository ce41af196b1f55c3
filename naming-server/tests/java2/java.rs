//! A stand-in for a member of Nacos 2.5: data of each client, a change told a second later, clients
//! vouched for every 5 s, clients that beat shared by their addresses. What the real one takes with a
//! yes and stumbles over later is noted as a stumble.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::http::{HttpAnswerer, Passed};
use crate::wire::{Answerer, serve};

const SYNC_DELAY: Duration = Duration::from_secs(1);
const VERIFY_PERIOD: Duration = Duration::from_secs(5);
const REPORT_PERIOD: Duration = Duration::from_secs(2);
const LOOK_PERIOD: Duration = Duration::from_millis(100);
const UNHEALTHY_AFTER: Duration = Duration::from_secs(15);
const GONE_AFTER: Duration = Duration::from_secs(30);
const CALL_TIME: Duration = Duration::from_secs(3);
const RESOURCE: &str = "Nacos:Naming:v2:ClientData";

/// A Java member.
pub(crate) struct Java {
    pub(crate) address: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

pub(crate) struct Shared {
    own: String,
    state: Mutex<State>,
    is_frozen: AtomicBool,
    identity: Option<(String, String)>,
    is_before_2_3: bool,
}

#[derive(Default)]
struct State {
    list: Vec<String>,
    /// Failures in a row of each other member.
    failures: BTreeMap<String, u32>,
    clients: BTreeMap<String, Held>,
    /// What the real one would stumble over.
    stumbles: Vec<String>,
    is_loaded: bool,
    /// Writes that came over HTTP.
    passed: Vec<Passed>,
    /// What a VERIFY of each client has come to: how often yes, and how often no.
    verified: BTreeMap<String, (usize, usize)>,
}

#[derive(Clone)]
struct Held {
    data: Value,
    is_own: bool,
    heard: Instant,
    /// When it changed, if the others have not been told.
    changed: Option<Instant>,
}

impl Java {
    /// Starts a member with this list. With `from` it loads everything from that member first.
    pub(crate) fn start(address: &str, list: &[String], identity: Option<(&str, &str)>) -> Self {
        Self::start_as(address, list, identity, false)
    }

    /// The same of a version before 2.3, which says nothing of abilities.
    pub(crate) fn start_before_2_3(address: &str, list: &[String]) -> Self {
        Self::start_as(address, list, None, true)
    }

    fn start_as(
        address: &str,
        list: &[String],
        identity: Option<(&str, &str)>,
        is_before_2_3: bool,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let identity = identity.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shared = Arc::new(Shared {
            own: address.to_owned(),
            state: Mutex::new(State { list: list.to_vec(), ..State::default() }),
            is_frozen: AtomicBool::new(false),
            identity,
            is_before_2_3,
        });
        let listener = runtime.block_on(async {
            tokio::net::TcpListener::bind(cluster_address(address)).await.unwrap()
        });
        runtime.spawn(serve(listener, Arc::clone(&shared)));
        let listener =
            runtime.block_on(async { tokio::net::TcpListener::bind(address).await.unwrap() });
        runtime.spawn(crate::http::serve(listener, Arc::clone(&shared)));
        runtime.spawn(Arc::clone(&shared).run());
        Self { address: address.to_owned(), shared, runtime: Some(runtime) }
    }

    pub(crate) fn set_list(&self, list: &[String]) {
        self.shared.state.lock().list = list.to_vec();
    }

    /// Stops answering and telling, as a process that is stopped.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.shared.is_frozen.store(is_frozen, Relaxed);
    }

    pub(crate) fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// A client of this member publishes these instances, one service each; a batch if there are
    /// several of a service.
    pub(crate) fn publish(&self, id: &str, published: &[(&str, Value)]) {
        let mut state = self.shared.state.lock();
        let revision = match state.clients.get(id) {
            Some(held) => revision_of(&held.data) + 1,
            None => 1,
        };
        let data = client_data(id, revision, published);
        let now = Instant::now();
        let held = Held { data, is_own: true, heard: now, changed: Some(now) };
        state.clients.insert(id.to_owned(), held);
    }

    /// Holds a client of a member that is gone.
    pub(crate) fn adopt(&self, id: &str, published: &[(&str, Value)]) {
        self.shared.take(client_data(id, 1, published));
    }

    /// A connection to this member has ended.
    pub(crate) fn disconnect(&self, id: &str) {
        let removed = self.shared.state.lock().clients.remove(id);
        assert!(removed.is_some(), "{id} is not connected");
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        self.runtime.as_ref().unwrap().spawn(async move {
            tokio::time::sleep(SYNC_DELAY).await;
            shared.tell_all("DELETE", &id, None).await;
        });
    }

    /// Loses a change of health on the way: the data changes, the revision does not, nobody is told.
    pub(crate) fn lose_health(&self, id: &str) {
        let mut state = self.shared.state.lock();
        let held = state.clients.get_mut(id).unwrap();
        held.data["instancePublishInfos"][0]["healthy"] = json!(false);
        held.changed = None;
    }

    /// The writes of clients that others have passed on.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.shared.state.lock().passed.clone()
    }

    /// How often a VERIFY of a client was answered with yes, and with no.
    pub(crate) fn verified(&self, id: &str) -> (usize, usize) {
        self.shared.state.lock().verified.get(id).copied().unwrap_or_default()
    }

    /// The addresses listed in a service, with their health, as the real one lists them: what two
    /// clients publish is one if it is the same in everything.
    pub(crate) fn list(&self, service: &str) -> Vec<(String, bool)> {
        let state = self.shared.state.lock();
        let mut listed = BTreeMap::new();
        for held in state.clients.values() {
            for (name, mut instance) in instances(&held.data) {
                if name == service {
                    let text = format!("{}:{}", instance["ip"].as_str().unwrap(), instance["port"]);
                    let is_healthy = instance["healthy"] == true;
                    let fields = instance.as_object_mut().unwrap();
                    fields.remove("lastHeartBeatTime");
                    listed.insert(instance.to_string(), (text, is_healthy));
                }
            }
        }
        let mut listed: Vec<_> = listed.into_values().collect();
        listed.sort();
        listed
    }

    pub(crate) fn stumbles(&self) -> Vec<String> {
        self.shared.state.lock().stumbles.clone()
    }

    /// Whether another member counts as up.
    pub(crate) fn is_up(&self, member: &str) -> bool {
        self.shared.state.lock().failures.get(member).copied().unwrap_or(0) == 0
    }

    pub(crate) fn owner(&self, tag: &str) -> String {
        self.shared.owner(&self.shared.state.lock(), tag)
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where a member takes the calls of others.
pub(crate) fn cluster_address(member: &str) -> SocketAddr {
    let mut address: SocketAddr = member.parse().unwrap();
    address.set_port(address.port() + 1_001);
    address
}

impl Shared {
    fn owner(&self, state: &State, tag: &str) -> String {
        let is_up = |member: &&String| state.failures.get(*member).copied().unwrap_or(0) < 4;
        let mut members: Vec<_> = state.list.iter().filter(is_up).collect();
        members.sort();
        let hash = tag
            .encode_utf16()
            .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        let slot = (hash % i32::MAX).unsigned_abs() as usize;
        members[slot % members.len()].clone()
    }

    /// Whether this member judges and vouches for a client.
    fn is_responsible(&self, state: &State, id: &str, held: &Held) -> bool {
        match id.strip_suffix("#true") {
            Some(tag) => self.owner(state, tag) == self.own,
            None => held.is_own,
        }
    }

    async fn run(self: Arc<Self>) {
        self.load().await;
        let mut attended = Vec::new();
        loop {
            let list = self.state.lock().list.clone();
            for member in list {
                if member != self.own && !attended.contains(&member) {
                    attended.push(member.clone());
                    tokio::spawn(Arc::clone(&self).attend(member));
                }
            }
            if !self.is_frozen.load(Relaxed) {
                self.judge();
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    async fn load(&self) {
        let others: Vec<_> =
            self.state.lock().list.iter().filter(|m| **m != self.own).cloned().collect();
        for member in others {
            let Some(client) = self.connect(&member).await else { continue };
            let body = json!({"headers": {}, "dataOperation": "SNAPSHOT", "module": "cluster"});
            let Some(reply) = self.call(&client, "DistroDataRequest", body).await else { continue };
            let Some(content) = reply["distroData"]["content"].as_str() else { continue };
            let content: Value =
                serde_json::from_slice(&STANDARD.decode(content).unwrap()).unwrap();
            for data in content["clientSyncDataList"].as_array().unwrap() {
                self.take(data.clone());
            }
            break;
        }
        self.state.lock().is_loaded = true;
    }

    async fn connect(&self, member: &str) -> Option<Client> {
        let socket = tokio::net::TcpStream::connect(cluster_address(member)).await.ok()?;
        let mut client = Client::over(socket, &h2::client::Builder::new()).await?;
        client.open_stream().await;
        let setup = json!({
            "headers": {}, "clientVersion": "Nacos-Server:v2.5.1", "abilityTable": {},
            "labels": {"source": "cluster", "tls.enable": "false"}, "module": "internal",
        });
        client.tell("ConnectionSetupRequest", setup);
        if self.is_before_2_3 {
            tokio::time::sleep(LOOK_PERIOD).await;
            return Some(client);
        }
        let (kind, _) = client.asked().await?;
        assert_eq!(kind, "SetupAckRequest");
        Some(client)
    }

    async fn call(&self, client: &Client, kind: &str, body: Value) -> Option<Value> {
        let headers: Vec<_> =
            self.identity.iter().map(|(name, value)| (&**name, &**value)).collect();
        let call = client.call_with(kind, &headers, body.to_string().into());
        let (kind, reply) = tokio::time::timeout(CALL_TIME, call).await.ok()?.ok()?;
        assert_ne!(kind, "", "an answer has a type");
        Some(reply)
    }

    /// Keeps in touch with one other member.
    async fn attend(self: Arc<Self>, member: String) {
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            if !self.state.lock().list.contains(&member) || self.is_frozen.load(Relaxed) {
                continue;
            }
            let Some(client) = self.connect(&member).await else {
                *self.state.lock().failures.entry(member.clone()).or_default() += 1;
                tokio::time::sleep(REPORT_PERIOD).await;
                continue;
            };
            self.talk(&member, &client).await;
        }
    }

    async fn talk(&self, member: &str, client: &Client) {
        let (mut reported, mut verified) = (None::<Instant>, Instant::now());
        let mut told: BTreeMap<String, i64> = BTreeMap::new();
        let mut health: BTreeMap<String, String> = BTreeMap::new();
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            if self.is_frozen.load(Relaxed) {
                continue;
            }
            if !self.state.lock().list.iter().any(|listed| listed == member) {
                return;
            }
            if reported.is_none_or(|at| at.elapsed() >= REPORT_PERIOD) {
                reported = Some(Instant::now());
                let body = json!({"headers": {}, "node": self.node(), "module": "cluster"});
                let reply = self.call(client, "MemberReportRequest", body).await;
                let failures = &mut self.state.lock().failures;
                let failures = failures.entry(member.to_owned()).or_default();
                if reply.as_ref().is_some_and(|reply| reply["resultCode"] == 200) {
                    *failures = 0;
                } else {
                    *failures += 1;
                    if reply.is_none() {
                        return;
                    }
                }
            }
            let due: Vec<(String, Held)> = {
                let state = self.state.lock();
                let clients = state.clients.iter();
                clients
                    .filter(|(id, held)| self.is_responsible(&state, id, held))
                    .map(|(id, held)| (id.clone(), held.clone()))
                    .collect()
            };
            let is_verify = verified.elapsed() >= VERIFY_PERIOD;
            for (id, held) in due {
                let revision = revision_of(&held.data);
                let look = held.data["instancePublishInfos"].to_string();
                let is_told = told.get(&id) == Some(&revision)
                    && (held.changed.is_none() || health.get(&id) == Some(&look));
                let is_due = held.changed.is_some_and(|at| at.elapsed() >= SYNC_DELAY);
                if !is_told && is_due {
                    if self.tell(client, member, "CHANGE", &id, Some(&held.data)).await {
                        told.insert(id.clone(), revision);
                        health.insert(id, look);
                    }
                } else if is_verify {
                    let content = json!({"clientId": id, "revision": revision});
                    if !self.tell(client, member, "VERIFY", &id, Some(&content)).await {
                        self.tell(client, member, "CHANGE", &id, Some(&held.data)).await;
                    }
                }
            }
            if is_verify {
                verified = Instant::now();
            }
        }
    }

    async fn tell_all(&self, operation: &str, id: &str, content: Option<&Value>) {
        let others: Vec<_> =
            self.state.lock().list.iter().filter(|m| **m != self.own).cloned().collect();
        for member in others {
            if let Some(client) = self.connect(&member).await {
                self.tell(&client, &member, operation, id, content).await;
            }
        }
    }

    async fn tell(
        &self,
        client: &Client,
        to: &str,
        operation: &str,
        id: &str,
        content: Option<&Value>,
    ) -> bool {
        let mut data = json!({
            "distroKey": {"resourceKey": id, "resourceType": RESOURCE, "targetServer": to},
            "type": operation,
        });
        if let Some(content) = content {
            data["content"] = STANDARD.encode(content.to_string()).into();
        }
        let body = json!({
            "headers": {}, "distroData": data, "dataOperation": operation, "module": "cluster",
        });
        let reply = self.call(client, "DistroDataRequest", body).await;
        reply.is_some_and(|reply| reply["resultCode"] == 200)
    }

    fn node(&self) -> Value {
        let (ip, port) = self.own.rsplit_once(':').unwrap();
        json!({
            "ip": ip, "port": port.parse::<u16>().unwrap(), "state": "UP", "address": self.own,
            "extendInfo": {"version": "2.5.1", "raftPort": "7848", "readyToUpgrade": true},
            "failAccessCnt": 0, "grpcReportEnabled": true,
            "abilities": {"remoteAbility": {"supportRemoteConnection": true,
                "grpcReportEnabled": true}},
        })
    }

    /// Silent clients that beat, and are this member's, become unhealthy and go.
    fn judge(&self) {
        let mut state = self.state.lock();
        let ids: Vec<_> =
            state.clients.keys().filter(|id| id.ends_with("#true")).cloned().collect();
        for id in ids {
            let held = state.clients[&id].clone();
            if !self.is_responsible(&state, &id, &held) {
                continue;
            }
            let silent = held.heard.elapsed();
            let held = state.clients.get_mut(&id).unwrap();
            if silent >= GONE_AFTER {
                for name in ["namespaces", "groupNames", "serviceNames", "instancePublishInfos"] {
                    held.data[name] = json!([]);
                }
                held.changed.get_or_insert_with(Instant::now);
            } else if silent >= UNHEALTHY_AFTER
                && let Some(infos) = held.data["instancePublishInfos"].as_array_mut()
            {
                for info in infos.iter_mut().filter(|info| info["healthy"] == true) {
                    info["healthy"] = json!(false);
                    held.changed = Some(Instant::now());
                }
            }
        }
    }

    /// Takes what another member tells of a client.
    fn take(&self, mut data: Value) -> Option<String> {
        let id = data["clientId"].as_str()?.to_owned();
        let mut state = self.state.lock();
        let is_batch = data["batchInstanceData"]["namespaces"].is_array();
        if self.is_before_2_3
            && !is_batch
            && let Some(known) = state.clients.get(&id)
        {
            // It keeps what it was told of first.
            data["attributes"] = known.data["attributes"].clone();
        }
        if let Some(stumble) = stumble(&data) {
            state.stumbles.push(format!("{id}: {stumble}"));
        }
        let held = Held { data, is_own: false, heard: Instant::now(), changed: None };
        state.clients.insert(id.clone(), held);
        Some(id)
    }

    fn operate(&self, body: &Value) -> Value {
        let failed = json!({"resultCode": 500, "errorCode": 500, "success": false,
            "message": "handle distro request with exception"});
        let ok = json!({"resultCode": 200, "errorCode": 0, "success": true});
        if body["dataOperation"] == "SNAPSHOT" {
            let state = self.state.lock();
            if !state.is_loaded {
                return failed;
            }
            let all: Vec<_> = state.clients.values().map(|held| held.data.clone()).collect();
            let content = STANDARD.encode(json!({"clientSyncDataList": all}).to_string());
            let mut reply = ok;
            reply["distroData"] = json!({"distroKey": {"resourceKey": "SNAPSHOT",
                "resourceType": RESOURCE}, "content": content});
            return reply;
        }
        let data = &body["distroData"];
        let content = data["content"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let content: Value =
            content.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let key = data["distroKey"]["resourceKey"].as_str().unwrap_or_default();
        match data["type"].as_str().unwrap_or_default() {
            "ADD" | "CHANGE" => match self.take(content) {
                Some(_) => ok,
                None => failed,
            },
            "DELETE" => {
                self.state.lock().clients.remove(key);
                ok
            }
            "VERIFY" => {
                let mut state = self.state.lock();
                let id = content["clientId"].as_str().unwrap_or_default();
                let revision = content["revision"].as_i64().unwrap_or(0);
                let known = state.clients.get_mut(id);
                let is_known = known.is_some_and(|held| {
                    let agrees = revision == 0 || revision_of(&held.data) == revision;
                    if agrees {
                        held.heard = Instant::now();
                    }
                    agrees
                });
                let counts = state.verified.entry(id.to_owned()).or_default();
                match is_known {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
                match is_known {
                    true => ok,
                    false => json!({"resultCode": 500, "errorCode": 500, "success": false,
                        "message": "[DISTRO-FAILED] distro data verify failed"}),
                }
            }
            "QUERY" => {
                let state = self.state.lock();
                let mut reply = ok;
                if let Some(held) = state.clients.get(key) {
                    let content = STANDARD.encode(held.data.to_string());
                    reply["distroData"] =
                        json!({"distroKey": data["distroKey"], "content": content});
                }
                reply
            }
            _ => failed,
        }
    }
}

impl Answerer for Shared {
    fn answer(
        &self,
        kind: &str,
        headers: &BTreeMap<String, String>,
        body: &Value,
    ) -> (String, Value) {
        let ok = json!({"resultCode": 200, "errorCode": 0, "success": true});
        let is_of_members = !matches!(kind, "ServerCheckRequest" | "HealthCheckRequest");
        if let Some((name, value)) = self.identity.as_ref().filter(|_| is_of_members)
            && headers.get(name) != Some(value)
        {
            let refused = json!({"resultCode": 500, "errorCode": 403, "success": false});
            return (kind.replace("Request", "Response"), refused);
        }
        let reply = match kind {
            "ServerCheckRequest" => {
                let mut reply = ok;
                reply["connectionId"] = "1_127.0.0.1_1".into();
                if !self.is_before_2_3 {
                    reply["supportAbilityNegotiation"] = true.into();
                }
                reply
            }
            "DistroDataRequest" => self.operate(body),
            "MemberReportRequest" => {
                let address = body["node"]["address"].as_str().unwrap_or_default().to_owned();
                let mut state = self.state.lock();
                if state.list.contains(&address) {
                    state.failures.insert(address, 0);
                }
                let mut reply = ok;
                reply["node"] = self.node();
                reply
            }
            _ => ok,
        };
        (kind.replace("Request", "Response"), reply)
    }

    fn is_frozen(&self) -> bool {
        self.is_frozen.load(Relaxed)
    }

    fn acks_setups(&self) -> bool {
        !self.is_before_2_3
    }
}

impl HttpAnswerer for Shared {
    fn answer_http(&self, request: &Passed) -> (u16, String) {
        if self.is_frozen.load(Relaxed) {
            return (500, "frozen".to_owned());
        }
        let mut state = self.state.lock();
        state.passed.push(request.clone());
        let param = |name: &str| {
            request.params.get(name).map(|value| value.replace("%2B", "+")).unwrap_or_default()
        };
        let tag = format!("{}:{}", param("ip"), param("port"));
        if request.is_of_server && self.owner(&state, &tag) != self.own {
            return (400, "receive invalid redirect request from peer".to_owned());
        }
        if param("ephemeral") == "false" {
            return (200, "ok".to_owned());
        }
        let id = format!("{tag}#true");
        let now = Instant::now();
        match (&*request.method, &*request.path) {
            ("POST", "/nacos/v1/ns/instance") => {
                let port = param("port").parse().unwrap();
                let info = published(&param("ip"), port, true, json!({}));
                let revision = state.clients.get(&id).map_or(0, |held| revision_of(&held.data)) + 1;
                let data = client_data(&id, revision, &[(&param("serviceName"), info)]);
                state
                    .clients
                    .insert(id, Held { data, is_own: true, heard: now, changed: Some(now) });
                (200, "ok".to_owned())
            }
            ("DELETE", "/nacos/v1/ns/instance") => {
                if let Some(held) = state.clients.get_mut(&id) {
                    let revision = revision_of(&held.data) + 1;
                    held.data = client_data(&id, revision, &[]);
                    held.changed = Some(now);
                }
                (200, "ok".to_owned())
            }
            ("PUT", "/nacos/v1/ns/instance/beat") => match state.clients.get_mut(&id) {
                Some(held) => {
                    held.heard = now;
                    (200, r#"{"clientBeatInterval":5000,"code":10200}"#.to_owned())
                }
                None => (200, r#"{"clientBeatInterval":5000,"code":20404}"#.to_owned()),
            },
            _ => (404, String::new()),
        }
    }
}

/// What the real one takes with a yes and fails on later.
fn stumble(data: &Value) -> Option<String> {
    let revision = &data["attributes"]["clientAttributes"]["revision"];
    if revision.as_i64().is_none_or(|revision| i32::try_from(revision).is_err()) {
        return Some(format!("revision {revision}"));
    }
    if !data["batchInstanceData"].is_object() {
        return Some("no batchInstanceData".to_owned());
    }
    for (service, instance) in instances(data) {
        let Some(datum) = instance["extendDatum"].as_object() else {
            return Some(format!("{service}: extendDatum {}", instance["extendDatum"]));
        };
        let weight = datum.get("publishInstanceWeight");
        if weight.is_some_and(|weight| !weight.is_f64()) {
            return Some(format!("{service}: weight {weight:?}"));
        }
        if datum.get("publishInstanceEnable").is_some_and(|enabled| !enabled.is_boolean()) {
            return Some(format!("{service}: enabled as text"));
        }
        if service.contains("@@") || !instance["cluster"].is_string() {
            return Some(format!("{service}: a name with its group, or no cluster"));
        }
        if datum.values().any(Value::is_null) {
            return Some(format!("{service}: null in the metadata"));
        }
    }
    None
}

fn instances(data: &Value) -> Vec<(String, Value)> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = array(&data["serviceNames"]);
    let single = names.iter().map(name).zip(array(&data["instancePublishInfos"]));
    let batches = &data["batchInstanceData"];
    let names = array(&batches["serviceNames"]);
    let batches = names.iter().map(name).zip(array(&batches["batchInstancePublishInfos"]));
    let batched = batches.flat_map(|(service, batch)| {
        array(&batch["instancePublishInfos"])
            .into_iter()
            .map(move |instance| (service.clone(), instance))
    });
    single.chain(batched).collect()
}

fn revision_of(data: &Value) -> i64 {
    data["attributes"]["clientAttributes"]["revision"].as_i64().unwrap_or(0)
}

pub(crate) fn published(ip: &str, port: u16, healthy: bool, datum: Value) -> Value {
    json!({
        "ip": ip, "port": port, "healthy": healthy, "cluster": "DEFAULT", "extendDatum": datum,
        "metadataId": format!("{ip}:{port}:DEFAULT"),
    })
}

fn client_data(id: &str, revision: i64, published: &[(&str, Value)]) -> Value {
    let mut services: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (service, instance) in published {
        services.entry(service).or_default().push(instance);
    }
    let (one, many): (Vec<_>, Vec<_>) =
        services.into_iter().partition(|(_, instances)| instances.len() == 1);
    let names = |text: &str, of: usize| vec![text.to_owned(); of];
    let batch = match many.is_empty() {
        true => json!({}),
        false => json!({
            "namespaces": names("public", many.len()),
            "groupNames": names("DEFAULT_GROUP", many.len()),
            "serviceNames": many.iter().map(|(service, _)| service).collect::<Vec<_>>(),
            "batchInstancePublishInfos": many.iter().map(|(_, instances)| json!({
                "port": 0, "healthy": false, "instancePublishInfos": instances,
                "metadataId": "null:0:null",
            })).collect::<Vec<_>>(),
        }),
    };
    json!({
        "clientId": id,
        "attributes": {"clientAttributes": {"revision": revision}},
        "namespaces": names("public", one.len()),
        "groupNames": names("DEFAULT_GROUP", one.len()),
        "serviceNames": one.iter().map(|(service, _)| service).collect::<Vec<_>>(),
        "instancePublishInfos": one.iter().map(|(_, instances)| instances[0]).collect::<Vec<_>>(),
        "batchInstanceData": batch,
    })
}
