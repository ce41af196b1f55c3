//! What strangers get, who may send under any address by UDP.

use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;

use crate::client::{Client, SILENCE, cookie_of, extended, question, receive, send};
use crate::server_support::TestServer;
use crate::{A, SRV, config, register};

/// A server to which this machine is a stranger.
fn server(change: impl FnOnce(&mut naming_server::Config)) -> TestServer {
    let mut config = config();
    config.dns.trusted_networks = "10.0.0.0/8".parse().unwrap();
    config.dns.max_questions_per_second_per_source = 0;
    change(&mut config);
    let server = TestServer::start_with(config);
    for number in 1..=5 {
        register(&server, "orders", &format!("10.0.0.{number}"), "");
    }
    server
}

#[test]
fn no_answer_is_longer_than_its_question() {
    let server = server(|_| {});
    let client = Client::of(&server);
    for name in ["orders.nacos.internal.", "none.nacos.internal.", "nacos.internal.", "x."] {
        for kind in [A, SRV, RecordType::ANY, RecordType::SOA] {
            for message in [
                question(name, kind),
                extended(name, kind, 4_096, &[]),
                extended(name, kind, 4_096, b"a client"),
                extended(name, kind, 4_096, &[7; 24]),
            ] {
                let bytes = message.to_vec().unwrap();
                let answer = client.udp(&bytes);
                assert!(answer.len() <= bytes.len(), "{message}: {} bytes", answer.len());
                let answer = Message::from_vec(&answer).unwrap();
                let is_whole = answer.metadata.response_code == ResponseCode::Refused
                    || kind == RecordType::ANY && !answer.answers.is_empty();
                assert_eq!(answer.metadata.truncation, !is_whole, "{message}");
                assert!(answer.answers.is_empty() || kind == RecordType::ANY);
            }
        }
    }
    // A name in the question that is shorter than it will be, by a pointer into the head.
    let mut tricky = question("orders.nacos.internal.", A).to_vec().unwrap();
    tricky.truncate(12);
    tricky.extend([1, b'a', 0xc0, 4, 0, 1, 0, 1]);
    let answer = client.udp(&tricky);
    assert!(answer.len() <= tricky.len());
    // Who makes room gets what fits.
    let mut padded = extended("orders.nacos.internal.", A, 4_096, &[]);
    let padding = EdnsOption::Unknown(12, vec![0; 200]);
    padded.edns.as_mut().unwrap().options_mut().insert(padding);
    let answer = client.ask(&padded);
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (5, false));
}

#[test]
fn tcp_or_a_cookie_opens_whole_answers() {
    let server = server(|_| {});
    let client = Client::of(&server);
    let whole = client.tcp(&extended("orders.nacos.internal.", A, 1_232, b"a client"));
    assert_eq!(whole.answers.len(), 5);
    let cookie = cookie_of(&whole).expect("a cookie for the next question");
    assert_eq!((&cookie[..8], cookie.len()), (&b"a client"[..], 24));
    let by_udp = client.ask(&extended("orders.nacos.internal.", A, 1_232, &cookie));
    assert_eq!((by_udp.answers.len(), by_udp.metadata.truncation), (5, false));
    assert!(cookie_of(&by_udp).is_some(), "it is renewed");
    let mut forged = cookie.clone();
    forged[23] ^= 1;
    let answer = client.ask(&extended("orders.nacos.internal.", A, 1_232, &forged));
    assert!(answer.answers.is_empty() && answer.metadata.truncation);
    // The question had room for a cookie, so the client has a good one again.
    let renewed = cookie_of(&answer).expect("a cookie in the place of the bad one");
    let answer = client.ask(&extended("orders.nacos.internal.", A, 1_232, &renewed));
    assert_eq!(answer.answers.len(), 5);
    let answer = client.udp(&extended("x.", A, 1_232, &[1; 9]).to_vec().unwrap());
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "no cookie has 9 bytes");
}

#[test]
fn trusted_networks_get_whole_answers() {
    let server = server(|config| config.dns.trusted_networks = "127.0.0.0/8".parse().unwrap());
    let answer = Client::of(&server).ask(&question("orders.nacos.internal.", A));
    assert_eq!(answer.answers.len(), 5);
}

#[test]
fn an_address_may_ask_so_often_in_a_second() {
    const MOST: u32 = 5;
    const ASKED: u32 = 200;
    let server = server(|config| config.dns.max_questions_per_second_per_source = MOST);
    let client = Client::of(&server);
    let bytes = question("orders.nacos.internal.", A).to_vec().unwrap();
    let began = Instant::now();
    for _ in 0..ASKED {
        client.send(&bytes);
    }
    let mut answered = 0;
    while client.receive(SILENCE).is_some() {
        answered += 1;
    }
    // A busy machine may read them over several seconds.
    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap() + 2;
    assert!((MOST..=MOST * seconds).contains(&answered) && answered < ASKED, "{answered}");
    let mut stream = client.connect();
    let mut many = Vec::new();
    for _ in 0..ASKED {
        many.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        many.extend(&bytes);
    }
    // The connection may end before all is written.
    let _ = std::io::Write::write_all(&mut stream, &many);
    let answered = std::iter::from_fn(|| receive(&mut stream)).count();
    assert!(answered < ASKED as usize, "by TCP the connection ends: {answered}");
    let page = server.get("/nacos/metrics").body;
    assert!(page.contains("naming_dns_dropped_total{reason=\"rate\"}"), "{page}");
    assert!(!page.contains("naming_dns_dropped_total{reason=\"rate\"} 0\n"), "it is counted");
}

#[test]
fn an_address_may_have_so_many_connections() {
    let server = server(|config| {
        config.dns.max_connections = 3;
        config.dns.max_connections_per_source = 2;
    });
    let client = Client::of(&server);
    let bytes = question("orders.nacos.internal.", A).to_vec().unwrap();
    let mut held = [client.connect(), client.connect()];
    for stream in &mut held {
        send(stream, &bytes);
        receive(stream).expect("an answer");
    }
    let mut third = client.connect();
    // It may be closed before it is written to.
    let _ = std::io::Write::write_all(&mut third, &[0]);
    assert_eq!(receive(&mut third), None);
}
