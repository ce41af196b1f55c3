//! HTTP: plain and TLS on one port, TLS alone, and certificates of clients.

use std::net::SocketAddr;

use naming_server::{ClientAuth, Config, ConsoleConfig, GrpcConfig, TlsConfig, TlsMode};

use crate::pki::{Authority, Site, TlsClient};
use crate::server_support::members::{READY, metric};
use crate::server_support::{TestServer, send, wait_for};

const REGISTER: &str = "/nacos/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80";
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=s";

fn connections(server: &TestServer, port: &str, outcome: &str) -> String {
    let labels = format!("{{port=\"{port}\",outcome=\"{outcome}\"}}");
    let line = metric(server, &format!("naming_tls_connections_total{labels}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn one_port_takes_plain_and_tls() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Compatibility));
    let mut connection = site.client().open(server.address);
    assert_eq!(connection.ask("POST", REGISTER).unwrap().body, "ok");
    assert!(server.get(LIST).body.contains("10.0.0.1"), "a plain client sees it");
    assert_eq!(server.send("POST", &REGISTER.replace("0.1", "0.2"), "", "").body, "ok");
    let listed = connection.ask("GET", LIST).unwrap().body;
    assert!(listed.contains("10.0.0.2"), "the same connection, again: {listed}");
    assert_eq!(connections(&server, "main", "secured"), "1");
    assert_ne!(connections(&server, "main", "plain"), "0");
    assert_eq!(connections(&server, "main", "plain_refused"), "0");
}

#[test]
fn a_large_body_and_a_large_answer_pass_through_tls() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let mut connection = site.client().open(server.address);
    let filler = format!("filler={}", "x".repeat(100_000));
    for number in 0..200 {
        let metadata = "x".repeat(1_000);
        let target = format!("/nacos/v1/ns/instance?serviceName=s&ip=10.0.1.{number}&port=80");
        let target = format!("{target}&metadata=k%3D{metadata}");
        let body = if number % 50 == 0 { &*filler } else { "" };
        assert_eq!(connection.send("POST", &target, body).unwrap().body, "ok");
    }
    let list = connection.ask("GET", LIST).unwrap();
    assert!(list.body.len() > 200_000, "{}", list.body.len());
    assert_eq!(list.json()["hosts"].as_array().unwrap().len(), 200);
}

#[test]
fn a_port_for_tls_alone_tells_plain_clients_so() {
    let site = Site::new();
    let config = site.config(TlsMode::Required);
    let server = TestServer::start_with(config);
    for (method, target) in [("GET", LIST), ("POST", REGISTER), ("PUT", REGISTER)] {
        let answer = send(server.address, method, target, "", "");
        assert_eq!((answer.status, &*answer.body), (400, "this port speaks TLS: use https\n"));
    }
    // The answer is not overtaken by a reset although most of the request was not read.
    let large = "x".repeat(300_000);
    assert_eq!(send(server.address, "POST", LIST, "", &large).status, 400);
    assert!(!site.client().ask(server.address, LIST).unwrap().body.contains("10.0.0.1"));
}

#[test]
fn what_is_neither_tls_nor_http_ends_the_connection() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let garbage = b"\x16\x03\x01\x00\x05hello";
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(crate::pki::PATIENCE)).unwrap();
    std::io::Write::write_all(&mut stream, garbage).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.first().is_none_or(|first| *first == 0x15), "an alert or nothing: {answer:?}");
    let page = site.client().ask(server.address, "/metrics").unwrap().body;
    let failed = "naming_tls_connections_total{port=\"main\",outcome=\"failed\"} 1";
    assert!(page.contains(failed), "{page}");
}

#[test]
fn a_client_that_trusts_another_authority_does_not_connect() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let stranger = TlsClient::new(&Authority::new("others"), None);
    let refused = stranger.ask(server.address, LIST).unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[test]
fn clients_must_show_a_certificate_where_it_is_required() {
    let (site, clients) = (Site::new(), Authority::new("clients"));
    let server = TestServer::start_with(site.asking(ClientAuth::Required, &clients));
    let known = clients.issue("a client", &["client"]);
    let of_others = Authority::new("others").issue("a stranger", &["client"]);
    let with = |identity| TlsClient::new(&site.authority, identity).ask(server.address, READY);
    assert_eq!(with(Some(&known)).unwrap().status, 200);
    let refused = with(None).unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let refused = with(Some(&of_others)).unwrap_err().to_string();
    assert!(refused.contains("UnknownCA") || refused.contains("DecryptError"), "{refused}");
}

#[test]
fn clients_may_show_a_certificate_where_it_is_optional() {
    let (site, clients) = (Site::new(), Authority::new("clients"));
    let server = TestServer::start_with(site.asking(ClientAuth::Optional, &clients));
    let known = clients.issue("a client", &["client"]);
    let of_others = Authority::new("others").issue("a stranger", &["client"]);
    let with = |identity| TlsClient::new(&site.authority, identity).ask(server.address, READY);
    assert_eq!(with(Some(&known)).unwrap().status, 200);
    assert_eq!(with(None).unwrap().status, 200);
    with(Some(&of_others)).expect_err("one that does not hold is worse than none");
}

#[test]
fn the_console_port_has_a_mode_of_its_own() {
    let site = Site::new();
    let port = free_port();
    let config = Config {
        tls: TlsConfig {
            console_mode: Some(TlsMode::Required),
            grpc_mode: Some(TlsMode::Off),
            ..site.tls(TlsMode::Off)
        },
        console: ConsoleConfig { port, ..ConsoleConfig::default() },
        grpc: GrpcConfig { port: Some(0), ..GrpcConfig::default() },
        ..Config::default()
    };
    let server = TestServer::start_with(config);
    let console = SocketAddr::new(server.address.ip(), port);
    let path = "/v3/console/health/readiness";
    wait_for("the console port is served", || {
        site.client().ask(console, path).is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(send(console, "GET", path, "", "").status, 400);
    assert_eq!(server.get(READY).status, 200, "the main port stays plain");
    site.client().ask(server.address, READY).expect_err("and speaks no TLS");
}

/// One that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
