//! `naming-server export` and `naming-server restore`, at running servers and in folders.

mod auth_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use naming_server::{Config, DataConfig, NewUser};
use serde_json::{Value, json};

use auth_support::server_support::members::Cluster;
use auth_support::server_support::{Answer, TestServer};
use auth_support::{Guarded, guarded_config};

const ROOT: &str = "root's password";
const CHECKED: &str = "%7B%22type%22:%22HTTP%22,%22path%22:%22/x%22,%22headers%22:%22a:b%22,%22expectedResponseCode%22:204%7D";
const BY_HAND: &str = "%7B%22type%22:%22NONE%22%7D";
const MYSQL: &str = "%7B%22type%22:%22MYSQL%22,%22user%22:%22u%22,%22pwd%22:%22hush%22,%22cmd%22:%22select%201%22%7D";

/// What a command said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl Said {
    #[track_caller]
    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    #[track_caller]
    fn refused(&self, part: &str) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert!(self.errors.contains(part), "{self:#?}");
        assert!(!self.errors.contains("panicked"), "{self:#?}");
    }

    /// A line of the report: created, changed, removed, same, not done.
    #[track_caller]
    fn counts(&self, kind: &str) -> [usize; 5] {
        let line = self.out.lines().find_map(|line| line.strip_prefix(kind));
        let numbers = line.unwrap_or_else(|| panic!("{kind}: {self:#?}")).split_whitespace();
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }

    /// The sums of all kinds.
    #[track_caller]
    fn sums(&self) -> [usize; 5] {
        let mut sums = [0; 5];
        for kind in KINDS {
            let counts = self.counts(kind);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        sums
    }
}

const KINDS: [&str; 7] = [
    "namespaces",
    "services",
    "operator values",
    "persistent instances",
    "permissions",
    "roles",
    "users",
];

fn run_as(password: Option<&str>, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
    command.args(arguments).env_remove("BACKUP_PASSWORD").stdin(Stdio::null());
    if let Some(password) = password {
        command.env("BACKUP_PASSWORD", password);
    }
    let output: Output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder for files, and commands about them.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, command: &str, file: &str, server: &TestServer, more: &[&str]) -> Said {
        let (file, address) = (self.path(file), server.address.to_string());
        let arguments = [&[command, path_text(&file), "--server", &address], more].concat();
        run_as(Some(ROOT), &arguments)
    }

    fn export(&self, file: &str, server: &TestServer) -> Said {
        self.at("export", file, server, &["--as", "root"])
    }

    fn restore(&self, file: &str, server: &TestServer, more: &[&str]) -> Said {
        self.at("restore", file, server, &[&["--as", "root"], more].concat())
    }

    fn read(&self, file: &str) -> Value {
        let mut read: Value =
            serde_json::from_str(&fs::read_to_string(self.path(file)).unwrap()).unwrap();
        // What is checked may be found ill at any moment.
        for record in read["records"].as_array_mut().unwrap() {
            if record["cluster"] == "c1" {
                record["healthy"] = json!(true);
            }
        }
        read
    }

    /// The records without those of the user who made them.
    fn records(&self, file: &str) -> Vec<Value> {
        let mut records = self.read(file)["records"].as_array().unwrap().clone();
        records.retain(|record| record["name"] != "root" && record["user"] != "root");
        records
    }

    /// A file with these records, as somebody writes one by hand.
    fn write(&self, file: &str, records: &[Value]) {
        let document = json!({
            "format": "naming-server backup", "version": 1, "made": "", "by": "", "source": "",
            "without": [], "counts": {}, "checksum": "", "records": records,
        });
        fs::write(self.path(file), document.to_string()).unwrap();
    }
}

fn instance(service: &str, port: u16) -> Value {
    json!({"kind": "instance", "namespace": "public", "service": service, "cluster": "DEFAULT",
        "ip": "10.0.0.1", "port": port, "weight": 1.0, "enabled": true, "healthy": true})
}

/// Something of every kind, written by `root`.
fn populate(guarded: &Guarded) {
    let root = guarded.root();
    let ok = |request: &str, parameters: &[(&str, &str)]| {
        guarded.ok(&root, request, parameters);
    };
    let raw = |method: &str, target: &str| -> Answer {
        guarded.server.send(method, target, &format!("Authorization: Bearer {root}\r\n"), "")
    };
    ok(
        "POST console/namespaces",
        &[("customNamespaceId", "dev"), ("namespaceName", "Dév"), ("namespaceDesc", "for tests")],
    );
    ok(
        "POST ns/service",
        &[("serviceName", "g@@tuned"), ("protectThreshold", "0.3"), ("metadata", "a=b,c=é &x")],
    );
    let selector = r#"{"type":"label","expression":"CONSUMER.label.a=PROVIDER.label.a"}"#;
    ok("POST ns/service", &[("serviceName", "s"), ("namespaceId", "dev"), ("selector", selector)]);
    for (cluster, checker) in [("c1", CHECKED), ("c2", BY_HAND)] {
        let target = format!(
            "cluster?serviceName=g@@tuned&clusterName={cluster}&healthChecker={checker}\
             &checkPort=81&useInstancePort4Check=false&metadata=k=v"
        );
        raw("PUT", &target).expect(200);
    }
    for (cluster, port, more) in [("c1", "80", "weight=0.1"), ("c2", "81", "healthy=false")] {
        let target = format!(
            "instance?serviceName=g@@tuned&ip=10.0.0.1&port={port}&clusterName={cluster}\
             &ephemeral=false&metadata=zone=a&app=orders&{more}"
        );
        raw("POST", &target).expect(200);
    }
    raw("POST", "instance?serviceName=alive&ip=10.0.0.9&port=80").expect(200);
    let values =
        "/nacos/v2/ns/instance?serviceName=alive&ip=10.0.0.9&port=80&weight=7&enabled=false";
    raw("PUT", values).expect(200);
    ok("POST auth/users", &[("username", "guest"), ("password", "p")]);
    ok("POST auth/roles", &[("username", "guest"), ("role", "reader")]);
    ok("POST auth/permissions", &[("role", "reader"), ("resource", "dev:*:*"), ("action", "r")]);
}

#[test]
fn everything_comes_back_at_another_server_and_a_second_time_changes_nothing() {
    let (desk, source) = (Desk::new(), Guarded::start());
    populate(&source);
    let said = desk.export("a.json", &source.server).done();
    assert!(said.out.contains("users                        2"), "{said:#?}");
    let file = desk.read("a.json");
    assert_eq!(file["counts"]["persistent instances"], 2, "{file}");
    assert_eq!(file["counts"]["operator values"], 1, "{file}");
    let text = file.to_string();
    assert!(!text.contains("\"p\"") && !text.contains("10.0.0.9:80"), "{text}");

    let target = Guarded::start_with_users(vec![NewUser::new("root", ROOT, true).unwrap()]);
    let told = desk.restore("a.json", &target.server, &["--dry-run"]).done();
    assert!(told.out.starts_with("a restoration would put"), "{told:#?}");
    assert_eq!(told.sums()[..3], [9, 0, 0], "{told:#?}");
    let nothing = desk.restore("a.json", &target.server, &["--dry-run"]).done();
    assert_eq!(nothing.sums(), told.sums(), "a dry run changes nothing");

    let put = desk.restore("a.json", &target.server, &[]).done();
    assert_eq!(put.sums(), told.sums(), "{put:#?}");
    assert!(put.errors.contains("9 of 9 records written"), "{put:#?}");
    desk.export("b.json", &target.server).done();
    assert_eq!(desk.records("b.json"), desk.records("a.json"));
    let again = desk.restore("a.json", &target.server, &[]).done();
    assert_eq!(again.sums()[..3], [0, 0, 0], "{again:#?}");

    // Users log in with the passwords that they had, and who restored is who he was.
    target.log_in("guest", "p");
    let known = target.root();
    // The catalog knows no protection.
    let page =
        [("serviceName", "g@@tuned"), ("clusterName", "c2"), ("pageNo", "1"), ("pageSize", "9")];
    let list = target.json(&known, "GET ns/catalog/instances", &page);
    let ill = &list["list"][0];
    assert_eq!(ill["healthy"], false, "what nothing checks is as an operator set it: {list}");
}

#[test]
fn what_is_there_stays_unless_told_otherwise() {
    let (desk, target) = (Desk::new(), Guarded::start());
    let root = target.root();
    let name = |name: &str| {
        let parameters = [("customNamespaceId", "dev"), ("namespaceName", name)];
        target.ok(&root, "POST console/namespaces", &parameters);
    };
    name("before");
    desk.export("a.json", &target.server).done();
    let rename = [("namespace", "dev"), ("namespaceShowName", "after"), ("namespaceDesc", "")];
    target.ok(&root, "PUT console/namespaces", &rename);
    target.ok(&root, "POST ns/service", &[("serviceName", "new"), ("protectThreshold", "0.5")]);
    target.ok(&root, "POST auth/users", &[("username", "late"), ("password", "p")]);

    let shown =
        || target.json(&root, "GET console/namespaces", &[("show", "all"), ("namespaceId", "dev")]);
    let refusal = desk.restore("a.json", &target.server, &[]);
    refusal.refused("3 records there differ");
    assert!(refusal.errors.contains("namespace dev") && refusal.errors.contains("--replace"));
    assert_eq!(shown()["namespaceShowName"], "after");

    let merged = desk.restore("a.json", &target.server, &["--merge"]).done();
    assert_eq!(merged.sums()[..3], [0, 1, 0], "{merged:#?}");
    assert_eq!(shown()["namespaceShowName"], "before");
    target.log_in("late", "p");

    let replaced = desk.restore("a.json", &target.server, &["--replace"]).done();
    assert_eq!(replaced.sums()[..3], [0, 0, 2], "{replaced:#?}");
    assert_eq!(target.try_log_in("late", "p").status, 403);
    assert_eq!(target.call(&root, "GET ns/service", &[("serviceName", "new")]).status, 404);
    target.root();
}

#[test]
fn who_restores_does_not_shut_himself_out() {
    let (desk, source) = (Desk::new(), Guarded::start());
    desk.export("a.json", &source.server).done();
    let boss = NewUser::new("boss", "boss's password", true).unwrap();
    let target = Guarded::start_with_users(vec![boss]);
    let (file, address) = (desk.path("a.json"), target.server.address.to_string());
    let line = ["restore", path_text(&file), "--server", &address, "--as", "boss", "--replace"];
    let said = run_as(Some("boss's password"), &line).done();
    assert!(said.out.contains("since it is who restores: user boss"), "{said:#?}");
    target.root();
    target.log_in("boss", "boss's password");
    run_as(Some("boss's password"), &line).done();
}

#[test]
fn a_broken_off_restoration_goes_on_where_it_was() {
    let (desk, target) = (Desk::new(), Guarded::start());
    // More than go on a page, and in a message.
    let all: Vec<Value> = (1..=2_300).map(|port| instance("g@@many", port)).collect();
    desk.write("half.json", &all[..1_200]);
    desk.write("all.json", &all);
    let more = ["--accept-changes"];
    desk.restore("half.json", &target.server, &[]).refused("--accept-changes");
    let half = desk.restore("half.json", &target.server, &more).done();
    assert_eq!(half.counts("persistent instances"), [1_200, 0, 0, 0, 0]);
    let rest = desk.restore("all.json", &target.server, &more).done();
    assert_eq!(rest.counts("persistent instances"), [1_100, 0, 0, 1_200, 0]);
    desk.export("b.json", &target.server).done();
    assert_eq!(desk.read("b.json")["counts"]["persistent instances"], 2_300);
}

#[test]
fn what_cannot_be_stored_is_named_and_the_rest_is() {
    let (desk, target) = (Desk::new(), Guarded::start());
    let mut bad = instance("g@@s", 80);
    bad["ip"] = json!("10.0.0.1 or so");
    let hash = json!({"kind": "user", "name": "u", "passwordHash": "plain"});
    let role = json!({"kind": "role", "role": "r", "user": "u"});
    desk.write("a.json", &[bad, hash, role, instance("g@@s", 81)]);
    let said = desk.restore("a.json", &target.server, &["--accept-changes"]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert_eq!(said.counts("persistent instances"), [1, 0, 0, 0, 1], "{said:#?}");
    assert_eq!(said.counts("users"), [0, 0, 0, 0, 1], "{said:#?}");
    assert!(said.out.contains("'ip'") && said.out.contains("'passwordHash'"), "{said:#?}");
    assert!(!said.out.contains("plain"), "{said:#?}");
}

#[test]
fn a_folder_is_saved_and_filled_without_a_server() {
    let desk = Desk::new();
    let settings = |folder: &Path| Config {
        data: DataConfig {
            dir: path_text(folder).to_owned(),
            in_memory: false,
            ..DataConfig::default()
        },
        ..guarded_config()
    };
    let (from, to) = (desk.path("from"), desk.path("to"));
    let source = Guarded::start_with(settings(&from));
    populate(&source);
    source.ok(&source.root(), "POST ns/service", &[("serviceName", "gone")]);
    source.ok(&source.root(), "DELETE ns/service", &[("serviceName", "gone")]);
    desk.export("server.json", &source.server).done();
    let folder = |command: &str, file: &str, folder: &Path, more: &[&str]| {
        let file = desk.path(file);
        let line = [command, path_text(&file), "--data-dir", path_text(folder)];
        run_as(None, &[&line, more].concat())
    };
    folder("export", "folder.json", &from, &[]).refused("another server uses");
    source.server.stop();
    folder("export", "folder.json", &from, &[]).done();
    assert_eq!(desk.read("folder.json")["records"], desk.read("server.json")["records"]);

    // A folder that is not there holds nothing, and asking does not make it.
    folder("export", "none.json", &to, &[]).refused("registry.redb");
    let told = folder("restore", "folder.json", &to, &["--dry-run"]).done();
    assert!(!to.exists() && told.sums()[0] == 11, "{told:#?}");
    let put = folder("restore", "folder.json", &to, &[]).done();
    assert_eq!(put.sums(), told.sums(), "{put:#?}");
    let again = folder("restore", "folder.json", &to, &[]).done();
    assert_eq!(again.sums(), [0, 0, 0, 11, 0], "{again:#?}");
    let mut server = Guarded::start_with_users(Vec::new());
    server.server = TestServer::start_with(settings(&to));
    server.log_in("guest", "p");
    desk.export("there.json", &server.server).done();
    assert_eq!(desk.read("there.json")["records"], desk.read("server.json")["records"]);
}

#[test]
fn all_members_hold_what_was_restored_at_one() {
    let (desk, source) = (Desk::new(), Guarded::start());
    populate(&source);
    desk.export("a.json", &source.server).done();
    let cluster = Cluster::start(3);
    let first = cluster.member(0);
    desk.at("restore", "a.json", first, &[]).refused("authentication is off");
    assert_eq!(
        first.get("/nacos/v1/console/namespaces").json()["data"].as_array().unwrap().len(),
        1
    );
    desk.at("restore", "a.json", first, &["--without-accounts"]).done();
    cluster.wait_until_equal();
    for member in 0..3 {
        let file = format!("{member}.json");
        desk.at("export", &file, cluster.member(member), &[]).done();
        let records = desk.read(&file)["records"].clone();
        let mut expected = desk.read("a.json")["records"].as_array().unwrap().clone();
        expected.retain(|record| {
            !["user", "role", "permission"].contains(&record["kind"].as_str().unwrap())
        });
        assert_eq!(records, json!(expected), "member {member}");
    }
}

#[test]
fn hashes_are_for_administrators_who_have_proved_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataConfig {
        dir: path_text(folder.path()).to_owned(),
        in_memory: false,
        ..DataConfig::default()
    };
    let (desk, server) =
        (Desk::new(), Guarded::start_with(Config { data: data.clone(), ..guarded_config() }));
    populate(&server);
    let path = "/nacos/v3/console/naming-server/backup";
    assert_eq!(server.server.get(path).status, 403);
    assert_eq!(server.server.send("POST", path, "", "{\"steps\":[]}").status, 403);
    let guest = format!("Authorization: Bearer {}\r\n", server.log_in("guest", "p"));
    assert_eq!(server.server.send("GET", path, &guest, "").status, 403);
    assert_eq!(server.server.send("POST", path, &guest, "{\"steps\":[]}").status, 403);
    let (file, address) = (desk.path("g.json"), server.server.address.to_string());
    let line = ["export", path_text(&file), "--server", &address, "--as", "guest"];
    run_as(Some("p"), &line).refused("403");
    run_as(Some("wrong"), &line).refused("cannot log in");
    run_as(None, &line[..4]).refused("403");
    assert!(!file.exists(), "there is a file only if it is whole");

    let root = format!("Authorization: Bearer {}\r\n", server.root());
    let page = server.server.send("GET", path, &root, "");
    assert!(page.head.contains("cache-control: no-"), "{}", page.head);
    for (target, part) in [("?after=x", "after"), ("?accounts=maybe", "accounts")] {
        let answer = server.server.send("GET", &format!("{path}{target}"), &root, "");
        assert!(answer.status == 400 && answer.body.contains(part), "{answer:?}");
    }
    for body in ["", "{}", "{\"steps\":[{\"item\":{\"kind\":\"dream\"}}]}", "[]"] {
        let answer = server.server.send("POST", path, &root, body);
        assert!(answer.status == 400 && answer.body.contains("body"), "{body}: {answer:?}");
    }
    let audit = server.server.send("GET", "/nacos/v3/console/naming-server/audit", &root, "");
    assert!(audit.body.contains("\"action\":\"backup_export\""), "{}", audit.body);
    server.server.stop();

    // The users are still there when nobody needs to be one, and nobody gets their hashes.
    let open = TestServer::start_with(Config { data, ..Config::default() });
    desk.at("export", "open.json", &open, &[]).refused("authentication is off");
    desk.at("export", "open.json", &open, &["--without-accounts"]).done();
    assert!(!fs::read_to_string(desk.path("open.json")).unwrap().contains("$2"));
}

#[test]
fn passwords_of_checks_are_taken_along_only_if_it_is_said() {
    let (desk, server) = (Desk::new(), TestServer::start());
    server.call("POST", "service?serviceName=db").expect(200);
    let target = format!(
        "cluster?serviceName=db&clusterName=c&healthChecker={MYSQL}&checkPort=3306\
         &useInstancePort4Check=true"
    );
    let made = server.put(&target);
    if made.status != 200 {
        assert!(made.body.contains("MYSQL"), "built without these checks: {made:?}");
        return;
    }
    let refusal = desk.at("export", "a.json", &server, &[]);
    refusal.refused("--with-check-passwords");
    assert!(!refusal.errors.contains("hush") && !desk.path("a.json").exists());
    desk.at("export", "a.json", &server, &["--with-check-passwords"]).done();
    let other = TestServer::start();
    desk.at("restore", "a.json", &other, &[]).done();
    let shown = other.get("catalog/service?serviceName=db").expect(200);
    assert!(shown.contains("hush"), "{shown}");
    let refusal = desk.at("export", "a.json", &server, &["--with-check-passwords"]);
    refusal.refused("--overwrite");
    desk.at("export", "a.json", &server, &["--with-check-passwords", "--overwrite"]).done();
}
