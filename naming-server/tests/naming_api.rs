//! Instances and services over HTTP, as clients ask for them.

mod server_support;

use std::time::{Duration, Instant};

use serde_json::json;
use server_support::{TestServer, wait_for};

const INSTANCE: &str = "instance?ip=10.0.0.1&port=80&serviceName=";

#[test]
fn time_outs_of_a_few_milliseconds_tolerate_a_pause() {
    let server = TestServer::start();
    let hosts = || server.get("instance/list?serviceName=hasty").json()["hosts"].clone();
    // 3 ms between beats, unhealthy after 6 ms, expired after 9 ms.
    let metadata = "preserved.heart.beat.interval=3,preserved.heart.beat.timeout=6,\
                    preserved.ip.delete.timeout=9";
    let start = Instant::now();
    let registered = server.call("POST", &format!("{INSTANCE}hasty&metadata={metadata}"));
    assert_eq!(registered.expect(200), "ok");
    wait_for("the expiry", || hosts() == json!([]));
    assert!(start.elapsed() >= Duration::from_secs(1), "expired after {:?}", start.elapsed());
}

#[test]
fn an_instance_that_is_switched_off_is_not_listed_and_comes_back() {
    let server = TestServer::start();
    let is_listed = || {
        let answer = server.get("instance/list?serviceName=off");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        answer.json()["hosts"] != json!([])
    };
    assert_eq!(server.call("POST", &format!("{INSTANCE}off")).expect(200), "ok");
    assert!(is_listed());
    for enabled in [false, true] {
        assert_eq!(server.put(&format!("{INSTANCE}off&enabled={enabled}")).expect(200), "ok");
        assert_eq!(is_listed(), enabled);
    }
}
