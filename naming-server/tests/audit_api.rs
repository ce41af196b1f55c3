//! Who changed what, from where, as the audit file tells.

mod auth_support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use naming_server::{AuditConfig, ClusterConfig, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use auth_support::server_support::{TestServer, send, wait_for};
use auth_support::{Guarded, guarded_config};

/// A server that writes an audit file.
struct Audited {
    folder: TempDir,
    server: TestServer,
}

impl Audited {
    fn start(max_bytes: u64, files: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = text(&folder.path().join("audit.log"));
        let audit = AuditConfig { file, max_bytes, files };
        let server = TestServer::start_with(Config { audit, ..Config::default() });
        Self { folder, server }
    }

    fn file(&self, number: u32) -> PathBuf {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        self.folder.path().join(format!("audit.log{suffix}"))
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.server.get("/metrics").expect(200);
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Sets a switch without effect to a number.
    fn set(&self, number: usize) {
        let target = format!("operator/switches?entry=distroThreshold&value=0.5{number:04}");
        self.server.put(&target).expect(200);
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for so many lines.
fn wait_for_lines(path: &Path, count: usize) -> Vec<Value> {
    wait_for("audit lines", || lines(path).len() >= count);
    let lines = lines(path);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn every_administrative_write_is_taken_down_with_its_outcome() {
    let site = Audited::start(1 << 20, 2);
    let namespaces = "/nacos/v1/console/namespaces";
    let create = format!("{namespaces}?customNamespaceId=dev&namespaceName=Dev");
    let rename = format!("{namespaces}?namespace=dev&namespaceShowName=Dev2");
    let delete = format!("{namespaces}?namespaceId=dev");
    let at = "serviceName=s&ip=10.0.0.1&port=80";
    let cluster = |checker: &str| {
        format!(
            "cluster?serviceName=s&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true\
             &healthChecker={checker}"
        )
    };
    let none = cluster("{%22type%22:%22NONE%22}");
    let bad = cluster("tcp");
    let calls: &[(&str, &str, u16, &str, &str)] = &[
        ("POST", "service?serviceName=s&protectThreshold=0.5", 200, "service_create", "ok"),
        ("POST", "service?serviceName=s", 400, "service_create", "refused"),
        ("PUT", "service?serviceName=s&protectThreshold=0.6", 200, "service_update", "ok"),
        ("PUT", &format!("instance?{at}&weight=2"), 200, "instance_update", "ok"),
        ("PATCH", &format!("instance?{at}&enabled=false"), 200, "instance_patch", "ok"),
        ("PATCH", "api?serviceName=s&ip=10.0.0.2&port=80", 400, "instance_patch", "refused"),
        ("PUT", &none, 200, "cluster_update", "ok"),
        ("PUT", &bad, 400, "cluster_update", "refused"),
        ("PUT", &format!("health/instance?{at}&healthy=false"), 200, "health_update", "ok"),
        (
            "PUT",
            "instance/metadata/batch?serviceName=s&metadata=a%3Db&consistencyType=ephemeral",
            200,
            "metadata_batch_update",
            "ok",
        ),
        (
            "DELETE",
            "instance/metadata/batch?serviceName=s&metadata=a%3Db&consistencyType=ephemeral",
            200,
            "metadata_batch_delete",
            "ok",
        ),
        ("PUT", "operator/switches?entry=check&value=false", 200, "switches_update", "ok"),
        ("PUT", "operator/switches?entry=nope&value=false", 400, "switches_update", "refused"),
        ("PUT", "operator/log?logName=root&logLevel=loud", 400, "log_level", "refused"),
        // Nobody started logging in this process.
        ("PUT", "operator/log?logName=root&logLevel=INFO", 501, "log_level", "failed"),
        ("POST", &create, 200, "namespace_create", "ok"),
        ("POST", &create, 200, "namespace_create", "refused"),
        ("PUT", &rename, 200, "namespace_update", "ok"),
        ("DELETE", &delete, 200, "namespace_delete", "ok"),
        ("DELETE", "service?serviceName=s", 200, "service_delete", "ok"),
    ];
    for (method, target, status, ..) in calls {
        site.server.call(method, target).expect(*status);
    }
    let lines = wait_for_lines(&site.file(0), calls.len());
    for ((_, target, status, action, outcome), line) in calls.iter().zip(&lines) {
        assert_eq!(
            (&line["action"], &line["outcome"], &line["status"]),
            (&json!(action), &json!(outcome), &json!(status)),
            "{target}"
        );
        let time = line["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 27, "{time}");
        assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["server"], site.server.address.to_string());
        assert!(line.get("user").is_none(), "{line}");
    }
    let patched = json!({
        "serviceName": "s", "ip": "10.0.0.1", "port": "80", "enabled": "false",
    });
    assert_eq!(lines[4]["parameters"], patched);
    assert_eq!(lines[6]["parameters"]["healthChecker"], "NONE");
    assert_eq!(lines[7]["parameters"]["healthChecker"], "unreadable");
    let switch = json!({ "entry": "check", "value": "false" });
    assert_eq!(lines[11]["parameters"], switch);
    let counts = ["naming_audit_lines_total", "naming_audit_lines_lost_total"];
    assert_eq!(counts.map(|name| site.metric(name)), [calls.len() as u64, 0]);
}

#[test]
fn neither_reads_nor_clients_are_taken_down() {
    let site = Audited::start(1 << 20, 2);
    let at = "serviceName=s&ip=10.0.0.1&port=80";
    for (method, target) in [
        ("POST", &*format!("instance?{at}")),
        ("PUT", &format!("instance/beat?{at}")),
        ("GET", "instance/list?serviceName=s"),
        ("GET", "operator/switches"),
        ("GET", "/nacos/v1/console/namespaces"),
        ("DELETE", &format!("instance?{at}")),
    ] {
        site.server.call(method, target).expect(200);
    }
    site.set(1);
    let lines = wait_for_lines(&site.file(0), 1);
    assert_eq!(lines[0]["action"], "switches_update");
}

#[test]
fn a_closed_gate_refuses_and_is_told_of() {
    let site = Audited::start(1 << 20, 2);
    site.server.put("operator/switches?entry=overriddenServerStatus&value=DOWN").expect(200);
    site.server.call("DELETE", "service?serviceName=s").expect(503);
    let lines = wait_for_lines(&site.file(0), 2);
    assert_eq!((&lines[1]["outcome"], &lines[1]["status"]), (&json!("refused"), &json!(503)));
}

#[test]
fn no_secret_and_no_endless_text_gets_into_a_line() {
    let site = Audited::start(1 << 20, 2);
    let secret = "hunter2-hunter2";
    let checker = format!(
        "%7B%22type%22:%22MYSQL%22,%22user%22:%22u-{secret}%22,%22pwd%22:%22{secret}%22,\
         %22cmd%22:%22select%201%22%7D"
    );
    let headers = format!(
        "User-Agent: console/1 {}\r\nX-Forwarded-For: 10.9.8.7, \"x\"\r\n\
         Authorization: Bearer {secret}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n",
        "a".repeat(5_000)
    );
    let body = format!(
        "serviceName=s&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true\
         &healthChecker={checker}&accessToken={secret}&password={secret}&username=%0A%22nacos\
         &metadata={}&selector={long}&instances={long}&app={long}",
        "k%3D".to_owned() + &"%0A".repeat(9_000),
        long = "%00".repeat(9_000),
    );
    let server = &site.server;
    let status = server.send("PUT", "cluster", &headers, &body).status;
    let lines = wait_for_lines(&site.file(0), 1);
    let line = &lines[0];
    assert_eq!(line["status"], status);
    let parameters = &line["parameters"];
    assert_eq!(parameters["healthChecker"], "MYSQL");
    assert_eq!(parameters["username"], "\n\"nacos");
    assert_eq!(parameters["metadata"].as_str().unwrap().len(), 200);
    assert_eq!(line["forwardedFor"], "10.9.8.7, \"x\"");
    let agent = line["agent"].as_str().unwrap();
    assert!(agent.starts_with("console/1 aaa") && agent.len() == 200, "{agent}");
    let text = fs::read_to_string(site.file(0)).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.len() < 13_000, "{}", text.len());
}

#[test]
fn full_files_are_put_aside_and_few_are_kept() {
    let site = Audited::start(4_096, 3);
    let count = 100;
    for number in 0..count {
        site.set(number);
    }
    let last = format!("0.5{:04}", count - 1);
    let value = |line: &Value| line["parameters"]["value"].as_str().unwrap().to_owned();
    wait_for("the last line", || lines(&site.file(0)).last().map(value) == Some(last.clone()));
    assert!(!site.file(3).exists());
    let mut numbers = Vec::new();
    for file in (0..3).rev() {
        assert!(fs::metadata(site.file(file)).unwrap().len() <= 4_096);
        numbers.extend(lines(&site.file(file)).iter().map(value));
    }
    let expected: Vec<String> =
        (count - numbers.len()..count).map(|number| format!("0.5{number:04}")).collect();
    assert!(numbers.len() > 20, "{numbers:?}");
    assert_eq!(numbers, expected);
    assert_eq!(site.metric("naming_audit_lines_lost_total"), 0);
}

#[test]
fn refusals_without_end_push_out_nothing_that_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let audit = AuditConfig { file: text(&file), max_bytes: 16_384, files: 2 };
    let site = Guarded::start_with(Config { audit, ..guarded_config() });
    let root = site.root();
    let create = |name: &str| site.ok(&root, "POST ns/service", &[("serviceName", name)]);
    create("first");
    for number in 0..300 {
        // Without credentials, with bad ones, and hung up on before these are known to be bad.
        let target = format!("service?serviceName=s{number}&selector={}", "x".repeat(1_000));
        site.server.call("DELETE", &target).expect(403);
        let bad = format!("{target}&username=u{number}&password=p");
        let mut stream = std::net::TcpStream::connect(site.server.address).unwrap();
        let head = format!("DELETE /nacos/v1/ns/{bad} HTTP/1.1\r\nHost: h\r\n\r\n");
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    }
    create("last");
    let done = |lines: &[Value]| {
        let done = lines.iter().filter(|line| line["outcome"] == "ok");
        done.map(|line| line["parameters"]["serviceName"].clone()).collect::<Vec<_>>()
    };
    let expected = [json!("first"), json!("last")];
    wait_for("the last line", || done(&lines(&file)) == expected);
    let refused = lines(&file).iter().filter(|line| line["outcome"] == "refused").count();
    assert!((1..=20).contains(&refused), "{refused}");
    let bytes: usize = fs::read_to_string(&file).unwrap().lines().map(str::len).sum();
    assert!(bytes < 16_384 / 8 + 1_000, "{bytes}");
    assert!(!folder.path().join("audit.log.1").exists());
    let left_out = || {
        let page = site.server.get("/metrics").expect(200);
        let name = "naming_audit_refusals_left_out_total ";
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().parse::<usize>().unwrap()
    };
    wait_for("all refusals to be counted", || left_out() + refused >= 300);
}

#[test]
fn the_next_refusal_with_a_line_tells_how_many_had_none() {
    let site = Audited::start(1 << 20, 2);
    let refuse = || site.server.put("operator/switches?entry=nope&value=1").expect(400);
    (0..50).for_each(|_| _ = refuse());
    assert_eq!(wait_for_lines(&site.file(0), 20).len(), 20);
    assert_eq!(site.metric("naming_audit_refusals_left_out_total"), 30);
    assert_eq!(site.metric("naming_audit_lines_total"), 50);
    site.set(1);
    assert_eq!(wait_for_lines(&site.file(0), 21)[20]["outcome"], "ok");
    wait_for("a line that tells of them", || {
        refuse();
        lines(&site.file(0)).last().is_some_and(|line| line["refusalsLeftOut"].as_u64() >= Some(30))
    });
}

#[test]
fn what_cannot_be_written_is_counted_and_holds_up_nobody() {
    let site = Audited::start(4_096, 2);
    // A full file cannot take the place of a folder.
    fs::create_dir(site.file(1)).unwrap();
    for number in 0..100 {
        site.set(number);
    }
    wait_for("the first lost line", || site.metric("naming_audit_lines_lost_total") > 0);
    assert!(fs::metadata(site.file(0)).unwrap().len() <= 4_096);
    fs::remove_dir(site.file(1)).unwrap();
    wait_for("a line that is written again", || {
        site.set(1_000);
        let latest = lines(&site.file(0)).pop();
        latest.is_some_and(|line| line["parameters"]["value"] == "0.51000")
    });
    assert!(!lines(&site.file(1)).is_empty());
}

#[test]
fn nothing_is_lost_by_a_stop_and_a_start_goes_on() {
    let site = Audited::start(1 << 20, 2);
    (0..50).for_each(|number| site.set(number));
    let Audited { folder, server } = site;
    server.stop();
    let file = folder.path().join("audit.log");
    assert_eq!(lines(&file).len(), 50);
    let audit = AuditConfig { file: text(&file), ..AuditConfig::default() };
    let config = Config { audit, ..Config::default() };
    let again = Audited { folder, server: TestServer::start_with(config) };
    again.set(50);
    wait_for_lines(&file, 51);
}

#[test]
fn a_file_that_cannot_be_opened_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("missing").join("audit.log"));
    let audit = AuditConfig { file: file.clone(), ..AuditConfig::default() };
    let config = Config { bind: "127.0.0.1".into(), port: 0, audit, ..Config::default() };
    let refusal = TestServer::try_start_at(config).err().unwrap();
    assert!(refusal.contains(&file) && refusal.contains("audit"), "{refusal}");
}

#[test]
fn a_write_that_goes_to_its_owner_is_told_of_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let secret_file = folder.path().join("secret");
    fs::write(&secret_file, "a secret of thirty-two characters or more").unwrap();
    // The addresses of this test of this process.
    let [low, high] = [1, 250].map(|part| std::process::id() / part % 250);
    let address = |member: usize| format!("127.{}.{high}.{}", low + 1, 250 + member);
    let members = [0, 1].map(|member| format!("{}:8848", address(member))).join(",");
    let file = |member: usize| folder.path().join(format!("audit.{member}"));
    let start = |member: usize| {
        let cluster = ClusterConfig {
            members: members.clone(),
            secret_file: text(&secret_file),
            empty_start_ms: 0,
            ..ClusterConfig::default()
        };
        let audit = AuditConfig { file: text(&file(member)), ..AuditConfig::default() };
        let bind = address(member);
        TestServer::start_at(Config { bind, port: 8848, cluster, audit, ..Config::default() })
    };
    let servers = [start(0), start(1)];
    for server in &servers {
        let ready = "/nacos/v1/console/health/readiness";
        wait_for("readiness", || server.get(ready).status == 200);
    }
    for (member, server) in servers.iter().enumerate() {
        for number in 0..10 {
            let create = format!("service?serviceName=s{member}{number}");
            server.call("POST", &create).expect(200);
        }
    }
    // Every service has one owner, so some of these went from one member to the other.
    for (member, server) in servers.iter().enumerate() {
        let lines = wait_for_lines(&file(member), 10);
        for line in lines {
            assert_eq!((&line["outcome"], &line["status"]), (&json!("ok"), &json!(200)));
            assert_eq!(line["server"], server.address.to_string());
            let name = line["parameters"]["serviceName"].as_str().unwrap();
            assert!(name.starts_with(&format!("s{member}")), "{line}");
        }
    }
}

/// The program itself, since logging is one for each process.
#[test]
fn the_log_tells_of_changes_at_every_level() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .args(["--bind", "127.0.0.1", "--port", "0", "--in-memory", "--log-format", "json"])
        .args(["--set", "log.level=error"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = output.find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(')').next().unwrap().parse().ok()
    });
    let put = |target: &str| send(address.unwrap(), "PUT", target, "User-Agent: me\r\n", "");
    put("operator/log?logName=root&logLevel=OFF").expect(200);
    put("operator/switches?entry=pushEnabled&value=false").expect(200);
    let log = BufReader::new(program.stderr.take().unwrap());
    let reader =
        std::thread::spawn(move || log.lines().map_while(Result::ok).take(2).collect::<Vec<_>>());
    wait_for("two lines", || reader.is_finished());
    program.kill().unwrap();
    program.wait().unwrap();
    let lines = reader.join().unwrap();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |line: &Value| {
        let of = |name: &str| line[name].as_str().unwrap().to_owned();
        [of("target"), of("message"), of("outcome"), of("agent"), of("parameters")]
    };
    let level = r#"{"logName":"root","logLevel":"OFF"}"#;
    assert_eq!(told(&lines[0]), ["audit", "log_level", "ok", "me", level]);
    let switch = r#"{"entry":"pushEnabled","value":"false"}"#;
    assert_eq!(told(&lines[1]), ["audit", "switches_update", "ok", "me", switch]);
}
