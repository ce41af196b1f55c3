//! Clients that change members, members that die or stand still, and the replacement of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, instance};
use crate::java::published;
use crate::server_support::wait_for;
use crate::site::{Site, listed};

/// Looks at a service again and again, and counts when it has not exactly one instance.
struct Watch {
    is_over: Arc<AtomicBool>,
    missing: Arc<AtomicUsize>,
    twice: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<usize>,
}

impl Watch {
    fn start(address: std::net::SocketAddr, service: &str) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let (missing, twice) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&is_over), Arc::clone(&missing), Arc::clone(&twice));
        let service = service.to_owned();
        let thread = std::thread::spawn(move || {
            let (is_over, missing, twice) = counts;
            let mut looks = 0;
            while !is_over.load(Relaxed) {
                match listed(address, &service).len() {
                    0 => missing.fetch_add(1, Relaxed),
                    1 => 0,
                    _ => twice.fetch_add(1, Relaxed),
                };
                looks += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            looks
        });
        Self { is_over, missing, twice, thread }
    }

    fn end(self) {
        self.is_over.store(true, Relaxed);
        let looks = self.thread.join().unwrap();
        let seen = (self.missing.load(Relaxed), self.twice.load(Relaxed));
        assert_eq!(seen, (0, 0), "missing and twice, in {looks} looks");
        assert!(looks > 20, "{looks}");
    }
}

#[test]
fn a_client_that_moves_between_java_and_ours_is_listed_once_and_never_missing() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    let moving = || [("moving", published("127.0.0.1", 80, true, json!({})))];
    java.publish("1_127.0.0.1_1", &moving());
    wait_for("ours knows", || site.count(4, "moving") == 1);
    let watch = Watch::start(site.http(4), "moving");

    // To ours: the old connection ends a moment after the new one is set up, as clients do that are
    // sent elsewhere; it registers there 2 s later, as from a timer.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let client = Client::set_up(site.grpc(4), "mover").await;
        java.disconnect("1_127.0.0.1_1");
        tokio::time::sleep(Duration::from_secs(2)).await;
        client.register("moving", instance("127.0.0.1")).await;
        client
    });
    std::thread::sleep(Duration::from_secs(6));
    wait_for("Java lists it once", || java.list("moving").len() == 1);

    // And back.
    java.publish("2_127.0.0.1_2", &moving());
    wait_for("both are told", || site.count(4, "moving") == 1 && java.list("moving").len() == 1);
    std::thread::sleep(Duration::from_secs(2));
    runtime.block_on(client.die());
    std::thread::sleep(Duration::from_secs(6));
    watch.end();
    assert_eq!(site.count(4, "moving"), 1);
    assert_eq!(java.list("moving").len(), 1);
    assert_eq!(java.stumbles(), Vec::<String>::new());
    drop(ours);
}

#[test]
fn java_lists_a_client_once_that_comes_to_ours_from_a_java_member_that_is_gone() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    // As any client over gRPC: it has chosen no id. Nobody has told yet that it is gone.
    java.adopt("1_10.0.0.7_1", &[("moved", published("10.0.0.7", 80, true, json!({})))]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let client = Client::set_up(site.grpc(4), "moved").await;
        client.register("moved", instance("10.0.0.7")).await;
        client.register("other", instance("10.0.0.7")).await;
        client
    });
    wait_for("Java knows the connection", || java.list("other").len() == 1);
    assert_eq!(java.list("moved").len(), 1, "{:?}", java.list("moved"));
    assert_eq!(java.stumbles(), Vec::<String>::new());
    drop((client, ours));
}

#[test]
fn a_client_that_beats_is_taken_over_from_a_java_member_that_dies() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    wait_for("both up", || java.is_up(&site.address(4)));
    let tag = site.judged_by(&java, 1, 3);
    let (ip, port) = tag.split_once(':').unwrap();
    let info = published(ip, port.parse().unwrap(), true, json!({}));
    java.publish(&format!("{tag}#true"), &[("beating", info)]);
    wait_for("ours knows", || site.count(4, "beating") == 1);
    let watch = Watch::start(site.http(4), "beating");
    java.kill();
    // It beats at ours from now on, and is judged there.
    let beat = json!({"ip": ip, "port": port.parse::<u16>().unwrap(), "cluster": "DEFAULT",
        "serviceName": "DEFAULT_GROUP@@beating"});
    let target = format!(
        "instance/beat?serviceName=beating&ip={ip}&port={port}&beat={}",
        beat.to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D")
    );
    for _ in 0..9 {
        std::thread::sleep(Duration::from_secs(5));
        ours.put(&target).expect(200);
        assert_eq!(site.listed(4, "beating"), [(tag.clone(), true)]);
    }
    watch.end();
    // It falls silent.
    let began = Instant::now();
    while site.count(4, "beating") == 1 {
        assert!(began.elapsed() < Duration::from_secs(45), "nobody judges it");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() > Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_java_member_that_stands_still_loses_nothing_here() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    java.publish("1_10.0.0.1_1", &[("still", published("10.0.0.1", 80, true, json!({})))]);
    wait_for("ours knows", || site.count(4, "still") == 1);
    let watch = Watch::start(site.http(4), "still");
    java.freeze(true);
    std::thread::sleep(Duration::from_secs(35));
    assert_eq!(site.listed(4, "still"), [("10.0.0.1:80".to_owned(), true)]);
    let target = "instance?serviceName=meanwhile&ip=10.0.0.5&port=80&ephemeral=true";
    ours.call("POST", target).expect(200);
    java.freeze(false);
    wait_for("both up", || java.is_up(&site.address(4)));
    let client = tokio::runtime::Runtime::new().unwrap();
    let held = client.block_on(async {
        let client = Client::set_up(site.grpc(4), "one").await;
        client.register("after", instance("10.0.0.7")).await;
        client
    });
    wait_for("Java is told again", || java.list("after").len() == 1);
    watch.end();
    drop(held);
}

#[test]
fn three_java_members_are_replaced_by_three_of_ours() {
    let mut site = Site::new(&[4, 5, 6]);
    site.set_list(&[1, 2, 3], &[]);
    let (one, two, three) = (site.java(1), site.java(2), site.java(3));
    let javas = [&one, &two, &three];
    for (n, java) in javas.iter().enumerate() {
        let ip = format!("10.0.0.{n}");
        let id = format!("1_{ip}_1");
        java.publish(&id, &[("all", published(&ip, 80, true, json!({})))]);
    }
    wait_for("Java members agree", || javas.iter().all(|java| java.list("all").len() == 3));
    let ours = [site.start(4), site.start(5), site.start(6)];
    wait_for("all of ours know", || (4..=6).all(|member| site.count(member, "all") == 3));
    site.set_list(&[1, 2, 3, 4, 5, 6], &javas);
    std::thread::sleep(Duration::from_secs(8));
    for member in 4..=6 {
        assert_eq!(site.count(member, "all"), 3, "at {member}");
    }
    // Clients move, one Java member after the other goes.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut clients = Vec::new();
    for n in 0..3_u8 {
        let ip = format!("10.0.0.{n}");
        let client = runtime.block_on(async {
            let client = Client::set_up(site.grpc(4 + n), &format!("moved-{n}")).await;
            client.register("all", instance(&ip)).await;
            client
        });
        javas[usize::from(n)].disconnect(&format!("1_{ip}_1"));
        clients.push(client);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            for member in 4..=6 {
                assert_eq!(site.count(member, "all"), 3, "at {member}");
            }
            runtime.block_on(say_something(&clients));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for java in &javas {
        assert_eq!(java.list("all").len(), 3, "{}", java.address);
        assert_eq!(java.stumbles(), Vec::<String>::new());
    }
    site.set_list(&[2, 3, 4, 5, 6], &[&two, &three]);
    one.kill();
    site.set_list(&[3, 4, 5, 6], &[&three]);
    two.kill();
    site.set_list(&[4, 5, 6], &[]);
    three.kill();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(35) {
        for member in 4..=6 {
            assert_eq!(site.count(member, "all"), 3, "at {member} after {:?}", began.elapsed());
        }
        runtime.block_on(say_something(&clients));
        std::thread::sleep(Duration::from_millis(200));
    }
    drop((clients, ours));
}

/// As clients do, who are taken for gone otherwise.
async fn say_something(clients: &[Client]) {
    for client in clients {
        client.ok("HealthCheckRequest", json!({})).await;
    }
}
