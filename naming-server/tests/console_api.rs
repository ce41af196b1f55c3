//! The console and what it asks that no server of Nacos tells.

mod auth_support;

use auth_support::Guarded;
use auth_support::server_support::{Answer, TestServer};
use naming_server::Config;
use serde_json::{Value, json};

const OWN: &str = "/nacos/v3/console/naming-server";

fn ok(answer: Answer) -> Value {
    let body = answer.expect(200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"].clone()
}

fn own(server: &TestServer, target: &str) -> Value {
    ok(server.get(&format!("{OWN}/{target}")))
}

fn refused(server: &TestServer, target: &str, part: &str) {
    let answer = server.get(&format!("{OWN}/{target}"));
    assert_eq!(answer.status, 400, "{target}: {answer:?}");
    assert!(answer.body.contains(part), "{target}: {}", answer.body);
}

fn register(server: &TestServer, more: &str) {
    ok(server.call("POST", &format!("/nacos/v2/ns/instance?{more}")));
}

#[test]
fn the_page_is_asked_for_once_and_then_known_by_its_tag() {
    let server = TestServer::start();
    let get = |headers: &str| server.send("GET", "/nacos/console/main.js", headers, "");
    let tag = |answer: &Answer| {
        let line = answer.head.lines().find_map(|line| line.strip_prefix("etag: "));
        line.unwrap().to_owned()
    };
    let plain = get("");
    assert!(!plain.head.contains("content-encoding") && plain.body.contains("import"));
    let known = get(&format!("If-None-Match: {}\r\n", tag(&plain)));
    assert_eq!((known.status, &*known.body), (304, ""));
    // What is compressed is another representation.
    let other = format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", tag(&plain));
    assert_eq!(server.call("HEAD", "/nacos/console/main.js").status, 200);
    let head = server.send("HEAD", "/nacos/console/main.js", &other, "");
    assert!(head.status == 200 && head.head.contains("content-encoding: gzip"), "{head:?}");
    for unknown in ["/nacos/console/", "/nacos/console/../main.js", "/nacos/console/x.js"] {
        assert_eq!(server.get(unknown).status, 404, "{unknown}");
    }
    // Beside the context path there is no such thing.
    assert_eq!(server.get("/console/main.js").status, 404);
}

#[test]
fn the_port_for_consoles_has_the_page_and_what_it_asks() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = Config::default();
    config.console.port = port;
    let _server = TestServer::start_with(config);
    let address = ([127, 0, 0, 1], port).into();
    let get = |target: &str| auth_support::server_support::send(address, "GET", target, "", "");
    assert!(get("/").expect(200).contains("data-api=\"console\""));
    assert!(get("/console/main.js").expect(200).contains("import"));
    assert_eq!(ok(get("/v3/console/naming-server/overview"))["services"], 0);
    assert!(get("/v3/openapi.json").expect(200).contains("\"openapi\""));
}

#[test]
fn instances_are_found_by_their_address_in_all_services() {
    let server = TestServer::start();
    for (number, namespace) in [(1, "public"), (2, "dev"), (10, "public")] {
        register(
            &server,
            &format!("serviceName=s{number}&ip=10.0.0.{number}&port=80&namespaceId={namespace}"),
        );
    }
    register(&server, "serviceName=t&ip=10.0.0.1&port=81&ephemeral=false");
    register(&server, "serviceName=v6&ip=[fe80::1]&port=80");
    let found = |query: &str| {
        let found = own(&server, &format!("search?address={query}"));
        let names = found["instances"].as_array().unwrap().iter();
        let names = names.map(|one| one["serviceName"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), found["more"] == true)
    };
    assert_eq!(found("10.0.0.1"), (vec!["s1".into(), "t".into()], false));
    assert_eq!(found("10.0.0.1:81"), (vec!["t".into()], false));
    assert_eq!(found("10.0.0."), (vec!["s2".into(), "s1".into(), "s10".into(), "t".into()], false));
    assert_eq!(found("fe80::1"), (vec!["v6".into()], false));
    assert_eq!(found("10.0.0.&namespaceId=dev"), (vec!["s2".into()], false));
    assert_eq!(found("10.0.0.9"), (vec![], false));
    for bad in ["search", "search?address=%20"] {
        refused(&server, bad, "'address'");
    }
    refused(&server, "search?address=!10.0.0.1", "'address'");
}

#[test]
fn a_search_that_finds_too_much_says_so() {
    let server = TestServer::start();
    for number in 0..201 {
        register(
            &server,
            &format!("serviceName=s&ip=10.0.{}.{}&port=80", number / 200, number % 200),
        );
    }
    let found = own(&server, "search?address=10.");
    assert_eq!((&found["count"], &found["more"]), (&json!(200), &json!(true)));
    assert_eq!(found["instances"].as_array().unwrap().len(), 200);
}

#[test]
fn instances_of_a_service_are_picked_by_what_they_are() {
    let server = TestServer::start();
    for number in 1..=5 {
        let zone = if number % 2 == 0 { "a" } else { "b" };
        let cluster = if number > 3 { "c1" } else { "DEFAULT" };
        register(
            &server,
            &format!(
                "serviceName=s&ip=10.0.0.{number}&port=80&metadata=zone={zone}&clusterName={cluster}"
            ),
        );
    }
    let target = "/nacos/v3/console/naming-server/instance?serviceName=s&ip=10.0.0.2&port=80";
    ok(server.put(&format!("{target}&enabled=false&weight=1")));
    let picked = |query: &str| {
        let page = own(&server, &format!("instances?serviceName=s&{query}"));
        let items = page["pageItems"].as_array().unwrap();
        let last = |one: &Value| one["ip"].as_str().unwrap()[7..].parse::<u64>().unwrap();
        (items.iter().map(last).collect::<Vec<_>>(), page["totalCount"].as_u64().unwrap())
    };
    assert_eq!(picked(""), (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(picked("pageNo=2&pageSize=2"), (vec![3, 4], 5));
    assert_eq!(picked("clusterName=c1"), (vec![4, 5], 2));
    assert_eq!(picked("metadata=zone=a"), (vec![2, 4], 2));
    assert_eq!(picked("metadata=zone&enabled=true"), (vec![1, 3, 4, 5], 4));
    assert_eq!(picked("enabled=false"), (vec![2], 1));
    assert_eq!(picked("address=10.0.0.3"), (vec![3], 1));
    assert_eq!(picked("healthy=false"), (vec![], 0));
    let page = own(&server, "instances?serviceName=s&address=10.0.0.2");
    assert_eq!(page["pageItems"][0]["operatorValues"]["enabled"], false);
    refused(&server, "instances?serviceName=s&healthy=maybe", "'healthy'");
    refused(&server, "instances?serviceName=s&pageSize=1001", "'pageSize'");
    assert_eq!(server.get(&format!("{OWN}/instances?serviceName=nope")).status, 404);
}

#[test]
fn clients_without_a_connection_are_listed_page_by_page() {
    let server = TestServer::start();
    for number in 1..=5 {
        register(&server, &format!("serviceName=s{}&ip=10.0.0.{number}&port=80", number % 2));
        register(&server, &format!("serviceName=both&ip=10.0.0.{number}&port=80"));
    }
    let (mut after, mut seen) = (String::new(), Vec::new());
    for _ in 0..4 {
        let page = own(&server, &format!("addresses?pageSize=2&after={after}"));
        for client in page["clients"].as_array().unwrap() {
            assert_eq!(client["published"], 2, "{client}");
            seen.push(client["clientId"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = next.replace('#', "%23"),
            None => break,
        }
    }
    let all: Vec<_> = (1..=5).map(|number| format!("10.0.0.{number}:80#true")).collect();
    assert_eq!(seen, all);
    let one = own(&server, "client?clientId=10.0.0.3:80%23true");
    assert_eq!(one["publications"].as_array().unwrap().len(), 2);
    refused(&server, "addresses?pageSize=501", "'pageSize'");
    refused(&server, "clients?pageSize=501", "'pageSize'");
}

#[test]
fn the_overview_counts_without_a_look_at_all_services() {
    let server = TestServer::start();
    register(&server, "serviceName=s&ip=10.0.0.1&port=80");
    let before = own(&server, "overview");
    server.put("instance/beat?serviceName=s&ip=10.0.0.1&port=80").expect(200);
    let after = own(&server, "overview");
    assert_eq!((&after["services"], &after["instances"]), (&json!(1), &json!(1)));
    let grown = |name: &str| {
        after["counters"][name].as_u64().unwrap() - before["counters"][name].as_u64().unwrap()
    };
    assert_eq!(grown("beats"), 1);
    assert!(grown("requests") >= 2);
    assert_eq!(after["counters"]["events"]["registered"], 1);
    assert_eq!(
        (&after["members"][0]["isOwn"], &after["members"][0]["slots"]),
        (&json!(true), &json!(1024))
    );
    let events = own(&server, "events?ip=10.0.0.1");
    assert_eq!(
        (&events["count"], &events["events"][0]["event"]),
        (&json!(1), &json!("registered"))
    );
}

#[test]
fn the_latest_changes_are_shown_with_who_made_them() {
    let site = Guarded::start();
    let root = site.root();
    let target = format!("{OWN}/audit?accessToken={root}");
    site.server
        .put(&format!("{OWN}/switches?entry=pushEnabled&value=false&accessToken={root}"))
        .expect(200);
    site.server.put(&format!("{OWN}/switches?entry=pushEnabled&value=true")).expect(403);
    let audit = ok(site.server.get(&format!("{target}&limit=2")));
    let changes = audit["changes"].as_array().unwrap();
    let told = |change: &Value| (change["action"].clone(), change["outcome"].clone());
    assert_eq!(told(&changes[0]), (json!("switches_update"), json!("refused")));
    assert_eq!(told(&changes[1]), (json!("switches_update"), json!("ok")));
    assert_eq!(changes[1]["user"], "root");
    assert_eq!(site.server.get(&format!("{OWN}/audit")).status, 403);
    assert_eq!(site.server.get(&format!("{target}&limit=0")).status, 400);
}
