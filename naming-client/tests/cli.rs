//! The program `naming`, run as people run it.
#![cfg(all(feature = "cli", unix))]

mod support;

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::eventually;
use support::real::RealServer;

fn naming(server: &RealServer, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming"));
    command.arg("--servers").arg(server.address()).args(line.split(' ')).args(["--output", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end, on a thread of its own since it takes a while.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn json(command: Command) -> Value {
    let output = run(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[tokio::test]
async fn an_instance_is_registered_listed_and_gone_after_ctrl_c() {
    let server = RealServer::start();
    let mut registering =
        naming(&server, "register shop@@orders 10.0.0.1:80 --metadata zone=a").spawn().unwrap();
    let listed = || async {
        json(naming(&server, "instances shop@@orders")).await.as_array().unwrap().len() == 1
    };
    eventually("it is listed", Duration::from_secs(10), listed).await;
    let services = json(naming(&server, "services")).await;
    assert_eq!(services, serde_json::json!(["shop@@orders"]));
    let list = json(naming(&server, "instances shop@@orders --cluster DEFAULT")).await;
    assert_eq!(list[0]["metadata"]["zone"], "a");
    interrupt(&registering);
    let ended = tokio::task::spawn_blocking(move || registering.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    assert_eq!(json(naming(&server, "instances shop@@orders")).await, serde_json::json!([]));
    let events = json(naming(&server, "why shop@@orders")).await;
    let words: Vec<_> = events.as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert_eq!(words, ["deregistered", "registered"], "newest first: {events}");
}

#[tokio::test]
async fn a_mistake_is_one_clear_line() {
    let server = RealServer::start();
    let gone = server.address();
    server.kill();
    let output = run(naming(&server, "services")).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&gone) && text.contains("connection refused"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(run(naming(&server, "instances bad/name")).await.status.code(), Some(2));
}

#[tokio::test]
async fn an_operator_looks_around_and_changes_things() {
    let server = RealServer::start();
    let client = support::client_over(naming_client::Transport::Grpc, [server.address()]);
    let client = client.build().await.unwrap();
    let service = "shop@@orders";
    let _guard =
        client.register(service, naming_client::Instance::new("10.0.0.1", 80)).await.unwrap();

    let members = json(naming(&server, "members")).await;
    assert_eq!(members[0]["address"], server.address());
    assert_eq!(members[0]["state"], "UP");

    let ids = json(naming(&server, "clients")).await;
    let id = client.status().connection.unwrap();
    assert!(ids.as_array().unwrap().contains(&Value::from(id.as_str())), "{ids}");
    let one = json(naming(&server, &format!("clients {id}"))).await;
    assert!(one["version"].as_str().unwrap().contains("Rust"), "{one}");

    json(naming(&server, "ns create blue --name Blue")).await;
    let spaces = json(naming(&server, "ns list")).await;
    let has = |list: &Value| list.as_array().unwrap().iter().any(|one| one["id"] == "blue");
    assert!(has(&spaces), "{spaces}");
    json(naming(&server, "ns delete blue")).await;
    assert!(!has(&json(naming(&server, "ns list")).await));

    json(naming(&server, "set shop@@orders 10.0.0.1:80 --weight 3 --metadata zone=b")).await;
    let list = json(naming(&server, "instances shop@@orders")).await;
    assert_eq!((&list[0]["weight"], &list[0]["metadata"]["zone"]), (&3.0.into(), &"b".into()));
    json(naming(&server, "set shop@@orders 10.0.0.1:80 --enabled false")).await;
    json(naming(&server, "set shop@@orders 10.0.0.1:80 --enabled true")).await;
    let list = json(naming(&server, "instances shop@@orders")).await;
    assert_eq!((&list[0]["enabled"], &list[0]["weight"]), (&true.into(), &3.0.into()));

    json(naming(&server, "service create shop@@carts --protect-threshold 0.5")).await;
    let shown = json(naming(&server, "service show shop@@carts")).await;
    assert_eq!(shown["protectThreshold"], 0.5);
    json(naming(&server, "service delete shop@@carts")).await;
    assert!(!run(naming(&server, "service show shop@@carts")).await.status.success());
}

#[tokio::test]
async fn users_are_made_changed_and_removed() {
    let root = naming_server::NewUser::new("root", "root's password", true).unwrap();
    let server = RealServer::start_guarded(18_000, vec![root]);
    let as_root = |line: &str| {
        let mut command = naming(&server, line);
        command.env("NAMING_USER", "root").env("NAMING_PASSWORD", "root's password");
        command.env("NAMING_NEW_PASSWORD", "a long password");
        command
    };
    json(as_root("users create ann")).await;
    let names = json(as_root("users list")).await;
    assert!(names.as_array().unwrap().contains(&"ann".into()), "{names}");
    json(as_root("users password ann")).await;
    json(as_root("users delete ann")).await;
    let names = json(as_root("users list")).await;
    assert!(!names.as_array().unwrap().contains(&"ann".into()), "{names}");
    assert!(!run(naming(&server, "users list")).await.status.success(), "a stranger");
}

#[tokio::test]
async fn a_profile_names_the_registry_and_yaml_is_written() {
    let server = RealServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("default = \"test\"\n[profiles.test]\nservers = \"{}\"\n", server.address());
    std::fs::write(file.path(), text).unwrap();
    let profiled = |line: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_naming"));
        command.env("NAMING_PROFILES", file.path()).args(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let output = run(profiled(&["status", "--output", "yaml"])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("---\n") && text.contains("transport: grpc"), "{text}");
    let output = run(profiled(&["status", "--profile", "other"])).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no profile \"other\""), "{text}");
    let output = run(profiled(&["completions", "bash"])).await;
    assert!(String::from_utf8(output.stdout).unwrap().contains("watch-services"));
}
