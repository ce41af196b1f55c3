//! Push over UDP as clients ask for it over HTTP: where packets go, and what is told at first.

mod common;

use std::io::Read;
use std::net::UdpSocket;
use std::time::Duration;

use common::Site;
use serde_json::Value;

const JAVA: &str = "User-Agent: Nacos-Java-Client:v1.4.8\r\n";
const DNS: &str = "User-Agent: Nacos-DNS:v0.4.3\r\n";
const GO: &str = "User-Agent: Nacos-Go-Client:v1.0.9\r\n";
const CPP: &str = "User-Agent: Nacos-C-Client:v1.0.12\r\n";
/// A packet comes at once or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket at an address of this machine from which no request of these tests comes.
fn victim() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    (socket, port)
}

/// Asks for a list with push; the polling interval that is told.
fn subscribe(site: &Site, agent: &str, service: &str, ip: &str, port: &str) -> u64 {
    let asked = [("serviceName", service), ("clientIP", ip), ("udpPort", port)];
    site.call_with(agent, "GET instance/list", &asked).json()["cacheMillis"].as_u64().unwrap()
}

fn register(site: &Site, service: &str, n: usize, metadata: &str) {
    let ip = format!("10.0.{}.{}", n / 250, n % 250 + 1);
    let instance = [("serviceName", service), ("ip", &ip), ("port", "80"), ("metadata", metadata)];
    site.ok("POST instance", &instance);
}

fn metric(site: &Site, name: &str) -> f64 {
    let page = site.call("GET /metrics", &[]).text;
    let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Packets of both kinds.
fn sent(site: &Site) -> f64 {
    metric(site, "naming_pushes_sent_total") + metric(site, "naming_push_probes_total")
}

/// The number of a packet.
fn number(datagram: &[u8]) -> Value {
    let mut text = Vec::new();
    let packet = match datagram.starts_with(&[0x1f, 0x8b]) {
        true => {
            flate2::read::GzDecoder::new(datagram).read_to_end(&mut text).unwrap();
            &*text
        }
        false => datagram,
    };
    serde_json::from_slice::<Value>(packet).unwrap()["lastRefTime"].clone()
}

/// Different for each, so that lists grow with it however they are packed.
fn metadata(n: usize) -> String {
    let mut state = n as u64 + 1;
    let mut digit = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    let text: String = (0..200).map(|_| digit()).collect();
    format!("k={text}")
}

#[test]
fn nothing_is_sent_to_an_address_that_the_request_did_not_come_from() {
    let site = Site::start();
    let (victim, port) = victim();
    for n in 0..10 {
        let service = format!("s{n}");
        assert_eq!(subscribe(&site, JAVA, &service, "127.0.0.2", &port), 3_000);
        for instance in 0..20 {
            register(&site, &service, instance, &metadata(instance));
        }
    }
    // It goes to where the request came from, where nobody listens.
    site.until("GET /metrics", &[], |_| sent(&site) > 0.0);
    victim.set_nonblocking(true).unwrap();
    let received = victim.recv(&mut [0; 65_536]);
    assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_network_that_the_operator_names_gets_two_short_packets_before_an_ack() {
    let site = Site::with(|config| {
        config.push.client_networks = "127.0.0.2".parse().unwrap();
    });
    let (client, port) = victim();
    // Nacos looks at brackets only around IPv6; here they never matter.
    assert_eq!(subscribe(&site, JAVA, "s0", "[127.0.0.2]", &port), 10_000);
    for n in 1..10 {
        assert_eq!(subscribe(&site, JAVA, &format!("s{n}"), "127.0.0.2", &port), 10_000);
    }
    for n in 0..10 {
        for instance in 0..20 {
            register(&site, &format!("s{n}"), instance, &metadata(instance));
        }
    }
    // Two short packets at most, the second ten seconds later.
    let (mut datagram, mut seen) = ([0; 65_536], 0);
    let (first, server) = client.recv_from(&mut datagram).unwrap();
    let number = number(&datagram[..first]);
    client.set_nonblocking(true).unwrap();
    let mut length = Ok(first);
    while let Ok(bytes) = length {
        assert!(bytes <= 1_200, "{bytes}");
        seen += 1;
        length = client.recv(&mut datagram);
    }
    assert!(seen <= 2, "{seen}");
    client.set_nonblocking(false).unwrap();
    let ack = format!(r#"{{"type":"push-ack","lastRefTime":"{number}","data":""}}"#);
    client.send_to(ack.as_bytes(), server).unwrap();
    // Now all others come, long as they are.
    let mut long = 0;
    while long < 10 {
        long += usize::from(client.recv(&mut datagram).unwrap() > 1_200);
    }
}

#[test]
fn long_texts_of_subscribers_take_no_more_than_their_room() {
    let site = Site::with(|config| config.push.max_subscriber_bytes = 8_192);
    register(&site, "s", 0, "");
    let tid = "x".repeat(1_000);
    let ask = |port: u16| {
        let port = port.to_string();
        let asked = [("serviceName", "s"), ("udpPort", &*port), ("tid", &*tid)];
        let list = site.call_with(JAVA, "GET instance/list", &asked).json();
        assert_eq!(list["hosts"].as_array().unwrap().len(), 1);
        list["cacheMillis"].as_u64().unwrap()
    };
    let told: Vec<u64> = (20_001..=20_010).map(ask).collect();
    assert_eq!(told, [[10_000; 7].as_slice(), &[3_000; 3]].concat());
    assert_eq!(metric(&site, "naming_push_refused_total"), 3.0);
    assert_eq!(metric(&site, "naming_subscribers"), 7.0);
    let bytes = metric(&site, "naming_subscriber_bytes");
    assert!((7_000.0..=8_192.0).contains(&bytes), "{bytes}");
    // Who is known renews.
    assert_eq!(ask(20_001), 10_000);
}

#[test]
fn the_first_answer_says_what_an_agent_cannot_read() {
    let site = Site::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let told = |service: &str| {
        [JAVA, CPP, GO, DNS].map(|agent| subscribe(&site, agent, service, "127.0.0.1", &port))
    };
    register(&site, "short", 0, &metadata(0));
    assert_eq!(told("short"), [10_000; 4]);
    (0..60).for_each(|n| register(&site, "long", n, &metadata(n)));
    assert_eq!(told("long"), [10_000, 10_000, 3_000, 3_000]);
    // Packed it is short, unpacked above 655,359 bytes.
    let same = format!("k={}", "x".repeat(30_000));
    (0..25).for_each(|n| register(&site, "repetitive", n, &same));
    assert_eq!(told("repetitive")[..2], [10_000, 3_000]);
}
