//! Stories with gRPC steps against a server that is told what to answer.

mod parts;
mod server;

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::golden_grpc::step;
use crate::golden_grpc::story::GrpcReplay;
use crate::golden_support::http::Endpoint;
use crate::golden_support::report::StepFailure;
use crate::golden_support::runner::Replay;
use crate::golden_support::scenario::{Scenario, Side, load};
use server::FakeGrpc;

fn run(server: &FakeGrpc, steps: Value) -> Vec<StepFailure> {
    run_at(server.address, &steps)
}

fn run_at(grpc: SocketAddr, steps: &Value) -> Vec<StepFailure> {
    let text = json!({
        "name": "story", "title": "A story", "spec": "1", "recorded": "here", "steps": steps,
    });
    let scenario = Scenario::parse(&text.to_string(), step::check).expect("a scenario");
    let http = Replay::new(Endpoint::new(Ipv4Addr::LOCALHOST.to_string(), 1));
    GrpcReplay { http, grpc }.run(&scenario)
}

#[track_caller]
fn passes(server: &FakeGrpc, steps: Value) {
    let failures = run(server, steps);
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Runs steps of which only the last may fail, and returns what is said about it.
#[track_caller]
fn last_fails(server: &FakeGrpc, steps: Value) -> String {
    let count = steps.as_array().map_or(0, Vec::len);
    let failures = run(server, steps);
    let [failure] = failures.as_slice() else { panic!("not one failure: {failures:#?}") };
    assert_eq!(failure.place, format!("step {count}"));
    failure.differences.join("\n")
}

fn request(kind: &str, body: Value, expect: Value) -> Value {
    json!({"step": "request", "conn": "a", "type": kind, "body": body, "expect": expect})
}

fn echo(body: Value) -> Value {
    request("EchoRequest", body.clone(), json!({"type": "EchoResponse", "body": body}))
}

/// Has the server push a list of this service.
fn push(service: &str, number: u64) -> Value {
    let body = json!({"name": service, "n": number});
    request("PushRequest", body, json!({"type": "PushResponse"}))
}

fn expect_push(service: &str, number: u64, deadline_ms: u64) -> Value {
    let body = json!({"$has": {"serviceInfo": {"name": service, "n": number}}});
    json!({
        "step": "expect_server", "conn": "a", "type": "NotifySubscriberRequest",
        "deadline_ms": deadline_ms, "expect": {"body": body},
    })
}

fn open() -> Value {
    json!({"step": "open", "conn": "a"})
}

#[test]
fn every_transcript_can_be_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/grpc");
    let found = load(folder.as_ref(), step::check).expect("a folder");
    assert!(found.len() >= 59, "{}", found.len());
    for (name, scenario) in found {
        assert!(scenario.is_ok(), "{name}: {scenario:?}");
    }
}

#[test]
fn a_step_with_a_misspelt_field_cannot_be_read() {
    for step in [
        json!({"step": "request", "conn": "a", "type": "T", "body": {}, "expects": {}}),
        json!({"step": "request", "conn": "a", "type": "T", "deadline_ms": 1}),
        json!({"step": "poll_request", "conn": "a", "type": "T", "deadline_ms": 1, "every_ms": 1}),
        json!({"step": "open", "conn": "a", "expect": {"acks": null}}),
        json!({"step": "for", "var": "i", "from": 1, "to": 2, "steps": [{"step": "clos", "conn": "a"}]}),
        json!({"step": "expect_server", "conn": "a", "type": "T"}),
    ] {
        assert!(step::check(&step, Side::Want).is_err(), "{step}");
    }
}

#[test]
fn a_connection_is_set_up_and_its_id_and_port_are_known() {
    let server = FakeGrpc::start();
    let check =
        json!({"type": "ServerCheckResponse", "body": {"connectionId": "id-1", "resultCode": 200}});
    passes(
        &server,
        json!([
            {"step": "open", "conn": "a", "expect": {"check": check, "ack": {"abilityTable": {}}}},
            echo(json!({"id": "${a.id}"})),
            {"step": "open", "conn": "b", "sdk": "java-2.0", "expect": {"ack": null}},
            {"step": "open", "conn": "c", "sdk": "rust-0.8"},
            {"step": "expect_open", "conn": "c"},
        ]),
    );
    let text = last_fails(
        &server,
        json!([{"step": "open", "conn": "a", "expect": {"ack": {"abilityTable": {"x": true}}}}]),
    );
    assert!(text.contains("abilityTable.x: missing"), "{text}");
    let text = last_fails(&server, json!([{"step": "open", "conn": "a", "expect": {"ack": null}}]));
    assert!(text.contains("unexpected SetupAckRequest"), "{text}");
}

#[test]
fn answers_and_statuses_are_compared() {
    let server = FakeGrpc::start();
    let padded = json!({
        "step": "request", "conn": "a", "type": "LengthRequest", "body": {"p": "${pad}"},
        "pad_to": 1_000, "expect": {"type": "LengthResponse", "body": {"length": 1_000}},
    });
    let repeated = json!({"a": [{"$repeat": {"var": "i", "from": 1, "to": 2, "item": "x${i}"}}]});
    let expected = json!({"a": ["x1", "x2"]});
    passes(
        &server,
        json!([
            open(),
            echo(json!({"a": 1, "b": [1.0, "x"]})),
            request("EchoRequest", repeated, json!({"type": "EchoResponse", "body": expected})),
            request("FailRequest", json!({}), json!({"grpc": "RESOURCE_EXHAUSTED"})),
            padded,
            {"step": "for", "var": "i", "from": 1, "to": 3, "steps": [
                {"step": "request", "conn": "a", "type": "EchoRequest", "body": {"n": {"$int": "${i}"}},
                 "expect": {"type": "EchoResponse", "body": {"n": {"$int": "${i}"}}}},
            ]},
        ]),
    );
    let wrong =
        request("EchoRequest", json!({"a": 1}), json!({"type": "EchoResponse", "body": {"a": 2}}));
    let text = last_fails(&server, json!([open(), wrong]));
    assert!(text.contains("$.a: want 2, got 1"), "{text}");
    let wrong = request("EchoRequest", json!({}), json!({"type": "OtherResponse"}));
    assert!(last_fails(&server, json!([open(), wrong])).contains("OtherResponse"));
    let wrong = request("FailRequest", json!({}), json!({"type": "FailResponse"}));
    assert!(last_fails(&server, json!([open(), wrong])).contains("RESOURCE_EXHAUSTED"));
    let looped = json!({"step": "for", "var": "i", "from": 1, "to": 2, "steps": [
        request("EchoRequest", json!({"n": "${i}"}), json!({"type": "EchoResponse", "body": {"n": "1"}})),
    ]});
    let failures = run(&server, json!([open(), looped]));
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].place, "step 2, i = 2, 1");
}

#[test]
fn a_poll_goes_on_until_it_is_right_and_not_too_early() {
    let server = FakeGrpc::start();
    let poll = |not_before_ms: u64, wanted: u64| {
        json!({
            "step": "poll_request", "conn": "a", "type": "CountRequest", "every_ms": 20,
            "deadline_ms": 400, "not_before_ms": not_before_ms,
            "expect": {"type": "CountResponse", "body": {"count": wanted}}, "capture": {"n": "/count"},
        })
    };
    passes(&server, json!([open(), poll(0, 3), echo(json!({"n": "${n}"}))]));
    assert!(last_fails(&server, json!([open(), poll(0, 1)])).contains("not reached in 400 ms"));
    let next = server.counted() + 1;
    let text = last_fails(&server, json!([open(), poll(300, next)]));
    assert!(text.contains("not before 300 allowed"), "{text}");
}

#[test]
fn requests_of_the_server_are_taken_acked_and_missed() {
    let server = FakeGrpc::start();
    passes(
        &server,
        json!([
            open(),
            push("s", 1),
            push("t", 1),
            push("s", 2),
            expect_push("s", 2, 1_000),
            {"step": "expect_none", "conn": "a", "type": "Other", "ms": 20},
            expect_push("t", 1, 1_000),
            {"step": "drain", "conn": "a", "quiet_ms": 50},
            {"step": "expect_none", "conn": "a", "ms": 50},
        ]),
    );
    assert_eq!(server.acked(3), ["1", "2", "3"]);
    let text = last_fails(&server, json!([open(), push("s", 1), expect_push("s", 7, 200)]));
    assert!(
        text.contains("no matching request in 200 ms") && text.contains("want 7, got 1"),
        "{text}"
    );
    let none = json!({"step": "expect_none", "conn": "a", "ms": 1_000});
    assert!(last_fails(&server, json!([open(), push("s", 1), none])).contains("unexpected Notify"));
}

#[test]
fn acks_can_be_held_back_and_given_in_other_words() {
    let server = FakeGrpc::start();
    passes(
        &server,
        json!([
            {"step": "open", "conn": "a", "acks": []},
            push("s", 1),
            expect_push("s", 1, 1_000),
            push("s", 2),
            {"step": "reply_server", "conn": "a", "type": "ErrorResponse", "body": {"resultCode": 500}},
            {"step": "acks", "conn": "a", "acks": "all"},
            push("s", 3),
            expect_push("s", 3, 1_000),
        ]),
    );
    // The second one never.
    assert_eq!(server.acked(2), ["ErrorResponse 1", "3"]);
}

#[test]
fn an_end_of_the_server_is_seen_and_who_is_open_is_told_from_who_is_not() {
    let server = FakeGrpc::start();
    let end =
        |how: &str| request("EndRequest", json!({"how": how}), json!({"type": "EndResponse"}));
    let close = |how: &str, deadline_ms: u64| json!({"step": "expect_close", "conn": "a", "how": how, "deadline_ms": deadline_ms});
    let is_open = json!({"step": "expect_open", "conn": "a"});
    passes(&server, json!([open(), end("stream"), close("stream", 2_000)]));
    passes(&server, json!([open(), end("tcp"), close("tcp", 2_000)]));
    passes(&server, json!([open(), end("tcp"), close("any", 2_000)]));
    let text = last_fails(&server, json!([open(), is_open, close("any", 100)]));
    assert!(text.contains("still open"), "{text}");
    let text = last_fails(&server, json!([open(), end("stream"), close("stream", 2_000), is_open]));
    assert!(text.contains("it ended"), "{text}");
    let status = json!({
        "step": "expect_close", "conn": "a", "how": "stream", "status": "CANCELLED", "deadline_ms": 2_000,
    });
    assert!(last_fails(&server, json!([open(), end("stream"), status])).contains("CANCELLED"));
}

#[test]
fn a_client_ends_its_connection_in_each_way() {
    for (step, expected) in [("close", "closed"), ("abort", "reset"), ("half_close", "half-closed")]
    {
        let server = FakeGrpc::start();
        let steps = json!([open(), {"step": step, "conn": "a"}, {"step": "sleep", "ms": 300}]);
        let address = server.address;
        let story = std::thread::spawn(move || run_at(address, &steps));
        assert!(server.saw_end(expected), "{step}");
        assert!(story.join().expect("no panic").is_empty());
    }
}

#[test]
fn a_frozen_connection_ends_unseen() {
    let server = FakeGrpc::start();
    passes(
        &server,
        json!([
            open(),
            {"step": "freeze", "conn": "a"},
            {"step": "close", "conn": "a"},
            {"step": "sleep", "ms": 100},
            open(),
        ]),
    );
    assert!(server.saw_end("closed"), "when the story is over");
}
