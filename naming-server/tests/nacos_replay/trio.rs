//! A server of ours between two Java servers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use naming_server::{ClusterConfig, Config, DataConfig, Dialect, NacosConfig, NewUser};
use serde_json::Value;

use super::java::{Java, Request};
use super::server_support::{Answer, TestServer, wait_for};

/// As recorded: two Java servers and, last in order, the member that is none.
pub(crate) const ENDINGS: [&str; 3] = ["21:31848", "22:34848", "23:37848"];
pub(crate) const RECORDED_NETWORK: &str = "127.0.0.";

/// Two Java servers and a server of ours at the recorded places, in another network.
pub(crate) struct Trio {
    pub(crate) network: String,
    pub(crate) java: Vec<Java>,
    pub(crate) ours: TestServer,
    pub(crate) _folder: tempfile::TempDir,
}

impl Trio {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {}, |_| {})
    }

    pub(crate) fn start_with(
        change: impl FnOnce(&mut NacosConfig),
        prepare: impl FnOnce(&[Java]),
    ) -> Self {
        Self::begin(|config| change(&mut config.cluster.nacos), Vec::new(), prepare)
    }

    /// With any settings and these users.
    pub(crate) fn begin(
        change: impl FnOnce(&mut Config),
        users: Vec<NewUser>,
        prepare: impl FnOnce(&[Java]),
    ) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let process = std::process::id();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let network =
            format!("127.{}.{}.", process % 200 + 20, (process / 200 % 8) * 32 + u32::from(next));
        let address = |ending: &str| format!("{network}{ending}");
        let java: Vec<Java> = ENDINGS[..2].iter().map(|e| Java::open(&address(e))).collect();
        prepare(&java);
        let folder = tempfile::tempdir().unwrap();
        let (ip, port) = (address("23"), 37848);
        let mut config = Config {
            bind: ip,
            port,
            cluster: ClusterConfig {
                dialect: Dialect::Nacos,
                members: ENDINGS.map(address).join(","),
                ..ClusterConfig::default()
            },
            data: DataConfig::at(folder.path().join("data")),
            ..Config::default()
        };
        change(&mut config);
        let ours = TestServer::try_start(config, users).unwrap_or_else(|text| panic!("{text}"));
        wait_for("the port is open", || TcpStream::connect(ours.address).is_ok());
        let trio = Self { network, java, ours, _folder: folder };
        wait_for("all are up", || trio.states() == ["UP", "UP", "UP"]);
        trio
    }

    pub(crate) fn states(&self) -> Vec<String> {
        let nodes = self.ours.get("/nacos/v1/core/cluster/nodes").json();
        let nodes = nodes["data"].as_array().unwrap().iter();
        nodes.map(|node| node["state"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn own(&self) -> String {
        format!("{}{}", self.network, ENDINGS[2])
    }

    /// A recorded text in this network, with ours in the place of `target`.
    pub(crate) fn here(&self, text: &str, target: usize) -> String {
        let [own, other] = [2, target].map(|n| format!("{RECORDED_NETWORK}{}", ENDINGS[n]));
        let swapped = text.replace(&own, "\u{0}").replace(&other, &own).replace('\u{0}', &other);
        swapped.replace(RECORDED_NETWORK, &self.network)
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        let mut stream = TcpStream::connect(self.ours.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nHost: h\r\n", request.method, request.target);
        head.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n", request.body.len()));
        for (name, value) in &request.headers {
            let is_ours = ["host", "connection", "content-length"];
            if !is_ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        stream.write_all(&[head.as_bytes(), b"\r\n", &request.body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn peer_call(&self, method: &str, target: &str, body: &str) -> Answer {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("User-Agent", "Nacos-Server:1.4.8"),
            header("Content-Type", "application/json;charset=UTF-8"),
        ];
        let (method, body) = (method.to_owned(), body.as_bytes().to_vec());
        let target = format!("/nacos/v1/{target}");
        self.send(&Request { method, target, headers, body })
    }

    /// Everything that this server holds, without times.
    pub(crate) fn held(&self) -> BTreeMap<String, Value> {
        let all = self.peer_call("GET", "ns/distro/datums", "").expect(200);
        let mut all: BTreeMap<String, Value> = serde_json::from_str(&all).unwrap();
        for datum in all.values_mut() {
            for instance in datum["value"]["instanceList"].as_array_mut().unwrap() {
                instance.as_object_mut().unwrap().remove("lastBeat");
            }
        }
        all
    }

    pub(crate) fn hosts(&self, service: &str) -> Vec<Value> {
        let list = self.ours.get(&format!("instance/list?serviceName={service}")).json();
        list["hosts"].as_array().unwrap().clone()
    }

    /// A service that falls to the member with this number.
    pub(crate) fn service_of(&self, member: usize) -> String {
        let address = format!("{}{}", self.network, ENDINGS[member]);
        let owner = |name: &str| {
            self.ours.call("POST", &format!("service?serviceName={name}"));
            let answer =
                self.ours.get(&format!("operator/distro/server?serviceName={name}")).json();
            answer["responsibleServer"].as_str().unwrap().to_owned()
        };
        (0..100).map(|n| format!("of-{n}")).find(|name| owner(name) == address).unwrap()
    }
}
