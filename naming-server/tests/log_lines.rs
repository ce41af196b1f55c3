//! What the network sends gets no line of its own into the log of the program.

mod server_support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use server_support::{send, wait_for};

/// A program whose log can be read when it has ended.
struct Logging {
    child: Child,
    address: SocketAddr,
}

impl Logging {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_naming-server"))
            .args(["--bind", "127.0.0.1", "--port", "0", "--in-memory", "--log-format", "text"])
            .args(["--set", "log.level=trace,hyper=error"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = output.into_iter().find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(')').next().unwrap().parse().ok()
        });
        Self { child, address: address.unwrap() }
    }

    fn call(&self, method: &str, target: &str, headers: &str) -> server_support::Answer {
        send(self.address, method, target, headers, "")
    }

    /// Stops it and gives all that it has logged.
    fn log(mut self) -> String {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        self.child.wait().unwrap();
        log
    }
}

/// A line that says that somebody else did something, with all that ends a line.
const FORGED: &str =
    "x%0A2026-01-31T00:00:00.000000Z%20%20INFO%20audit:%20forged%0D%1B%5B2J%C2%85%E2%80%A8";

#[test]
fn what_is_sent_ends_no_line_of_the_log() {
    let program = Logging::start();
    // An agent may hold characters beyond ASCII, those among them that end a line.
    let agent = "User-Agent: curl\u{85}2026-01-31T00:00:00Z INFO forged\u{2028}forged\r\n";
    program.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=80", agent).expect(200);
    let calls = [
        ("POST", format!("instance?serviceName=s&namespaceId={FORGED}&ip=10.0.0.1&port=80"), 400),
        ("POST", format!("instance?serviceName={FORGED}&ip=10.0.0.1&port=80"), 400),
        ("POST", format!("instance?serviceName=s&ip={FORGED}&port=80"), 400),
        ("POST", format!("instance?serviceName=s&ip=10.0.0.1&port=80&app={FORGED}"), 400),
        ("POST", format!("instance?serviceName=s&ip=10.0.0.1&port=80&clusterName={FORGED}"), 400),
        ("POST", format!("service?serviceName=t&namespaceId={FORGED}"), 400),
        ("PUT", format!("instance?serviceName=s&namespaceId={FORGED}&ip=10.0.0.1&port=80"), 400),
        ("DELETE", format!("service?serviceName=s&namespaceId={FORGED}"), 400),
        ("GET", format!("instance/list?serviceName=s&namespaceId={FORGED}&udpPort=9"), 200),
        ("PUT", format!("operator/switches?entry=masters&value={FORGED}"), 200),
        ("PUT", format!("operator/log?logName={FORGED}&logLevel=info"), 400),
        ("POST", format!("/nacos/v1/console/namespaces?namespaceName={FORGED}"), 400),
    ];
    for (method, target, status) in &calls {
        program.call(method, target, agent).expect(*status);
    }
    wait_for("readiness", || {
        program.call("GET", "/nacos/v1/console/health/readiness", "").status == 200
    });
    let log = program.log();
    assert!(log.contains("forged"), "nothing of what was sent is logged: {log}");
    for line in log.split_terminator(['\n', '\r', '\u{85}', '\u{2028}', '\u{1b}']) {
        let (time, _) = line.split_once(' ').unwrap_or((line, ""));
        let is_ours = time.starts_with("20") && time.ends_with('Z') && time.len() == 27;
        assert!(is_ours && !line.starts_with("2026-01-31T00:00:00"), "{line:?} in {log}");
    }
}

#[test]
fn a_namespace_has_a_rule_like_every_name() {
    let server = server_support::TestServer::start();
    for bad in ["a%0Ab", "%0D", "a%09b", "%1B", "%C2%85", "%E2%80%A8", "%E2%80%AE", "%00"] {
        let at = format!("serviceName=s&ip=10.0.0.1&port=80&namespaceId=x{bad}x");
        let beat = format!("instance/beat?{at}&beat=%7B%22ip%22:%2210.0.0.1%22,%22port%22:80%7D");
        for (method, target) in [
            ("POST", format!("instance?{at}")),
            ("PUT", format!("instance?{at}")),
            ("PUT", beat),
            ("POST", format!("service?{at}")),
        ] {
            let refusal = server.call(method, &target).expect(400);
            assert!(refusal.contains("'namespaceId'"), "{method} {target}: {refusal}");
        }
    }
    for good in ["a%20b", "a.b", "%C3%A9", "%E4%BD%A0%E5%A5%BD", "a%23b"] {
        let target = format!("instance?serviceName=s&ip=10.0.0.1&port=80&namespaceId={good}");
        server.call("POST", &target).expect(200);
    }
}
