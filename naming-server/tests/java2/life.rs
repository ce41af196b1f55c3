//! Joining, telling each other, and the end of either kind.

use std::time::Duration;

use serde_json::json;

use crate::client::{Client, instance};
use crate::java::{Java, published};
use crate::server_support::{send, wait_for};
use crate::site::{Site, time_until};

/// What both kinds must know within two seconds, with what a busy machine adds.
const SOON: Duration = Duration::from_secs(4);

fn no_stumbles(javas: &[&Java]) {
    for java in javas {
        assert_eq!(java.stumbles(), Vec::<String>::new(), "{}", java.address);
    }
}

#[test]
fn a_member_joins_a_java_cluster_and_both_know_the_same() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 2], &[]);
    let (one, two) = (site.java(1), site.java(2));
    wait_for("Java members up", || one.is_up(&two.address) && two.is_up(&one.address));
    one.publish(
        "1_10.0.0.1_1",
        &[("single", published("10.0.0.1", 80, true, json!({"zone": "a"})))],
    );
    let batch = [
        ("batch", published("10.0.0.2", 80, true, json!({"publishInstanceWeight": 2.0}))),
        ("batch", published("10.0.0.2", 81, true, json!({}))),
    ];
    two.publish("2_10.0.0.2_1", &batch);
    wait_for("Java members agree", || {
        one.list("batch").len() == 2 && two.list("single").len() == 1
    });

    // The process before the lists: everything is there in its first answer.
    let ours = site.start(4);
    assert_eq!(site.listed(4, "single"), [("10.0.0.1:80".to_owned(), true)]);
    assert_eq!(site.count(4, "batch"), 2);
    site.set_list(&[1, 2, 4], &[&one, &two]);

    // What Java's clients do.
    one.publish("1_10.0.0.1_1", &[("single", published("10.0.0.1", 80, false, json!({})))]);
    let took =
        time_until("unhealthy", || site.listed(4, "single") == [("10.0.0.1:80".to_owned(), false)]);
    assert!(took < SOON, "{took:?}");
    one.publish("1_10.0.0.1_1", &[("other", published("10.0.0.1", 80, true, json!({})))]);
    wait_for("it left the one service for the other", || {
        site.count(4, "single") == 0 && site.count(4, "other") == 1
    });
    two.disconnect("2_10.0.0.2_1");
    let took = time_until("gone", || site.count(4, "batch") == 0);
    assert!(took < SOON, "{took:?}");

    // What clients of this member do.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let client = Client::set_up(site.grpc(4), "one").await;
        client.register("ours", instance("10.0.0.7")).await;
        client
    });
    let took =
        time_until("Java knows", || one.list("ours").len() == 1 && two.list("ours").len() == 1);
    assert!(took < SOON, "{took:?}");
    let tag = site.judged_by(&one, 4, 8);
    let (ip, port) = tag.split_once(':').unwrap();
    let target = format!("instance?serviceName=beating&ip={ip}&port={port}");
    ours.call("POST", &target).expect(200);
    wait_for("Java knows", || two.list("beating") == [(tag.clone(), true)]);
    // Vouched for: nobody drops it although Java hears no beats.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(two.list("beating").len(), 1);
    runtime.block_on(client.die());
    wait_for("Java knows of the end", || {
        one.list("ours").is_empty() && two.list("ours").is_empty()
    });
    ours.call("DELETE", &target).expect(200);
    wait_for("Java knows of the removal", || two.list("beating").is_empty());
    assert!(one.is_up(&site.address(4)) && two.is_up(&site.address(4)));
    no_stumbles(&[&one, &two]);
}

#[test]
fn a_java_member_that_starts_gets_everything_from_ours() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let ours = site.start(4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let client = Client::set_up(site.grpc(4), "one").await;
        client.register("ours", instance("10.0.0.7")).await;
        client
    });
    let java = site.java(1);
    wait_for("Java knows", || java.list("ours").len() == 1);
    java.publish("1_10.0.0.1_1", &[("theirs", published("10.0.0.1", 80, true, json!({})))]);
    wait_for("ours knows", || site.count(4, "theirs") == 1);
    no_stumbles(&[&java]);
    drop((client, ours));
}

#[test]
fn members_before_2_3_which_ack_no_setup_are_members_as_others() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1], &[]);
    let java = Java::start_before_2_3(&site.address(1), &site.list);
    java.publish("1_10.0.0.1_1", &[("theirs", published("10.0.0.1", 80, true, json!({})))]);
    let ours = site.start(4);
    assert_eq!(site.count(4, "theirs"), 1, "the snapshot is there with the first answer");
    site.set_list(&[1, 4], &[&java]);
    wait_for("both up", || java.is_up(&site.address(4)));
    let tag = site.judged_by(&java, 4, 8);
    let (ip, port) = tag.split_once(':').unwrap();
    ours.call("POST", &format!("instance?serviceName=ours&ip={ip}&port={port}")).expect(200);
    let took = time_until("Java knows", || java.list("ours").len() == 1);
    assert!(took < SOON, "{took:?}");
    // It never takes over another revision: it must hear of the client all the same.
    let change =
        format!("instance?serviceName=ours&ip={ip}&port={port}&metadata=%7B%22a%22:%221%22%7D");
    ours.call("PUT", &change).expect(200);
    let counts = || java.verified(&format!("{tag}#true"));
    wait_for("a revision is refused", || counts().1 > 0);
    let (before, _) = counts();
    std::thread::sleep(Duration::from_secs(11));
    let (taken, refused) = counts();
    assert!(taken > before, "{taken} were {before}: nobody vouches for it");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(counts().1, refused, "it is asked for what it does not keep");
    no_stumbles(&[&java]);
}

#[test]
fn a_member_that_starts_waits_for_a_java_member_that_is_slow_to_answer() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let java = site.java(1);
    java.publish("1_10.0.0.1_1", &[("theirs", published("10.0.0.1", 80, true, json!({})))]);
    java.freeze(true);
    let ours = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Longer than a start waits where nobody is.
            std::thread::sleep(Duration::from_secs(9));
            java.freeze(false);
        });
        site.start(4)
    });
    assert_eq!(site.count(4, "theirs"), 1, "the first answer");
    drop(ours);
}

#[test]
fn what_nobody_vouches_for_after_the_load_is_dropped_and_the_rest_stays() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1], &[]);
    let java = site.java(1);
    java.publish("1_10.0.0.1_1", &[("alive", published("10.0.0.1", 80, true, json!({})))]);
    // Of a member that is gone: still in the snapshot, and vouched for by nobody.
    let dead = published("10.0.0.9", 80, true, json!({}));
    java.adopt("1_10.0.0.9_1", &[("dead", dead)]);
    let ours = site.start(4);
    assert_eq!((site.count(4, "alive"), site.count(4, "dead")), (1, 1));
    site.set_list(&[1, 4], &[&java]);
    let began = std::time::Instant::now();
    while site.count(4, "dead") == 1 {
        assert!(began.elapsed() < Duration::from_secs(40), "the dead are listed for ever");
        assert_eq!(site.count(4, "alive"), 1, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() > Duration::from_secs(15), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(site.count(4, "alive"), 1);
    drop(ours);
}

#[test]
fn a_change_of_health_that_got_lost_is_found() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    wait_for("both up", || java.is_up(&site.address(4)));
    let tag = site.judged_by(&java, 1, 3);
    let (ip, port) = tag.split_once(':').unwrap();
    let id = format!("{tag}#true");
    java.publish(&id, &[("lost", published(ip, port.parse().unwrap(), true, json!({})))]);
    wait_for("ours knows", || site.listed(4, "lost") == [(tag.clone(), true)]);
    // Vouched for at the revision that is known here, again and again.
    std::thread::sleep(Duration::from_secs(2));
    java.lose_health(&id);
    wait_for("ours finds out", || site.listed(4, "lost") == [(tag.clone(), false)]);
    drop(ours);
}

#[test]
fn a_member_without_the_identity_is_refused_and_with_it_believed() {
    let mut site = Site::new(&[4]);
    site.identity = Some(("serverIdentity", "s3cret"));
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    java.publish("1_10.0.0.1_1", &[("theirs", published("10.0.0.1", 80, true, json!({})))]);
    wait_for("ours knows", || site.count(4, "theirs") == 1);
    let target = "instance?serviceName=s&ip=10.9.9.9&port=1";
    send(ours.address, "POST", target, "", "").expect(200);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let body = json!({"dataOperation": "SNAPSHOT"});
    runtime.block_on(async {
        let peer = Client::set_up(crate::java::cluster_address(&site.address(4)), "x").await;
        let ask = async |headers: &[(&str, &str)]| {
            let body = body.to_string().into();
            peer.call_with("DistroDataRequest", headers, body).await.unwrap().1
        };
        for headers in [&[][..], &[("serverIdentity", "x")], &[("serveridentity", "s3cret")]] {
            let reply = ask(headers).await;
            assert_eq!((&reply["resultCode"], &reply["errorCode"]), (&json!(500), &json!(403)));
            assert!(reply.get("distroData").is_none(), "{reply}");
        }
        let reply = ask(&[("serverIdentity", "s3cret")]).await;
        assert!(reply["distroData"]["content"].is_string(), "{reply}");
    });
    assert!(java.is_up(&site.address(4)));
}
