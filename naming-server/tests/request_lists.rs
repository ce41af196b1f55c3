//! Lists that a request carries: long ones are refused before anything is made of them.

mod server_support;

use naming_server::Config;
use server_support::{Answer, TestServer};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// A batch with this metadata for the instances on so many ports.
fn batch(server: &TestServer, metadata: &str, ports: usize) -> Answer {
    let item = |port: usize| format!(r#"{{"ip":"10.0.0.1","port":{}}}"#, port % 60_000);
    let items: Vec<String> = (0..ports).map(item).collect();
    let body = format!("serviceName=s&metadata={metadata}&instances=[{}]", items.join(","));
    server.send("PUT", "instance/metadata/batch", FORM, &body)
}

#[test]
fn a_batch_is_about_a_bounded_number_of_instances() {
    let server = TestServer::start();
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=7").expect(200);
    let refusal = batch(&server, "k=v", 200_000).expect(400);
    assert!(refusal.contains("'instances'") && refusal.contains("10000"), "{refusal}");
    let refusal = batch(&server, "k=v", 10_001).expect(400);
    assert!(refusal.contains("'instances'"), "{refusal}");
    let shown = || server.get("instance?serviceName=s&ip=10.0.0.1&port=7").json();
    assert_eq!(shown()["metadata"], serde_json::json!({}));

    let updated = batch(&server, "k=v", 10_000).expect(200);
    assert_eq!(updated, r#"{"updated":["10.0.0.1:7:unknown:DEFAULT:ephemeral"]}"#);
    assert_eq!(shown()["metadata"]["k"], "v");
}

#[test]
fn the_metadata_of_a_batch_counts_once_for_each_instance() {
    let server = TestServer::start();
    let large = format!("k={}", "v".repeat(30_000));
    let refusal = batch(&server, &large, 9_000).expect(400);
    assert!(refusal.contains("'instances'") && refusal.contains("67108864"), "{refusal}");
    batch(&server, &large, 2_000).expect(200);
    // Even a removal, which keeps only the names.
    let body = format!("serviceName=s&metadata=k={}&instances=[]", "v".repeat(33_000));
    let refusal = server.send("DELETE", "instance/metadata/batch", FORM, &body).expect(400);
    assert!(refusal.contains("'metadata'"), "{refusal}");
}

#[test]
fn items_that_name_no_instance_are_passed_over() {
    let server = TestServer::start();
    for port in [7, 8, 9] {
        let more = if port == 9 { "&ephemeral=false&clusterName=c" } else { "" };
        let target = format!("instance?serviceName=s&ip=10.0.0.1&port={port}{more}");
        server.call("POST", &target).expect(200);
    }
    let items = r#"[1,null,"x",[1],{},{"ip":"10.0.0.1"},{"ip":1,"port":7},{"ip":"10.0.0.1","port":-1},
        {"ip":"10.0.0.1","port":7,"x":[{}],"clusterName":" "},{"ip":"10.0.0.1","port":"8","ephemeral":"TRUE"},
        {"ip":"10.0.0.1","port":9,"ephemeral":false,"clusterName":"c"}]"#;
    let body = format!("serviceName=s&metadata=k=v&instances={items}");
    let answer = server.send("PUT", "instance/metadata/batch", FORM, &body).json();
    let expected =
        ["7:unknown:DEFAULT:ephemeral", "8:unknown:DEFAULT:ephemeral", "9:unknown:c:persist"];
    assert_eq!(answer["updated"], serde_json::json!(expected.map(|end| format!("10.0.0.1:{end}"))));
    for unreadable in ["", "{}", "[1", "x"] {
        let body = format!("serviceName=s&metadata=k=v&instances={unreadable}");
        let answer = server.send("PUT", "instance/metadata/batch", FORM, &body).expect(200);
        assert_eq!(answer, r#"{"updated":[]}"#, "{unreadable}");
    }
}

#[test]
fn a_text_of_metadata_is_not_read_if_it_is_too_long_for_any() {
    let mut config = Config::default();
    config.registry.max_metadata_bytes = 1_024;
    let server = TestServer::start_with(config);
    let refused = |method: &str, target: &str, metadata: &str| {
        let body = format!("serviceName=s&protectThreshold=0&ip=10.0.0.1&port=7&{metadata}");
        let refusal = server.send(method, target, FORM, &body).expect(400);
        assert!(refusal.contains("'metadata'"), "{method} {target}: {refusal:.200}");
        assert!(refusal.len() < 10_000, "{method} {target}: {}", refusal.len());
    };
    // A million pairs, of which one key is left; the text alone tells.
    let pairs = "a=b,".repeat(100_000);
    let object = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(100_000));
    for text in [pairs, object] {
        let metadata = format!("metadata={text}");
        refused("POST", "instance", &metadata);
        refused("PUT", "instance", &metadata);
        refused("PATCH", "instance", &metadata);
        refused("POST", "service", &metadata);
        refused("PUT", "instance/metadata/batch", &metadata);
    }
    let beat = format!(
        r#"beat={{"ip":"10.0.0.1","port":7,"metadata":{{{}"a":1}}}}"#,
        "\"a\":1,".repeat(100_000)
    );
    refused("PUT", "instance/beat", &beat);
    let escaped = format!(r#"{{"k":"{}"}}"#, "\\u0041".repeat(1_000));
    let body = format!("serviceName=s&ip=10.0.0.1&port=7&metadata={escaped}");
    server.send("POST", "instance", FORM, &body).expect(200);
}

#[test]
fn lists_of_switches_are_bounded_before_they_are_read() {
    let server = TestServer::start();
    let set = |entry: &str, value: &str| {
        let body = format!("entry={entry}&value={value}");
        server.send("PUT", "operator/switches", FORM, &body).expect(400)
    };
    let long = "a,".repeat(1_000_000);
    assert!(set("masters", &long).contains("'value'"));
    assert!(set("limitedUrlMap", &long).contains("'value'"));
    let batch = format!(r#"{{"masters":[{}""]}}"#, "\"a\",".repeat(200_000));
    assert!(set("batch", &batch).contains("'value'"));
    assert!(set("masters", &"a,".repeat(100)).contains("masters"));
}

#[test]
fn whoever_writes_is_named_in_bounded_bytes() {
    let server = TestServer::start();
    let agent = format!("User-Agent: {}\r\n", "a".repeat(400_000));
    server.send("POST", "instance?serviceName=s&ip=10.0.0.1&port=7", &agent, "").expect(200);
    let events = server.get("operator/events").json();
    assert_eq!(events["events"][0]["by"].as_str().unwrap().len(), 120);
}
