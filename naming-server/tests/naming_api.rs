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

#[test]
fn the_service_list_is_filtered_by_what_java_clients_call_labels() {
    let server = TestServer::start();
    for (service, source) in [("a", "dubbo"), ("b", "spring")] {
        let target = format!("{INSTANCE}{service}&metadata=registerSource={source}");
        assert_eq!(server.call("POST", &target).expect(200), "ok");
    }
    let list = |expression: &str| {
        let selector = format!("%7B%22type%22:%22label%22,%22expression%22:%22{expression}%22%7D");
        server.get(&format!("service/list?pageNo=1&pageSize=10&selector={selector}")).json()
    };
    let dubbo = list("INSTANCE.label.registerSource%20=%20'dubbo'");
    assert_eq!(dubbo, json!({"doms": ["a"], "count": 1}));
    let spring = list("INSTANCE.metadata.registerSource='spring'");
    assert_eq!(spring, json!({"doms": ["b"], "count": 1}));
    assert_eq!(list("INSTANCE.label.registerSource='none'"), json!({"doms": [], "count": 0}));
}
