//! What one member tells of the clients of all.

use serde_json::{Value, json};

use crate::client::{Client, instance};
use crate::server_support::members::Cluster;
use crate::server_support::{Answer, TestServer, wait_for};

const OWN: &str = "/nacos/v3/console/naming-server";
const ADMIN: &str = "/nacos/v3/admin/ns";

/// The answer in its envelope.
fn whole(server: &TestServer, target: &str) -> Value {
    let answer: Answer = server.get(target);
    let answer: Value = serde_json::from_str(&answer.expect(200)).unwrap();
    assert_eq!(answer["code"], 0, "{target}: {answer}");
    answer
}

fn data(server: &TestServer, target: &str) -> Value {
    whole(server, target)["data"].take()
}

fn own(server: &TestServer, target: &str) -> Value {
    data(server, &format!("{OWN}/{target}"))
}

fn texts<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap_or("null")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_member_tells_of_the_clients_of_all_and_names_those_that_are_silent() {
    let mut cluster = Cluster::start(3);
    let grpc: Vec<_> = cluster.alive().map(|server| server.grpc.unwrap()).collect();
    let address = |member: u8| cluster.address(member);
    let addresses = [address(0), address(1), address(2)];
    let one = Client::set_up(grpc[0], "one").await;
    one.register("orders", instance("10.0.0.1")).await;
    one.subscribe("stock").await;
    let two = Client::set_up(grpc[1], "two").await;
    two.register("orders", instance("10.0.0.2")).await;
    two.subscribe("stock").await;
    let asked = cluster.member(2);
    wait_for("all is known everywhere", || {
        let list = asked.get("instance/list?serviceName=orders").json();
        list["hosts"].as_array().map_or(0, Vec::len) == 2
    });

    let clients = own(asked, "clients");
    assert_eq!((&clients["totalCount"], &clients["unanswered"]), (&json!(2), &json!([])));
    assert_eq!(
        clients["members"],
        json!({ &*addresses[0]: 1, &*addresses[1]: 1, &*addresses[2]: 0 })
    );
    let rows = &clients["pageItems"];
    assert_eq!(texts(rows, "member"), [&*addresses[1], &*addresses[0]], "the newest first");
    let ids = texts(rows, "clientId");
    for (number, id) in [1, 2].into_iter().zip(&ids) {
        let page = own(asked, &format!("clients?pageNo={number}&pageSize=1"));
        assert_eq!(texts(&page["pageItems"], "clientId"), [*id]);
        assert_eq!(page["pagesAvailable"], 2);
    }
    let of_one = own(asked, &format!("clients?member={}", addresses[0]));
    assert_eq!(texts(&of_one["pageItems"], "clientId"), [ids[1]]);
    for (target, part) in [
        ("clients?member=10.9.9.9:1", "Param 'member' is illegal"),
        ("clients?pageNo=500&pageSize=500", "Param 'pageNo' is illegal"),
    ] {
        let refused = asked.get(&format!("{OWN}/{target}"));
        assert!(refused.status == 400 && refused.body.contains(part), "{refused:?}");
    }

    // A client is followed from wherever one looks.
    for server in cluster.alive() {
        let followed = own(server, &format!("client?clientId={}", ids[1]));
        assert_eq!(
            (&followed["member"], &followed["clientId"]),
            (&json!(addresses[0]), &json!(ids[1]))
        );
        assert_eq!(texts(&followed["publications"], "ip"), ["10.0.0.1"]);
        assert_eq!(texts(&followed["subscriptions"], "serviceName"), ["stock"]);
    }
    let all = data(asked, &format!("{ADMIN}/client/list"));
    assert!(ids.iter().all(|id| all.as_array().unwrap().contains(&json!(id))), "{all}");
    let detail = data(asked, &format!("{ADMIN}/client?clientId={}", ids[1]));
    assert_eq!(
        (&detail["clientType"], &detail["connectType"]),
        (&json!("connection"), &json!("GRPC"))
    );
    let published = data(asked, &format!("{ADMIN}/client/publish/list?clientId={}", ids[0]));
    assert_eq!(published[0]["publisherInfo"]["ip"], "10.0.0.2");
    let subscribed = data(asked, &format!("{ADMIN}/client/subscribe/list?clientId={}", ids[0]));
    assert_eq!(texts(&subscribed, "serviceName"), ["stock"]);
    let publishers =
        data(asked, &format!("{ADMIN}/client/service/publisher/list?serviceName=orders"));
    assert_eq!(texts(&publishers, "clientId"), [ids[1], ids[0]]);
    let listeners =
        data(asked, &format!("{ADMIN}/client/service/subscriber/list?serviceName=stock"));
    let mut listening = texts(&listeners, "clientId");
    listening.sort_unstable();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(listening, sorted);
    let held = own(asked, "instances?serviceName=orders");
    assert_eq!(texts(&held["pageItems"], "clientId"), [ids[1], ids[0]]);
    let page = data(asked, &format!("{ADMIN}/service/subscribers?serviceName=stock"));
    assert_eq!(page["totalCount"], 2, "{page}");
    let here =
        data(asked, &format!("{ADMIN}/service/subscribers?serviceName=stock&aggregation=false"));
    assert_eq!(here["totalCount"], 0);
    let first = asked.get("service/subscribers?serviceName=stock").json();
    assert_eq!(first["count"], 2, "{first}");
    let load = data(asked, "/nacos/v3/admin/core/loader/cluster");
    assert_eq!((&load["total"], &load["completed"]), (&json!(2), &json!(true)));
    let members = own(asked, "members");
    let connections: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|one| &one["connections"]).collect();
    assert_eq!(connections, [&json!(1), &json!(1), &json!(0)]);
    let events = own(asked, "events?serviceName=orders");
    let mut seen = texts(&events["events"], "member");
    seen.sort_unstable();
    assert_eq!(seen, [&*addresses[0], &*addresses[1]]);

    // A member that cannot be asked is named, and the others are shown all the same.
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    cluster.take(0).kill();
    let asked = cluster.member(2);
    let clients = own(asked, "clients");
    assert_eq!(texts(&clients["pageItems"], "clientId"), [&*ids[0]]);
    assert_eq!(texts(&clients["unanswered"], "address"), [&*addresses[0]]);
    let all = whole(asked, &format!("{ADMIN}/client/list"));
    assert!(all["data"].as_array().unwrap().contains(&json!(ids[0])), "{all}");
    assert_eq!(texts(&all["unanswered"], "address"), [&*addresses[0]]);
    let unknown = asked.get(&format!("{OWN}/client?clientId={}", ids[1]));
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains(&addresses[0]), "{}", unknown.body);
    drop((one, two));
}
