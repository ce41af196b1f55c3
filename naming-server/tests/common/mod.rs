//! The naming API of a server in this process, for tests that give parameters by name.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::time::{Duration, Instant};

use naming_server::Config;
use serde_json::Value;

#[path = "../server_support/mod.rs"]
pub(crate) mod server_support;

use server_support::TestServer;

/// The health checker of a cluster that nobody configured.
pub(crate) const TCP: &str = r#"{"type":"TCP"}"#;
/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server and its naming API.
pub(crate) struct Site {
    server: TestServer,
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; the status must be 200.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self { server: TestServer::start_with(config) }
    }

    /// Listens on all interfaces, as a server that others reach.
    pub(crate) fn on_all_interfaces() -> Self {
        let config = Config { bind: "0.0.0.0".to_owned(), port: 0, ..Config::default() };
        Self { server: TestServer::start_at(config) }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// Sends `METHOD path` below `/nacos/v1/ns/` with these parameters in the query.
    #[track_caller]
    pub(crate) fn call(&self, request: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call_with("", request, parameters)
    }

    /// Like [`Self::call`], with these lines of a header.
    #[track_caller]
    pub(crate) fn call_with(
        &self,
        headers: &str,
        request: &str,
        parameters: &[(&str, &str)],
    ) -> Answer {
        let (method, path) = request.split_once(' ').expect("METHOD path");
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let query = query.join("&");
        let answer = self.server.send(method, &format!("{path}?{query}"), headers, "");
        Answer { status: answer.status, text: answer.body }
    }

    /// Like [`Self::call`], for what must succeed with `ok`.
    #[track_caller]
    pub(crate) fn ok(&self, request: &str, parameters: &[(&str, &str)]) {
        let answer = self.call(request, parameters);
        assert_eq!((answer.status, &*answer.text), (200, "ok"), "{request} {parameters:?}");
    }

    /// Like [`Self::call`], for what must be refused with this status and a text that has `part`.
    #[track_caller]
    pub(crate) fn refused(
        &self,
        request: &str,
        parameters: &[(&str, &str)],
        status: u16,
        part: &str,
    ) {
        let answer = self.call(request, parameters);
        // Some parameters are refused for their length.
        let about = format!("{request} {parameters:.80?}: {}", answer.text);
        assert_eq!(answer.status, status, "{about}");
        assert!(answer.text.contains(part), "{about}");
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(
        &self,
        request: &str,
        parameters: &[(&str, &str)],
        wanted: impl Fn(&Answer) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(request, parameters);
            if wanted(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "{request} {parameters:?} stays {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Registers an instance on port 80 with more parameters.
pub(crate) fn register(site: &Site, service: &str, ip: &str, more: &[(&str, &str)]) {
    let parameters = [&[("serviceName", service), ("ip", ip), ("port", "80")], more].concat();
    site.ok("POST instance", &parameters);
}

/// The parameters of good cluster settings with some changed or added.
pub(crate) fn cluster<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![
        ("serviceName", "s"),
        ("clusterName", "c1"),
        ("checkPort", "80"),
        ("useInstancePort4Check", "true"),
        ("healthChecker", TCP),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push((name, value));
    }
    parameters
}

/// The names and the count of a service list.
pub(crate) fn names(site: &Site, parameters: &[(&str, &str)]) -> (Vec<String>, u64) {
    let reply = site.call("GET service/list", parameters).json();
    let names = reply["doms"].as_array().unwrap().iter();
    let names = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    (names, reply["count"].as_u64().unwrap())
}
