//! Several servers of this process as members of one cluster.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use naming_server::{ClusterConfig, Config, DataConfig, DurableConfig};
use serde_json::Value;
use tempfile::TempDir;

use super::{TestServer, wait_for};

pub(crate) const READY: &str = "/nacos/v1/console/health/readiness";

/// Of one cluster, so that 31 fit into the last part of an address.
const MOST_MEMBERS: u8 = 8;

/// Members of a cluster, each on a loopback address of its own, so that any can be started again
/// where it was.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    network: [u8; 3],
    pub(crate) members: Vec<Option<TestServer>>,
    durable: DurableConfig,
    /// Whether nobody is given up while the machine is busy.
    is_patient: bool,
}

impl Cluster {
    /// Starts so many and waits until they are ready.
    pub(crate) fn start(count: u8) -> Self {
        Self::start_durable(count, DurableConfig::default())
    }

    /// The same with other rules for durable data.
    pub(crate) fn start_durable(count: u8, durable: DurableConfig) -> Self {
        Self::start_as(count, durable, false)
    }

    /// The same whose members wait for each other for as long as tests do: for what holds only
    /// while owners stay and answer.
    pub(crate) fn start_patient(count: u8) -> Self {
        Self::start_as(count, DurableConfig::default(), true)
    }

    fn start_as(count: u8, durable: DurableConfig, is_patient: bool) -> Self {
        /// Tests of this process run at the same time.
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let process = std::process::id();
        let [low, high] = [process % 250, process / 250 % 250].map(|part| part as u8);
        let mut cluster = Self {
            folder: tempfile::tempdir().unwrap(),
            network: [low + 1, high, NEXT.fetch_add(1, Ordering::Relaxed)],
            members: Vec::new(),
            durable,
            is_patient,
        };
        std::fs::write(cluster.secret_file(), "a secret of thirty-two characters or more").unwrap();
        cluster.list(0..count);
        for member in 0..count {
            let server = TestServer::start_at(cluster.config(member));
            cluster.members.push(Some(server));
        }
        // With nobody, the test starts members in its own way.
        if count > 0 {
            cluster.wait_until_ready();
        }
        cluster
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// Is not there unless a test writes it.
    pub(crate) fn previous_secret_file(&self) -> PathBuf {
        self.folder.path().join("secret.previous")
    }

    pub(crate) fn list_file(&self) -> PathBuf {
        self.folder.path().join("cluster.conf")
    }

    pub(crate) fn ip(&self, member: u8) -> String {
        let [a, b, c] = self.network;
        // The network of a test is that of its process; the last part tells tests apart, too.
        let last = c.checked_mul(MOST_MEMBERS).and_then(|first| first.checked_add(member + 1));
        format!("127.{a}.{b}.{}", last.expect("few clusters in one process"))
    }

    pub(crate) fn address(&self, member: u8) -> String {
        format!("{}:8848", self.ip(member))
    }

    /// Writes the list of members as an editor does.
    pub(crate) fn list(&self, members: impl Iterator<Item = u8>) {
        let lines: String = members.map(|member| self.address(member) + "\n").collect();
        let fresh = self.folder.path().join("cluster.conf.new");
        std::fs::write(&fresh, lines).unwrap();
        std::fs::rename(fresh, self.list_file()).unwrap();
    }

    pub(crate) fn config(&self, member: u8) -> Config {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let patient = |ms: u64| if self.is_patient { 20_000 } else { ms };
        Config {
            bind: self.ip(member),
            port: 8848,
            cluster: ClusterConfig {
                members_file: text(&self.list_file()),
                secret_file: text(&self.secret_file()),
                previous_secret_file: text(&self.previous_secret_file()),
                // Quicker than in earnest, so that tests are.
                probe_period_ms: 200,
                suspicious_after_ms: patient(600),
                down_after_ms: patient(1_500),
                forward_deadline_ms: patient(ClusterConfig::default().forward_deadline_ms),
                verify_period_ms: 500,
                alone_after_ms: 1_000,
                empty_start_ms: 300,
                ..ClusterConfig::default()
            },
            data: DataConfig::at(self.data_folder(member)),
            durable: self.durable.clone(),
            ..Config::default()
        }
    }

    pub(crate) fn data_folder(&self, member: u8) -> PathBuf {
        self.folder.path().join(format!("data-{member}"))
    }

    pub(crate) fn member(&self, member: u8) -> &TestServer {
        self.members[usize::from(member)].as_ref().unwrap()
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = &TestServer> {
        self.members.iter().flatten()
    }

    pub(crate) fn take(&mut self, member: u8) -> TestServer {
        self.members[usize::from(member)].take().unwrap()
    }

    pub(crate) fn restart(&mut self, member: u8) {
        let mut server = Err(String::new());
        wait_for("the address is free", || {
            server = TestServer::try_start_at(self.config(member));
            server.is_ok()
        });
        self.members[usize::from(member)] = Some(server.unwrap());
    }

    /// Waits until all are ready and know it of each other: each service has one owner.
    pub(crate) fn wait_until_ready(&self) {
        const SLOTS: f64 = 1_024.0;
        wait_for("all are ready", || {
            let count = self.alive().count();
            let is_ready = |server: &TestServer| {
                server.get(READY).status == 200
                    && states(server).iter().filter(|state| *state == "UP").count() == count
            };
            let owned = |server| number(&metric(server, "distro_owned_slots"));
            self.alive().all(is_ready) && self.alive().map(owned).sum::<f64>() == SLOTS
        });
    }

    /// Waits until all hold the same.
    pub(crate) fn wait_until_equal(&self) {
        wait_for("all hold the same", || {
            let mut digests: Vec<String> = self.alive().map(digest).collect();
            digests.dedup();
            digests.len() == 1
        });
    }
}

pub(crate) fn states(server: &TestServer) -> Vec<String> {
    let nodes = server.get("/nacos/v1/core/cluster/nodes").json();
    let state = |node: &Value| node["state"].as_str().unwrap().to_owned();
    nodes["data"].as_array().unwrap().iter().map(state).collect()
}

pub(crate) fn metric(server: &TestServer, name: &str) -> String {
    let page = server.get("/metrics").expect(200);
    let line = page.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
}

/// What stands behind the name of a metric.
fn number(line: &str) -> f64 {
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

pub(crate) fn digest(server: &TestServer) -> String {
    metric(server, "distro_digest")
}
