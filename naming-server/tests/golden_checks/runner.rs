//! Whole scenarios against a server that is told what to answer.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::golden_support::report::{StepFailure, report};
use crate::golden_support::runner::Replay;
use crate::golden_support::scenario::{Scenario, Side, Step};
use crate::server::{FakeServer, reply};

fn scenario(steps: Value, finally: Value) -> Scenario {
    let text = json!({
        "name": "story", "title": "A story", "spec": "1", "recorded": "here",
        "steps": steps, "finally": finally,
    });
    Scenario::parse(&text.to_string(), Step::check).expect("a scenario")
}

fn run(server: &FakeServer, steps: Value) -> Vec<StepFailure> {
    Replay::new(server.endpoint()).run(&scenario(steps, json!([])))
}

#[track_caller]
fn passes(server: &FakeServer, steps: Value) {
    let failures = run(server, steps);
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Runs steps of which only the last may fail, and returns what is said about it.
#[track_caller]
fn last_fails(server: &FakeServer, steps: Value) -> String {
    let count = steps.as_array().map_or(0, Vec::len);
    let failures = run(server, steps);
    let [failure] = failures.as_slice() else { panic!("not one failure: {failures:#?}") };
    assert_eq!(failure.place, format!("step {count}"));
    failure.differences.join("\n")
}

fn get(path: &str, expect: Value) -> Value {
    json!({"step": "http", "request": {"method": "GET", "path": path}, "expect": expect})
}

#[test]
fn a_reply_is_compared_in_all_its_parts() {
    let server = FakeServer::start(|_| {
        reply("400 Bad Request", "X-Kind: a\r\nX-Twice: 1\r\n", r#"{"a":1}"#)
    });
    passes(
        &server,
        json!([
            get(
                "/",
                json!({"status": 400, "text": "{\"a\":1}", "json": {"a": 1},
                "headers": {"x-kind": "a", "x-other": null}})
            ),
            get("/", json!({})),
            get("/", json!({"status": {"$range": [400, 499]}})),
        ]),
    );
    for (expect, word) in [
        (json!({"status": 200}), "status: want 200, got 400"),
        (json!({"text": {"$contains": "b"}}), "text: want text with \"b\""),
        (json!({"json": {"a": 1.0}}), "$.a: want 1.0, got 1"),
        (json!({"headers": {"x-kind": null}}), "header x-kind: want null, got \"a\""),
        (json!({"headers": {"x-other": "a"}}), "header x-other: want \"a\", got null"),
    ] {
        let failure = last_fails(&server, json!([get("/", expect)]));
        assert!(failure.contains(word), "{failure}");
        assert!(failure.contains(r#"the reply was 400 "{\"a\":1}""#), "{failure}");
    }
}

#[test]
fn a_body_that_is_not_json_differs_from_any_json() {
    let server = FakeServer::start(|_| reply("200 OK", "", "ok"));
    let failure = last_fails(&server, json!([get("/", json!({"json": {"$any": true}}))]));
    assert!(failure.contains("not JSON"), "{failure}");
}

#[test]
fn every_failing_step_is_reported_and_finally_always_runs() {
    let server = FakeServer::start(|_| reply("200 OK", "", "ok"));
    let steps = json!([
        {"step": "http", "note": "first", "request": {"method": "PUT", "path": "/1"},
            "expect": {"status": 201, "text": "no"}},
        get("/2", json!({"text": "ok"})),
        {"step": "ack_push", "socket": "nobody"},
        get("/4", json!({"text": "other"})),
    ]);
    let finally = json!([get("/5", json!({"status": 200})), get("/6", json!({"status": 500}))]);
    let scenario = scenario(steps, finally);
    let failures = Replay::new(server.endpoint()).run(&scenario);
    let places: Vec<&str> = failures.iter().map(|failure| failure.place.as_str()).collect();
    assert_eq!(places, ["step 1", "step 3", "step 4", "finally 2"]);
    assert_eq!(server.requests().len(), 5);
    let text = report(&scenario, &failures);
    for line in [
        "story: A story",
        "  step 1 PUT /1 (first)",
        "      status: want 201, got 200",
        "      text: want \"no\", got \"ok\"",
        "  step 3 ack from nobody",
        "      no socket nobody",
        "  finally 2 GET /6",
    ] {
        assert!(text.lines().any(|own| own == line), "{line:?} is not in {text}");
    }
}

#[test]
fn no_server_is_a_failed_step() {
    let gone = FakeServer::start(|_| Vec::new());
    let replay = Replay::new(gone.endpoint());
    drop(gone);
    let failures = replay.run(&scenario(json!([get("/", json!({}))]), json!([])));
    assert!(failures[0].differences[0].contains("no reply"), "{failures:?}");
}

#[test]
fn steps_of_the_other_side_are_left_out() {
    let server = FakeServer::start(|_| reply("200 OK", "", "ok"));
    let step = |side: &str| {
        json!({"step": "http", "only": side, "mark": side, "request":
            {"method": "GET", "path": format!("/{side}")}})
    };
    let mut both = get("/both", json!({}));
    both["nacos"] = json!({"status": 500});
    let scenario = scenario(json!([step("nacos"), step("want"), both]), json!([]));
    let mut replay = Replay::new(server.endpoint());
    assert!(replay.run(&scenario).is_empty());
    replay.side = Side::Nacos;
    assert_eq!(replay.run(&scenario).len(), 1);
    let paths: Vec<_> = server.requests().iter().map(|text| text[5..9].to_owned()).collect();
    assert_eq!(paths, ["want", "both", "naco", "both"]);
}

#[test]
fn captured_values_are_variables_of_later_steps() {
    let server = FakeServer::start(|request| {
        let body = if request.starts_with("GET /second/t1/7/h1 ") { "same 7" } else { "" };
        let first = r#"{"token": "t1", "list": [{"n": 7}]}"#;
        reply("200 OK", "X-Kind: h1\r\n", if body.is_empty() { first } else { body })
    });
    let mut first = get("/first", json!({}));
    first["capture"] =
        json!({"token": "/token", "n": "/list/0/n", "kind": "header:x-kind", "all": ""});
    let second = get("/second/${token}/${n}/${kind}", json!({"text": "same ${n}"}));
    let whole = get("/", json!({"json": {"$var": "all"}}));
    passes(&server, json!([first, second, whole]));
    for (source, word) in [("/none", "no /none"), ("header:x-none", "no header x-none")] {
        let mut step = get("/first", json!({}));
        step["capture"] = json!({"v": source});
        assert!(last_fails(&server, json!([step])).contains(word));
    }
}

#[test]
fn each_run_has_a_token_of_its_own() {
    let server = FakeServer::start(|_| reply("200 OK", "", "ok"));
    let steps = json!([get("/${run}/${client.ip}", json!({}))]);
    passes(&server, steps.clone());
    passes(&server, steps);
    let requests = server.requests();
    assert!(requests.iter().all(|text| text[13..].starts_with("/127.0.0.1 ")), "{requests:?}");
    assert_ne!(requests[0][5..13], requests[1][5..13]);
}

/// Answers 404 until the request with the given number.
fn ready_at(number: usize) -> FakeServer {
    let count = AtomicUsize::new(0);
    FakeServer::start(move |_| {
        let ready = count.fetch_add(1, Ordering::SeqCst) + 1 >= number;
        reply(if ready { "200 OK" } else { "404 Not Found" }, "", r#"{"v": 1}"#)
    })
}

fn poll(times: Value) -> Value {
    let mut step = get("/", json!({"status": 200}));
    step["step"] = json!("poll");
    step["every_ms"] = json!(20);
    for (name, value) in times.as_object().expect("fields") {
        step[name] = value.clone();
    }
    step
}

#[test]
fn a_poll_repeats_until_the_reply_is_right() {
    let server = ready_at(4);
    let polled = poll(json!({"deadline_ms": 10_000, "capture": {"v": "/v"}}));
    passes(&server, json!([polled, get("/${v}", json!({"status": 200}))]));
    assert_eq!(server.requests().len(), 5);
    assert!(server.requests()[4].starts_with("GET /1 "));
}

#[test]
fn a_poll_gives_up_at_its_deadline() {
    let server = ready_at(usize::MAX);
    let begun = Instant::now();
    let failure = last_fails(&server, json!([poll(json!({"deadline_ms": 100}))]));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(failure.starts_with("not reached in 100 ms:\nstatus: want 200, got 404"), "{failure}");
    assert!(server.requests().len() > 1);
}

#[test]
fn a_poll_whose_deadline_has_passed_still_asks_once() {
    let server = ready_at(1);
    let mark = json!({"step": "mark", "mark": "m"});
    let sleep = json!({"step": "sleep", "ms": 5});
    passes(&server, json!([mark, sleep, poll(json!({"since": "m", "deadline_ms": 1}))]));
}

#[test]
fn a_poll_must_not_be_met_early() {
    let server = ready_at(1);
    let early = json!({"deadline_ms": 60_000, "not_before_ms": 50_000});
    let failure = last_fails(&server, json!([poll(early)]));
    assert!(failure.contains("not before 50000 allowed"), "{failure}");
    let mark = json!({"step": "mark", "mark": "m"});
    let wait = json!({"step": "sleep_until", "since": "m", "ms": 60});
    let timely = json!({"since": "m", "deadline_ms": 60_000, "not_before_ms": 60});
    passes(&server, json!([mark, wait, poll(timely)]));
    let failure = last_fails(&server, json!([poll(json!({"since": "x", "deadline_ms": 1}))]));
    assert_eq!(failure, "no mark x");
}

/// Sends a packet for each `GET /push/PORT/KIND` and answers `GET /ack` with the ack it has got.
fn pusher() -> FakeServer {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    sender.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    FakeServer::start(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let mut body = "ok".to_owned();
        if let ["push", port, kind] = parts.as_slice() {
            let target = (Ipv4Addr::LOCALHOST, port.parse().expect("a port"));
            sender.send_to(&packet(kind), target).expect("sent");
        } else {
            let mut ack = [0; 1024];
            let length = sender.recv(&mut ack).expect("an ack");
            body = String::from_utf8_lossy(&ack[..length]).into_owned();
        }
        reply("200 OK", "", &body)
    })
}

fn packet(kind: &str) -> Vec<u8> {
    let data = json!({"kind": kind.trim_end_matches(".gz")}).to_string();
    let plain = json!({"type": "dom", "data": data, "lastRefTime": 12345}).to_string();
    if !kind.ends_with(".gz") {
        return plain.into_bytes();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn open() -> Value {
    json!({"step": "open_udp", "socket": "u"})
}

fn push(kind: &str) -> Value {
    get(&format!("/push/${{u.port}}/{kind}"), json!({"text": "ok"}))
}

fn expect_push(fields: Value) -> Value {
    let mut step = json!({
        "step": "expect_push", "socket": "u", "deadline_ms": 10_000,
        "outer": {"type": "dom", "data": {"$type": "string"}, "lastRefTime": 12345},
    });
    for (name, value) in fields.as_object().expect("fields") {
        step[name] = value.clone();
    }
    step
}

#[test]
fn a_push_is_unpacked_and_others_before_it_are_passed_over() {
    let server = pusher();
    let plain = expect_push(json!({"gzip": false, "data": {"kind": "b"}}));
    let zipped = expect_push(json!({"gzip": true, "data": {"kind": "c"}}));
    passes(&server, json!([open(), push("a"), push("b"), push("c.gz"), plain, zipped]));
}

#[test]
fn a_push_that_never_comes_shows_the_last_that_did() {
    let server = pusher();
    for (fields, word) in [
        (json!({"data": {"kind": "x"}}), "data.kind: want \"x\", got \"a\""),
        (json!({"gzip": true}), "gzip is false"),
        (json!({"outer": {"type": "service"}}), "outer.type: want \"service\", got \"dom\""),
    ] {
        let mut step = expect_push(fields);
        step["deadline_ms"] = json!(80);
        let failure = last_fails(&server, json!([open(), push("a"), step]));
        assert!(failure.contains("no matching push in 80 ms"), "{failure}");
        assert!(failure.contains(word), "{failure}");
    }
    let failure = last_fails(&server, json!([open(), expect_push(json!({"deadline_ms": 20}))]));
    assert!(failure.contains("no packet"), "{failure}");
    let early = expect_push(json!({"not_before_ms": 9_000}));
    let failure = last_fails(&server, json!([open(), push("a"), early]));
    assert!(failure.contains("not before 9000 allowed"), "{failure}");
}

#[test]
fn acks_go_back_to_the_sender_in_both_forms() {
    let server = pusher();
    let ack = |form: &str| json!({"step": "ack_push", "socket": "u", "ref_as": form});
    let acked = |reference: Value| {
        get("/ack", json!({"json": {"type": "push-ack", "lastRefTime": reference, "data": ""}}))
    };
    let seen = || expect_push(json!({"capture": {"ref": "/lastRefTime"}}));
    passes(
        &server,
        json!([
            open(), push("a"), seen(), {"step": "ack_push", "socket": "u"},
            acked(json!("${ref}")), push("b"), seen(), ack("number"), acked(json!(12345)),
            ack("string"), acked(json!("12345")),
        ]),
    );
    let failure = last_fails(&server, json!([open(), {"step": "ack_push", "socket": "u"}]));
    assert_eq!(failure, "no packet to acknowledge");
}

#[test]
fn silence_is_watched_and_waited_for() {
    let server = pusher();
    let silent = json!({"step": "expect_no_push", "socket": "u", "ms": 60});
    let drain = json!({"step": "drain_push", "socket": "u", "quiet_ms": 60});
    let begun = Instant::now();
    passes(&server, json!([open(), silent, push("a"), push("b"), drain, silent]));
    assert!(begun.elapsed() >= Duration::from_millis(180));
    let failure = last_fails(&server, json!([open(), push("a"), silent]));
    assert!(failure.starts_with("unexpected push: ") && failure.contains("12345"), "{failure}");
}
