//! A cluster of stand-ins and servers of this process, and clients of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use naming_server::{
    AuthConfig, ClusterConfig, Config, DataConfig, Dialect, Hidden, NacosConfig, NewUser,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::java::data::{KEY_PREFIX, owner_index};
use crate::java::http::{Request, Response};
use crate::java::{Auth, Java, Pace, Raft, Setup, Sight};
use crate::server_support::TestServer;

/// The user of all clients and operators, where authentication is on.
pub(crate) const USER: &str = "nacos";
pub(crate) const PASSWORD: &str = "a-password";
/// Of one site.
const MOST_MEMBERS: u8 = 10;
/// Of a call of a client.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds, for so long.
#[track_caller]
pub(crate) fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The same, for what takes no certain time.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, condition);
}

pub(crate) fn key(service: &str) -> String {
    format!("{KEY_PREFIX}public##DEFAULT_GROUP@@{service}")
}

pub(crate) fn call(address: &str, method: &str, target: &str) -> Result<Response, String> {
    let target = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("/nacos/v1/ns/{target}"),
    };
    let target = &target;
    let send = |token: Option<&String>| {
        let gap = if target.contains('?') { '&' } else { '?' };
        let target = match token {
            Some(token) => format!("{target}{gap}accessToken={token}"),
            None => target.clone(),
        };
        Request::new(method, target)
            .header("User-Agent", "Nacos-Java-Client:v1.4.8")
            .send(address, CALL_DEADLINE)
    };
    let known = TOKENS.lock().unwrap().get(address).cloned();
    let answer = send(known.as_ref())?;
    match answer.status {
        403 => send(log_in(address).as_ref()),
        _ => Ok(answer),
    }
}

/// A client logs in where it is refused, and keeps the token.
static TOKENS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

fn log_in(address: &str) -> Option<String> {
    let target = format!("/nacos/v1/auth/login?username={USER}&password={PASSWORD}");
    let answer = Request::new("POST", target).send(address, CALL_DEADLINE).ok()?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let token = body["accessToken"].as_str()?.to_owned();
    TOKENS.lock().unwrap().insert(address.to_owned(), token.clone());
    Some(token)
}

/// The instances of a service as a member shows them.
pub(crate) fn hosts(address: &str, service: &str) -> Result<Vec<Value>, String> {
    let answer = call(address, "GET", &format!("instance/list?serviceName={service}"))?;
    let body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    body["hosts"].as_array().cloned().ok_or_else(|| format!("{address}: {answer:?}"))
}

/// How many a member shows; nobody who fails to answer shows any.
pub(crate) fn count(address: &str, service: &str) -> usize {
    hosts(address, service).map_or(0, |hosts| hosts.len())
}

/// Members with numbers, each a stand-in or one of ours, on loopback addresses of their own.
pub(crate) struct Site {
    folder: TempDir,
    network: [u8; 3],
    pace: Pace,
    raft: Raft,
    auth: Option<Auth>,
    lists_differ: Arc<AtomicBool>,
    pub(crate) members: Vec<String>,
    pub(crate) javas: BTreeMap<u8, Java>,
    pub(crate) ours: BTreeMap<u8, TestServer>,
}

impl Site {
    /// The members are listed, and none is started.
    pub(crate) fn new(members: u8, pace: Pace) -> Self {
        /// Tests of this process run at the same time.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let process = std::process::id();
        let [low, high] = [process % 250, process / 250 % 250].map(|part| part as u8);
        let mut site = Self {
            folder: tempfile::tempdir().unwrap(),
            network: [low + 1, high, NEXT.fetch_add(1, Ordering::Relaxed)],
            pace,
            raft: Raft::default(),
            auth: None,
            lists_differ: Arc::default(),
            members: Vec::new(),
            javas: BTreeMap::new(),
            ours: BTreeMap::new(),
        };
        std::fs::write(site.secret_file(), "a secret of thirty-two characters or more").unwrap();
        site.list(0..members);
        site
    }

    /// Stand-ins and then ours, until all see all.
    pub(crate) fn start(javas: u8, ours: u8, pace: Pace) -> Self {
        let mut site = Self::new(javas + ours, pace);
        (0..javas).for_each(|member| site.start_java(member));
        site.wait_until_whole();
        (javas..javas + ours).for_each(|member| site.start_ours(member));
        site.wait_until_whole();
        site
    }

    /// Makes these the members, in the lists of all.
    pub(crate) fn list(&mut self, members: impl Iterator<Item = u8>) {
        self.members = members.map(|member| self.address(member)).collect();
        self.let_lists_differ();
        for member in 0..MOST_MEMBERS {
            self.write_list(member);
        }
        let listed_by = |own: &str| {
            let others = self.members.iter().filter(|member| **member != *own);
            others.cloned().collect::<BTreeSet<String>>()
        };
        for java in self.javas.values() {
            let own = java.address();
            eventually("the stand-in reads its list", || java.others() == listed_by(own));
        }
        for own in self.ours.keys().map(|member| self.address(*member)) {
            eventually("ours reads its list", || {
                let mut nodes = nodes(&own);
                nodes.remove(&own);
                nodes.into_keys().collect::<BTreeSet<_>>() == listed_by(&own)
            });
        }
        // What was under way meanwhile has arrived.
        thread::sleep(Duration::from_millis(500));
        let is_outside = |address: String| !self.members.contains(&address);
        self.lists_differ.store(self.running().any(is_outside), Ordering::SeqCst);
    }

    /// Until the next list is written, members may refuse each other.
    pub(crate) fn let_lists_differ(&self) {
        self.lists_differ.store(true, Ordering::SeqCst);
    }

    /// As the page of the migration has it: a file beside the list, which then takes its place.
    fn write_list(&self, member: u8) {
        let fresh = self.folder.path().join(format!("cluster.conf.{member}.new"));
        std::fs::write(&fresh, self.members.join("\n") + "\n").unwrap();
        std::fs::rename(fresh, self.list_file(member)).unwrap();
    }

    /// Every member has a list of its own.
    pub(crate) fn list_file(&self, member: u8) -> PathBuf {
        self.folder.path().join(format!("cluster.conf.{member}"))
    }

    /// Turns authentication on for all that start from now on.
    pub(crate) fn guard(&mut self) {
        let identity = ("moving".to_owned(), "a value that only servers know".to_owned());
        let (user, password) = (USER.to_owned(), PASSWORD.to_owned());
        self.auth = Some(Auth { identity, user, password });
    }

    fn secret_file(&self) -> String {
        text(&self.folder.path().join("secret"))
    }

    fn ip(&self, member: u8) -> String {
        let [a, b, c] = self.network;
        // Ten of a test, so that those of one of our clusters do not meet them.
        format!("127.{a}.{b}.{}", u16::from(c) * 10 + u16::from(member))
    }

    pub(crate) fn address(&self, member: u8) -> String {
        format!("{}:8848", self.ip(member))
    }

    pub(crate) fn config(&self, member: u8) -> Config {
        Config {
            bind: self.ip(member),
            port: 8848,
            cluster: ClusterConfig {
                dialect: Dialect::Nacos,
                members_file: text(&self.list_file(member)),
                secret_file: self.secret_file(),
                alone_after_ms: 1_000,
                empty_start_ms: 300,
                nacos: self.nacos_config(),
                ..ClusterConfig::default()
            },
            auth: self.auth_config(),
            data: DataConfig::at(self.folder.path().join(format!("data-{member}"))),
            ..Config::default()
        }
    }

    fn nacos_config(&self) -> NacosConfig {
        let Some(Auth { identity: (key, value), .. }) = &self.auth else {
            return NacosConfig::default();
        };
        NacosConfig {
            identity_key: key.clone(),
            identity_value: Hidden(value.clone()),
            ..NacosConfig::default()
        }
    }

    fn auth_config(&self) -> AuthConfig {
        // Signs tokens here and nowhere else.
        let token_key =
            Hidden("dGVzdHMgb2YgbW92aW5nIHdpdGggdXNlcnMsIG5vdGhpbmcgZWxzZQ==".to_owned());
        match self.auth {
            Some(_) => AuthConfig { enabled: true, token_key, ..AuthConfig::default() },
            None => AuthConfig::default(),
        }
    }

    pub(crate) fn start_java(&mut self, member: u8) {
        let java = Java::start(Setup {
            own: self.address(member),
            list_file: self.list_file(member),
            pace: self.pace,
            raft: self.raft.clone(),
            auth: self.auth.clone(),
            lists_differ: Arc::clone(&self.lists_differ),
        });
        self.javas.insert(member, java);
    }

    pub(crate) fn start_ours(&mut self, member: u8) {
        let mut server = Err(String::new());
        eventually("the address is free", || {
            let user = self.auth.as_ref().map(|_| NewUser::new(USER, PASSWORD, true).unwrap());
            server = TestServer::try_start(self.config(member), user.into_iter().collect());
            server.is_ok()
        });
        self.ours.insert(member, server.unwrap());
    }

    /// Waits until everybody sees everybody, and ours serve.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) {
        eventually("all see all", || {
            let running = || self.running().filter(|address| self.members.contains(address));
            let is_seen_by = |java: &Java| {
                let mut others = running().filter(|other| other != java.address());
                others.all(|other| java.sight(&other) == Sight::Up)
            };
            let mut ours = self.ours.keys().map(|member| self.address(*member));
            self.javas.values().all(is_seen_by) && ours.all(|own| sees_as_up(&own, running()))
        });
    }

    /// The addresses of all that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = String> {
        self.javas.keys().chain(self.ours.keys()).map(|member| self.address(*member))
    }

    pub(crate) fn java(&self, member: u8) -> &Java {
        &self.javas[&member]
    }

    /// So many services whose owner among all listed members is this one.
    pub(crate) fn services_of(&self, member: u8, count: usize) -> Vec<String> {
        let owner = self.address(member);
        let mut owners = self.members.clone();
        owners.sort();
        let is_owned = |service: &String| {
            let index = owner_index(&format!("DEFAULT_GROUP@@{service}"), owners.len());
            owners[index] == owner
        };
        (0..).map(|number| format!("s{number}")).filter(is_owned).take(count).collect()
    }

    /// Fails if a stand-in stumbled.
    pub(crate) fn assert_no_fault(&self) {
        self.javas.values().for_each(Java::assert_no_fault);
    }
}

/// Whether one of ours shows all these as up, and itself as ready.
fn sees_as_up(own: &str, mut others: impl Iterator<Item = String>) -> bool {
    let ready = call(own, "GET", "/nacos/v1/console/health/readiness");
    if !matches!(ready, Ok(Response { status: 200, .. })) {
        return false;
    }
    let nodes = nodes(own);
    others.all(|other| nodes.get(&other).is_some_and(|state| state == "UP"))
}

/// The members as a server shows them, with their states.
fn nodes(own: &str) -> BTreeMap<String, String> {
    let Ok(answer) = call(own, "GET", "/nacos/v1/core/cluster/nodes") else {
        return BTreeMap::new();
    };
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let node = |node: &Value| (text(&node["address"]), text(&node["state"]));
    body["data"].as_array().into_iter().flatten().map(node).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
