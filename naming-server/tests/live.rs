//! Settings that change while the program runs: its file is written anew, or it gets SIGHUP.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

#[path = "auth_support/mod.rs"]
mod auth_support;

use auth_support::server_support::{Answer, send, wait_for};

const KEY: &str = auth_support::TOKEN_KEY;
const OTHER_KEY: &str = "YW5vdGhlciBrZXkgb2YgdG9rZW5zIGZvciB0aGlzIHRlc3QgYWxvbmU=";

/// The program with a file of settings, in a folder of its own.
struct Site {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Site {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, settings)
    }

    fn start_in(folder: tempfile::TempDir, settings: &str) -> Self {
        let config = folder.path().join("naming.toml");
        fs::write(&config, settings).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let banner = folder.path().join("banner");
        let child = program(&config)
            .args(["--bind", "127.0.0.1", "--port", "0", "--data-dir"])
            .arg(folder.path().join("data"))
            .stdout(fs::File::create(&banner).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let text = || fs::read_to_string(&banner).unwrap();
        wait_for("the banner", || text().contains("docs "));
        let text = text();
        let (_, rest) = text.split_once("listening on ").unwrap();
        let address = rest.split(')').next().unwrap().parse().unwrap();
        Self { folder, child, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As editors and Kubernetes do it: a new file is put in the place of the old one.
    fn write(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    fn hang_up(&self) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    #[track_caller]
    fn wait_for_line(&self, parts: &[&str]) -> String {
        let line = || {
            let log = self.log();
            log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        };
        wait_for(&format!("a line with {parts:?}"), || line().is_some());
        line().unwrap()
    }

    fn call(&self, method: &str, target: &str) -> Answer {
        send(self.address, method, target, "", "")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NAMING_")) {
        command.env_remove(name);
    }
    command.env("XDG_DATA_HOME", "/dev/null").arg("--config").arg(config);
    command
}

fn register(site: &Site, service: &str) -> u16 {
    site.call("POST", &format!("instance?serviceName={service}&ip=10.0.0.1&port=80")).status
}

#[test]
fn a_changed_file_counts_within_seconds_and_what_changed_is_said() {
    let site = Site::start("[registry]\nmax_instances = 1\n");
    assert_eq!(register(&site, "first"), 200);
    assert_ne!(register(&site, "second"), 200, "the limit is reached");
    site.write("naming.toml", "[registry]\nmax_instances = 2\n[grpc]\ndrain_ms = 7\n");
    wait_for("the new limit", || register(&site, "second") == 200);
    let line = site.wait_for_line(&["a setting has changed", "registry.max_instances"]);
    assert!(line.contains("before=\"1\"") && line.contains("after=\"2\""), "{line}");
    site.wait_for_line(&["after a restart only", "grpc.drain_ms"]);
}

#[test]
fn sighup_has_the_settings_read_and_a_server_without_a_file_lives_through_it() {
    let site = Site::start("");
    site.hang_up();
    site.wait_for_line(&["SIGHUP: the settings are the ones in use"]);
    assert_eq!(register(&site, "first"), 200, "it goes on");
    site.write("naming.toml", "[log]\nlevel = \"debug\"\n");
    site.hang_up();
    site.wait_for_line(&["a setting has changed", "log.level"]);
}

#[test]
fn a_bad_file_is_refused_as_a_whole() {
    let site = Site::start("[registry]\nmax_instances = 1\n");
    assert_eq!(register(&site, "first"), 200);
    for (bad, named) in [
        ("[registry]\nmax_instances = 5\n[http]\nmax_connections = 0\n", "http.max_connections"),
        ("[registry]\nmax_instances = 6\nno_such_key = 1\n", "no_such_key"),
        ("[registry]\nmax_instances = ", "naming.toml"),
    ] {
        site.write("naming.toml", bad);
        let line = site.wait_for_line(&["nothing of the new ones is taken", named]);
        assert!(line.contains("WARN"), "{line}");
        assert_ne!(register(&site, "second"), 200, "the old limit counts");
    }
    fs::remove_file(site.path("naming.toml")).unwrap();
    site.wait_for_line(&["nothing of the new ones is taken", "cannot read"]);
    site.write("naming.toml", "[registry]\nmax_instances = 2\n");
    wait_for("the good file", || register(&site, "second") == 200);
}

#[test]
fn limits_of_calls_begin_and_end_while_it_runs() {
    let site = Site::start("");
    let list = || site.call("GET", "instance/list?serviceName=s").status;
    assert!((0..50).all(|_| list() == 200), "there is no limit");
    let limited = "[limits]\nreads_per_second_per_source = 1\nexempt_networks = \"10.0.0.0/8\"\n";
    site.write("naming.toml", limited);
    wait_for("the limit", || (0..20).any(|_| list() == 503));
    let refused = (0..20).find_map(|_| {
        let answer = site.call("GET", "instance/list?serviceName=s");
        (answer.status == 503).then_some(answer.body)
    });
    assert!(refused.unwrap().contains("limits.reads_per_second_per_source"));
    assert_eq!(register(&site, "s"), 200, "writes are counted apart");
    let probe = site.call("GET", "/nacos/v1/console/health/readiness");
    assert_eq!(probe.status, 200, "who watches the server is not counted");
    let page = site.call("GET", "/nacos/metrics").body;
    assert!(page.contains("naming_calls_over_rate_total{kind=\"read\"}"), "{page}");
    assert!(!page.contains("naming_calls_over_rate_total{kind=\"read\"} 0\n"), "{page}");
    site.write("naming.toml", &limited.replace("10.0.0.0/8", "127.0.0.0/8"));
    wait_for("the exemption", || (0..20).all(|_| list() == 200));
}

#[test]
fn the_limit_of_connections_changes() {
    let site = Site::start("");
    let held = TcpStream::connect(site.address).unwrap();
    site.write("naming.toml", "[http]\nmax_connections = 1\n");
    wait_for("the limit", || {
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let request = b"GET /nacos/metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let _ = std::io::Write::write_all(&mut stream, request);
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).is_err() || answer.is_empty()
    });
    drop(held);
    site.write("naming.toml", "");
    wait_for("room", || {
        let ask = || site.call("GET", "/nacos/metrics").status;
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_ok_and(|it| it == 200)
    });
}

#[test]
fn the_list_of_members_changes() {
    let settings = |members: &str| {
        let secret = "0123456789abcdef0123456789abcdef";
        format!("[cluster]\nmembers = \"{members}\"\nsecret = \"{secret}\"\n")
    };
    let site = Site::start(&settings("127.0.0.1:1"));
    let knows = |member: &str| {
        let answer = site.call("GET", "operator/servers");
        answer.status == 200 && answer.body.contains(member)
    };
    wait_for("the first list", || knows("127.0.0.1:1"));
    assert!(!knows("127.0.0.1:2"));
    site.write("naming.toml", &settings("127.0.0.1:1,127.0.0.1:2"));
    wait_for("the second list", || knows("127.0.0.1:2"));
    assert!(!site.log().contains("0123456789abcdef"));
}

#[test]
fn dns_takes_other_settings() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!("[dns]\nport = {port}\n");
    let site = Site::start(&settings);
    register(&site, "orders");
    let ttl = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut message = hickory_proto::op::Message::query();
        let name = hickory_proto::rr::Name::from_ascii("orders.nacos.internal.").unwrap();
        message.add_query(hickory_proto::op::Query::query(name, hickory_proto::rr::RecordType::A));
        socket.send_to(&message.to_vec().unwrap(), ("127.0.0.1", port)).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let answer = hickory_proto::op::Message::from_vec(&answer[..length]).unwrap();
        answer.answers[0].ttl
    };
    assert_eq!(ttl(), 5);
    site.write("naming.toml", &format!("{settings}ttl_s = 77\n"));
    wait_for("the new time", || ttl() == 77);
}

#[test]
fn keys_of_tokens_change_without_an_interruption_and_are_never_logged() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("token.key"), KEY).unwrap();
    let settings = format!(
        "[auth]\nenabled = true\ntoken_key_file = {:?}\nprevious_token_key_file = {:?}\n\
         [log]\nlevel = \"debug\"\n",
        path("token.key"),
        path("previous.key"),
    );
    let config = path("naming.toml");
    fs::write(&config, &settings).unwrap();
    let added = program(&config)
        .args(["user", "add", "--admin", "root", "--data-dir"])
        .arg(path("data"))
        .env("USER_ADD_PASSWORD", "root's password")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(added.success());
    let site = Site::start_in(folder, &settings);
    let log_in = || -> String {
        let target = "/nacos/v1/auth/login?username=root&password=root%27s+password";
        let answer: Value = site.call("POST", target).json();
        answer["accessToken"].as_str().unwrap().to_owned()
    };
    let is_taken = |token: &str| {
        site.call("GET", &format!("service/list?pageNo=1&pageSize=1&accessToken={token}")).status
            == 200
    };
    let first = log_in();
    assert!(is_taken(&first));
    // The key of before is there first, so that no moment is without it.
    site.write("previous.key", KEY);
    site.write("token.key", OTHER_KEY);
    site.wait_for_line(&["the keys of tokens have changed"]);
    let second = log_in();
    assert!(is_taken(&first) && is_taken(&second));
    site.write("token.key", "too short");
    site.wait_for_line(&["the keys of tokens stay as they are"]);
    assert!(is_taken(&first) && is_taken(&second));
    site.write("token.key", OTHER_KEY);
    fs::remove_file(site.path("previous.key")).unwrap();
    wait_for("the end of the first key", || !is_taken(&first));
    assert!(is_taken(&second));
    let log = site.log();
    for secret in [KEY, OTHER_KEY, "too short"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn settings_can_be_checked_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("naming.toml");
    let check = |settings: &str| {
        fs::write(&config, settings).unwrap();
        let output = program(&config).arg("check-config").output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (is_good, text) = check("[dns]\nport = 0\n");
    assert!(is_good, "{text}");
    for (bad, named) in [
        ("[dns]\nsuffix = \"a..b\"\n", "dns.suffix"),
        ("[auth]\nenabled = true\n", "key of tokens"),
        (
            "[tls]\nmode = \"required\"\ncertificate = \"/no/such\"\nkey = \"/no/such\"\n",
            "/no/such",
        ),
        ("[cluster]\nmembers = \"127.0.0.1:1\"\nsecret_file = \"/no/such\"\n", "/no/such"),
    ] {
        let (is_good, text) = check(bad);
        assert!(!is_good && text.contains(named), "{text}");
    }
}
