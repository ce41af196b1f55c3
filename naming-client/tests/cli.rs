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
