//! What clients register, and how it ends.

use std::time::{Duration, Instant};

use naming_server::{Config, GrpcConfig};
use serde_json::json;

use crate::client::{Client, about, instance};
use crate::server_support::{TestServer, wait_for};

/// What an end may take to be seen: 0.7 s of waiting for the client elsewhere, and some time on a
/// busy machine.
const SOON: Duration = Duration::from_millis(2_500);

fn listed(server: &TestServer, service: &str) -> Vec<String> {
    let list = server.get(&format!("instance/list?serviceName={service}")).json();
    let hosts = list["hosts"].as_array().unwrap().iter();
    hosts.map(|host| host["ip"].as_str().unwrap().to_owned()).collect()
}

fn is_gone_soon(server: &TestServer, service: &str) {
    let ended = Instant::now();
    wait_for("it is gone", || listed(server, service).is_empty());
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_registers_is_there_as_long_as_its_connection() {
    let server = TestServer::start();
    let address = server.grpc.unwrap();
    let provider = Client::set_up(address, "provider").await;
    let mut subscriber = Client::set_up(address, "subscriber").await;
    assert_eq!(subscriber.subscribe("s").await["serviceInfo"]["hosts"], json!([]));
    provider.register("s", instance("10.0.0.1")).await;
    let list = subscriber.until_pushed(1).await;
    assert_eq!(
        list["serviceInfo"]["hosts"][0]["instanceId"],
        "10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@s"
    );
    assert_eq!(listed(&server, "s"), ["10.0.0.1"]);
    provider.die().await;
    let ended = Instant::now();
    subscriber.until_pushed(0).await;
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    assert_eq!(subscriber.hosts("s").await, [""; 0]);
    let events = server.get("operator/events?serviceName=s").json();
    assert_eq!(events["events"][0]["event"], "lapsed", "{events}");
    let page = server.get("/metrics").body;
    assert!(page.contains("naming_grpc_lapses_total 1"), "{page}");
    assert!(page.contains("naming_grpc_clients{version=\"Nacos-Java-Client:v2.5.1\"} 1"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_belongs_to_who_registered_it_last() {
    let server = TestServer::start();
    let address = server.grpc.unwrap();
    let first = Client::set_up(address, "first").await;
    first.register("s", instance("10.0.0.1")).await;
    let second = Client::set_up(address, "second").await;
    second.register("s", instance("10.0.0.1")).await;
    // What the first removes is its own, which is not there any more.
    first.ok("InstanceRequest", about("s", "deregisterInstance", instance("10.0.0.1"))).await;
    assert_eq!(listed(&server, "s"), ["10.0.0.1"]);
    first.register("t", instance("10.0.0.2")).await;
    first.die().await;
    is_gone_soon(&server, "t");
    assert_eq!(listed(&server, "s"), ["10.0.0.1"]);
    second.die().await;
    is_gone_soon(&server, "s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_takes_the_place_of_the_first_and_an_event_says_so() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "provider").await;
    client.register("s", instance("10.0.0.1")).await;
    client.register("s", instance("10.0.0.2")).await;
    assert_eq!(listed(&server, "s"), ["10.0.0.2"]);
    let events = server.get("operator/events?serviceName=s").json();
    let events = events["events"].as_array().unwrap();
    let removed = events.iter().find(|event| event["event"] == "deregistered").unwrap();
    assert_eq!(removed["ip"], "10.0.0.1");
    assert!(removed["by"].as_str().unwrap().ends_with("with another instance"), "{removed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_takes_an_instance_over_and_a_removal_over_http_does_not() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "provider").await;
    client.register("s", instance("10.0.0.1")).await;
    let target = "instance?serviceName=s&ip=10.0.0.1&port=80";
    assert_eq!(server.call("DELETE", target).expect(200), "ok");
    assert_eq!(listed(&server, "s"), ["10.0.0.1"]);
    let beat = server.put("instance/beat?serviceName=DEFAULT_GROUP@@s&ip=10.0.0.1&port=80").json();
    assert_eq!(beat["code"], 10_200, "{beat}");
    client.register("t", instance("10.0.0.2")).await;
    client.die().await;
    is_gone_soon(&server, "t");
    assert_eq!(listed(&server, "s"), ["10.0.0.1"], "it lives by its beats now");
    assert_eq!(server.call("DELETE", target).expect(200), "ok");
    assert!(listed(&server, "s").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_an_operator_has_changed_still_ends_with_its_connection() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "provider").await;
    client.register("s", instance("10.0.0.1")).await;
    let target = "instance?serviceName=s&ip=10.0.0.1&port=80&weight=7";
    assert_eq!(server.put(target).expect(200), "ok");
    client.register("s", instance("10.0.0.1")).await;
    let list = server.get("instance/list?serviceName=s").json();
    assert_eq!(list["hosts"][0]["weight"], 7.0, "it outlasts a registration");
    assert_eq!(server.put(&format!("{target}&enabled=true")).expect(200), "ok");
    client.die().await;
    is_gone_soon(&server, "s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_declares_is_shown_and_time_outs_of_beats_do_not_count() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "provider").await;
    let mut wish = instance("10.0.0.1");
    wish["healthy"] = false.into();
    wish["weight"] = (-1.0).into();
    wish["instanceId"] = "mine".into();
    let times = json!({
        "preserved.heart.beat.interval": "500", "preserved.heart.beat.timeout": "1000",
        "preserved.ip.delete.timeout": "1000",
    });
    wish["metadata"] = times;
    client.register("s", wish).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let list = client.ok("ServiceQueryRequest", json!({"serviceName": "s"})).await;
    let host = &list["serviceInfo"]["hosts"][0];
    let seen = (&host["healthy"], &host["weight"], &host["instanceId"]);
    assert_eq!(seen, (&json!(false), &json!(-1.0), &json!("mine")));
    let list = server.get("instance/list?serviceName=s").json();
    assert_eq!(list["hosts"][0]["weight"], 0.0, "1.x has weights from 0 on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_before_the_setup_is_told_what_may_be_wrong() {
    let server = TestServer::start();
    let client = Client::connect(server.grpc.unwrap()).await;
    let (kind, body) = client.call("HealthCheckRequest", json!({})).await;
    assert_eq!((&*kind, &body["errorCode"]), ("ErrorResponse", &json!(301)));
    assert!(body["message"].as_str().unwrap().contains("proxy"), "{body}");
    let (kind, body) = client.call("ServerCheckRequest", json!({})).await;
    assert_eq!((&*kind, &body["resultCode"]), ("ServerCheckResponse", &json!(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_sends_its_clients_elsewhere() {
    let grpc = GrpcConfig { drain_ms: 300, ..GrpcConfig::default() };
    let server = TestServer::start_with(Config { grpc, ..Config::default() });
    let mut client = Client::set_up(server.grpc.unwrap(), "provider").await;
    client.register("s", instance("10.0.0.1")).await;
    let stopping = std::thread::spawn(move || server.stop());
    let (kind, body) = client.asked().await.expect("a word before the end");
    assert_eq!((&*kind, &body["headers"]), ("ConnectResetRequest", &json!({})));
    client.until_closed().await;
    stopping.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_port_has_none() {
    let grpc = GrpcConfig { port: Some(0), ..GrpcConfig::default() };
    let server = TestServer::start_with(Config { grpc, ..Config::default() });
    assert!(server.grpc.is_none());
    assert_eq!(server.get("operator/metrics").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_port_takes_both_protocols_if_it_is_told_to() {
    let grpc = GrpcConfig { port: Some(0), shared_port: true, ..GrpcConfig::default() };
    let server = TestServer::start_with(Config { grpc, ..Config::default() });
    let client = Client::set_up(server.address, "provider").await;
    client.register("s", instance("10.0.0.1")).await;
    assert_eq!(listed(&server, "s"), ["10.0.0.1"]);
    client.die().await;
    is_gone_soon(&server, "s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_names_is_told_which_services_come_and_go() {
    let server = TestServer::start();
    let provider = Client::set_up(server.grpc.unwrap(), "provider").await;
    let mut watcher = Client::set_up(server.grpc.unwrap(), "watcher").await;
    for service in ["order-1", "order-2", "other"] {
        provider.register(service, instance("10.0.0.1")).await;
    }
    let watch = |kind: &str, known: &[&str]| {
        json!({
            "groupKeyPattern": "public>>DEFAULT_GROUP>>order*", "watchType": kind,
            "initializing": true, "receivedGroupKeys": known,
        })
    };
    let known = ["public@@DEFAULT_GROUP@@order-2", "public@@DEFAULT_GROUP@@order-3"];
    watcher.ok("NamingFuzzyWatchRequest", watch("WATCH", &known)).await;
    let (_, batch) = watcher.asked().await.unwrap();
    let change = |name: &str, kind: &str| json!({"serviceKey": format!("public@@DEFAULT_GROUP@@{name}"), "changedType": kind});
    let wanted = json!([change("order-1", "ADD_SERVICE"), change("order-3", "DELETE_SERVICE")]);
    assert_eq!(batch["contexts"], wanted, "{batch}");
    let ack = json!({"requestId": batch["requestId"], "resultCode": 200});
    watcher.tell("NamingFuzzyWatchChangeNotifyResponse", ack);
    let (_, end) = watcher.asked().await.unwrap();
    assert_eq!(end["syncType"], "FINISH_FUZZY_WATCH_INIT_NOTIFY");
    provider.die().await;
    let mut gone = Vec::new();
    for _ in 0..2 {
        let (kind, notice) = watcher.asked().await.unwrap();
        assert_eq!(kind, "NamingFuzzyWatchChangeNotifyRequest");
        assert_eq!(notice["changedType"], "DELETE_SERVICE");
        gone.push(notice["serviceKey"].as_str().unwrap().to_owned());
    }
    gone.sort();
    assert_eq!(gone, ["public@@DEFAULT_GROUP@@order-1", "public@@DEFAULT_GROUP@@order-2"]);
    for n in 0..19 {
        let body = json!({"groupKeyPattern": format!("n{n}>>*>>*"), "watchType": "WATCH"});
        watcher.ok("NamingFuzzyWatchRequest", body).await;
    }
    let body = json!({"groupKeyPattern": "more>>*>>*", "watchType": "WATCH"});
    let (_, refused) = watcher.call("NamingFuzzyWatchRequest", body.clone()).await;
    assert_eq!(refused["errorCode"], 50_310, "{refused}");
    watcher.ok("NamingFuzzyWatchRequest", watch("CANCEL_WATCH", &[])).await;
    watcher.ok("NamingFuzzyWatchRequest", body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_asked_and_closed_and_what_it_registered_goes() {
    let server = TestServer::start();
    let mut silent = Client::set_up(server.grpc.unwrap(), "silent").await;
    silent.register("s", instance("10.0.0.1")).await;
    let said = Instant::now();
    let question = tokio::time::timeout(Duration::from_secs(40), silent.asked_whenever()).await;
    let (kind, _) = question.expect("a question").unwrap();
    assert_eq!(kind, "ClientDetectionRequest");
    let asked = said.elapsed();
    assert!((19..24).contains(&asked.as_secs()), "{asked:?}");
    silent.until_closed().await;
    let closed = said.elapsed() - asked;
    assert!((4..8).contains(&closed.as_secs()), "{closed:?}");
    is_gone_soon(&server, "s");
}
