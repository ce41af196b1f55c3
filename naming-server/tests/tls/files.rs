//! Certificates that change, and files that are no good.

use naming_server::{Config, TlsMode};

use crate::pki::{Authority, Site, der};
use crate::program::Program;
use crate::server_support::members::{READY, metric};
use crate::server_support::{TestServer, wait_for};

fn number(server: &TestServer, name: &str) -> f64 {
    metric(server, name).rsplit(' ').next().unwrap().parse().unwrap()
}

const TAKEN: &str = "naming_tls_reloads_total{keys=\"tls\",outcome=\"taken\"}";
const REFUSED: &str = "naming_tls_reloads_total{keys=\"tls\",outcome=\"refused\"}";

#[test]
fn a_new_certificate_counts_for_new_connections_and_open_ones_go_on() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Compatibility));
    let mut before = site.client().open(server.address);
    assert_eq!(before.ask("GET", READY).unwrap().status, 200);
    let first = before.shown();
    let second = site.authority.issue("second", &["127.0.0.1"]);
    site.show(&second);
    wait_for("the new certificate", || {
        assert_eq!(before.ask("GET", READY).unwrap().status, 200, "the open connection goes on");
        let mut fresh = site.client().open(server.address);
        fresh.ask("GET", READY).unwrap();
        fresh.shown() == der(&second)
    });
    assert_ne!(first, der(&second));
    assert_eq!(number(&server, TAKEN), 1.0);
    let left = number(&server, "naming_tls_certificate_expiry_seconds{keys=\"tls\"}");
    assert!(left > 365.0 * 86_400.0, "{left}");
}

#[test]
fn files_that_cannot_be_used_change_nothing() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Compatibility));
    let ask = || {
        let mut fresh = site.client().open(server.address);
        assert_eq!(fresh.ask("GET", READY).unwrap().status, 200);
        fresh.shown()
    };
    let first = ask();
    let second = site.authority.issue("second", &["127.0.0.1"]);
    let half = &second.chain[..second.chain.len() / 2];
    for (refused, text) in [(1.0, half), (2.0, ""), (3.0, &*second.chain)] {
        // The last is whole, and the key of another.
        site.write("server.pem", text);
        wait_for("it is refused", || number(&server, REFUSED) == refused);
        assert_eq!(ask(), first);
    }
    site.write("server.key", &second.key);
    wait_for("they fit each other", || ask() == der(&second));
    std::fs::remove_file(site.path("server.key")).unwrap();
    wait_for("one that is missing is refused", || number(&server, REFUSED) >= 4.0);
    assert_eq!(ask(), der(&second));
}

#[test]
fn a_server_does_not_start_with_files_that_it_cannot_use() {
    let site = Site::new();
    let config = || Config { bind: "127.0.0.1".into(), port: 0, ..site.config(TlsMode::Required) };
    let refusal = || TestServer::try_start_at(config()).err().expect("it does not start");
    let good = site.authority.issue("good", &["127.0.0.1"]);
    let other = site.authority.issue("other", &["127.0.0.1"]);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nTUlJ\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, named) in [
        (&*good.chain, &*other.key, "tls.certificate and tls.key"),
        (&good.key, &good.key, "tls.certificate: "),
        (&good.chain, &good.chain, "tls.key: "),
        (&good.chain, encrypted, "the key is encrypted"),
        ("", &good.key, "no certificate in PEM form"),
    ] {
        site.write("server.pem", certificate);
        site.write("server.key", key);
        let text = refusal();
        assert!(text.contains(named), "{text}");
        let lines = good.key.lines().filter(|line| !line.starts_with('-'));
        lines.for_each(|line| assert!(!text.contains(line), "the text shows the key: {text}"));
    }
    std::fs::remove_file(site.path("server.pem")).unwrap();
    assert!(refusal().contains("tls.certificate: cannot read"), "{}", refusal());
}

#[test]
fn new_authorities_of_clients_count_for_new_connections() {
    let (site, old, new) = (Site::new(), Authority::new("old"), Authority::new("new"));
    let server = TestServer::start_with(site.asking(naming_server::ClientAuth::Required, &old));
    let [by_old, by_new] = [&old, &new].map(|authority| authority.issue("a client", &["client"]));
    let client = |identity| crate::pki::TlsClient::new(&site.authority, Some(identity));
    // The same client all the time: what it knows of its session must open nothing, either.
    let (with_old, with_new) = (client(&by_old), client(&by_new));
    assert_eq!(with_old.ask(server.address, READY).unwrap().status, 200);
    with_new.ask(server.address, READY).expect_err("not yet");
    site.write("clients.pem", &(old.pem.clone() + &new.pem));
    wait_for("both", || with_new.ask(server.address, READY).is_ok());
    assert_eq!(with_old.ask(server.address, READY).unwrap().status, 200);
    site.write("clients.pem", &new.pem);
    wait_for("the new one alone", || with_old.ask(server.address, READY).is_err());
    assert_eq!(with_new.ask(server.address, READY).unwrap().status, 200);
}

#[test]
fn the_program_looks_at_its_files_on_sighup_and_says_what_it_uses() {
    let site = Site::new();
    let data = tempfile::tempdir().unwrap();
    let set = |key: &str, value: &str| format!("{key}={value}");
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let settings = [
        set("tls.mode", "required"),
        set("tls.certificate", &path("server.pem")),
        set("tls.key", &path("server.key")),
    ];
    let arguments: Vec<&str> =
        settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let program = Program::start(data.path(), &arguments);
    assert!(program.banner.contains("https://"), "{}", program.banner);
    let port = program.address.port().to_string();
    let probe = |more: &[&str]| {
        let mut probe = std::process::Command::new(env!("CARGO_BIN_EXE_naming-server"));
        probe.args(["--bind", "127.0.0.1", "--port", &port]).args(&arguments);
        probe.args(more).args(["probe", "readiness"]).output().unwrap()
    };
    wait_for("the probe speaks TLS", || probe(&[]).status.success());
    program.signal("HUP");
    let second = site.authority.issue("second", &["127.0.0.1"]);
    site.show(&second);
    program.signal("HUP");
    wait_for("it lives, and has the new certificate", || {
        let mut fresh = site.client().open(program.address);
        assert_eq!(fresh.ask("GET", READY).unwrap().status, 200);
        fresh.shown() == der(&second)
    });
    assert!(probe(&[]).status.success(), "it reads the certificate that is there now");
    // A server that shows another certificate is not taken for the one of these settings.
    let other = Authority::new("others").issue("other", &["127.0.0.1"]);
    let certificate = set("tls.certificate", &site.write("other.pem", &other.chain));
    let key = set("tls.key", &site.write("other.key", &other.key));
    let output = probe(&["--set", &certificate, "--set", &key]);
    assert!(!output.status.success(), "{output:?}");
}
