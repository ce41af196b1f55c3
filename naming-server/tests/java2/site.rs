//! Java members and members of our kind on loopback addresses of their own.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use naming_server::{ClusterConfig, Config, DataConfig, Hidden, Java2Config};
use serde_json::Value;
use tempfile::TempDir;

use crate::java::Java;
use crate::server_support::{TestServer, send, wait_for};

/// Which third part of the addresses the next site of this process has.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// A cluster of both kinds.
pub(crate) struct Site {
    network: [u8; 2],
    folder: TempDir,
    /// The list of all, as Java servers read it.
    pub(crate) list: Vec<String>,
    /// Which members are of our kind, from the start of the test on.
    ours: Vec<u8>,
    pub(crate) identity: Option<(&'static str, &'static str)>,
}

impl Site {
    /// A site whose members of our kind are these.
    pub(crate) fn new(ours: &[u8]) -> Self {
        // Test programs run beside each other: the process tells their networks apart.
        let process = (std::process::id() % 200) as u8 + 20;
        let network = [process, NEXT.fetch_add(1, Ordering::Relaxed)];
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
        let (list, ours) = (Vec::new(), ours.to_vec());
        Self { network, folder, list, ours, identity: None }
    }

    pub(crate) fn ip(&self, member: u8) -> String {
        let [a, b] = self.network;
        format!("127.{a}.{b}.{member}")
    }

    pub(crate) fn address(&self, member: u8) -> String {
        format!("{}:8848", self.ip(member))
    }

    pub(crate) fn http(&self, member: u8) -> SocketAddr {
        self.address(member).parse().unwrap()
    }

    pub(crate) fn grpc(&self, member: u8) -> SocketAddr {
        format!("{}:9848", self.ip(member)).parse().unwrap()
    }

    /// Writes the list of all members, as Java members and ours have it.
    pub(crate) fn set_list(&mut self, members: &[u8], javas: &[&Java]) {
        self.list = members.iter().map(|member| self.address(*member)).collect();
        let fresh = self.folder.path().join("cluster.conf.new");
        std::fs::write(&fresh, self.list.join("\n")).unwrap();
        std::fs::rename(fresh, self.folder.path().join("cluster.conf")).unwrap();
        javas.iter().for_each(|java| java.set_list(&self.list));
    }

    pub(crate) fn java(&self, member: u8) -> Java {
        Java::start(&self.address(member), &self.list, self.identity)
    }

    pub(crate) fn config(&self, member: u8) -> Config {
        let text = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let java2 = Java2Config {
            members_file: text("cluster.conf"),
            identity_key: self.identity.map_or("", |(name, _)| name).to_owned(),
            identity_value: Hidden(self.identity.map_or("", |(_, value)| value).to_owned()),
            ..Java2Config::default()
        };
        let ours: Vec<_> = self.ours.iter().map(|member| self.address(*member)).collect();
        let is_cluster = ours.len() > 1;
        let cluster = ClusterConfig {
            members: if is_cluster { ours.join(",") } else { String::new() },
            secret_file: if is_cluster { text("secret") } else { String::new() },
            probe_period_ms: 200,
            suspicious_after_ms: 600,
            down_after_ms: 1_500,
            verify_period_ms: 500,
            alone_after_ms: 1_000,
            empty_start_ms: 300,
            java2,
            ..ClusterConfig::default()
        };
        let data = DataConfig { in_memory: true, ..DataConfig::default() };
        Config { bind: self.ip(member), port: 8848, cluster, data, ..Config::default() }
    }

    /// Starts one of our kind; returns when its ports are open.
    pub(crate) fn start(&self, member: u8) -> TestServer {
        let server = TestServer::start_at(self.config(member));
        wait_for("open ports", || TcpStream::connect(self.http(member)).is_ok());
        server
    }

    /// What one of our kind lists of a service: addresses with their health.
    pub(crate) fn listed(&self, member: u8, service: &str) -> Vec<(String, bool)> {
        listed(self.http(member), service)
    }

    pub(crate) fn count(&self, member: u8, service: &str) -> usize {
        self.listed(member, service).len()
    }

    /// An address that this member judges, as the members on the list count.
    pub(crate) fn judged_by(&self, java: &Java, member: u8, host: u8) -> String {
        let wanted = self.address(member);
        let addresses = (8_000..9_000).map(|port| format!("10.1.0.{host}:{port}"));
        addresses.into_iter().find(|tag| java.owner(tag) == wanted).expect("one in a thousand")
    }
}

pub(crate) fn listed(address: SocketAddr, service: &str) -> Vec<(String, bool)> {
    let target = format!("instance/list?serviceName={service}");
    let answer = send(address, "GET", &target, "", "");
    if answer.status != 200 {
        return Vec::new();
    }
    let list: Value = answer.json();
    let hosts = list["hosts"].as_array().cloned().unwrap_or_default();
    let mut hosts: Vec<_> = hosts
        .iter()
        .map(|host| {
            let address = format!("{}:{}", host["ip"].as_str().unwrap(), host["port"]);
            (address, host["healthy"] == true)
        })
        .collect();
    hosts.sort();
    hosts
}

/// Waits until `condition` holds, and says how long that took.
pub(crate) fn time_until(what: &str, condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    wait_for(what, condition);
    began.elapsed()
}
