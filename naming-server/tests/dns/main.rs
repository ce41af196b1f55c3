//! DNS as clients of it see it.

#[path = "../auth_support/mod.rs"]
mod auth_support;
mod client;
mod strangers;

use auth_support::server_support;
use auth_support::{Guarded, guarded_config};
use client::{Client, extended, question, receive, send};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use naming_server::{Config, NewUser};
use server_support::{TestServer, wait_for};

const A: RecordType = RecordType::A;
const AAAA: RecordType = RecordType::AAAA;
const SRV: RecordType = RecordType::SRV;

fn config() -> Config {
    let mut config = Config::default();
    config.dns.port = Some(0);
    config
}

fn register(server: &TestServer, service: &str, ip: &str, rest: &str) {
    let target = format!("instance?serviceName={service}&ip={ip}&port=8080{rest}");
    server.call("POST", &target).expect(200);
}

#[test]
fn a_name_stands_for_the_addresses_of_a_service() {
    let server = TestServer::start_with(config());
    register(&server, "orders", "10.0.0.1", "");
    register(&server, "orders", "10.0.0.2", "");
    register(&server, "orders", "2001:db8::1", "");
    register(&server, "orders", "10.0.0.3", "&groupName=shop");
    register(&server, "orders", "10.0.0.4", "&groupName=shop&namespaceId=dev");
    register(&server, "orders", "10.0.0.5", "&namespaceId=dev");
    let client = Client::of(&server);
    assert_eq!(client.found("orders.nacos.internal.", A), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(client.found("ORDERS.Nacos.internal.", A), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(client.found("orders.nacos.internal.", AAAA), ["2001:db8::1"]);
    assert_eq!(client.found("orders.shop.nacos.internal.", A), ["10.0.0.3"]);
    assert_eq!(client.found("orders.shop.dev.nacos.internal.", A), ["10.0.0.4"]);
    assert_eq!(client.found("orders._.dev.nacos.internal.", A), ["10.0.0.5"]);
    assert_eq!(client.found("orders.DEFAULT_GROUP.dev.nacos.internal.", A), ["10.0.0.5"]);
    register(&server, "com.example.Orders:1.0", "10.0.0.6", "&groupName=SEATA_GROUP");
    let escaped = "com_pexample_p_uorders_3a1_p0._wseata___wgroup.nacos.internal.";
    assert_eq!(client.found(escaped, A), ["10.0.0.6"]);
    // The case of the question comes back, as those need who guard themselves by it.
    let asked = client.ask(&question("oRdErS.nAcOs.internal.", A));
    assert_eq!(asked.answers[0].name.to_ascii(), "oRdErS.nAcOs.internal.");
    assert!(asked.metadata.authoritative && !asked.metadata.recursion_available);
    assert_eq!((asked.answers[0].ttl, asked.metadata.truncation), (5, false));
}

#[test]
fn service_records_tell_port_and_weight_and_their_targets_have_addresses() {
    let server = TestServer::start_with(config());
    register(&server, "orders", "10.0.0.1", "&weight=1.5");
    register(&server, "orders", "2001:db8::1", "&weight=10000");
    register(&server, "orders", "10.0.0.9", "&weight=0");
    register(&server, "orders", "node.example", "");
    let client = Client::of(&server);
    let answer = client.ask(&extended("orders.nacos.internal.", SRV, 4_096, &[]));
    let mut found: Vec<_> =
        answer.answers.iter().map(|record| client::text(&record.data)).collect();
    found.sort();
    // 10,000 is the greatest weight, and 65,535 the greatest number: the others keep their share.
    let six = "addr-20010db8000000000000000000000001.nacos.internal.";
    let mut wanted = [
        "0 10 8080 addr-0a000001.nacos.internal.".to_owned(),
        format!("0 65535 8080 {six}"),
        "0 7 8080 node.example.".to_owned(),
    ];
    wanted.sort();
    assert_eq!(found, wanted);
    let mut targets: Vec<_> = answer
        .additionals
        .iter()
        .map(|record| (record.name.to_ascii(), client::text(&record.data)))
        .collect();
    targets.sort();
    let wanted = [("addr-0a000001.nacos.internal.", "10.0.0.1"), (six, "2001:db8::1")];
    assert_eq!(targets, wanted.map(|(name, ip)| (name.to_owned(), ip.to_owned())));
    assert_eq!(client.found("addr-0a000001.nacos.internal.", A), ["10.0.0.1"]);
    assert_eq!(client.found(six, AAAA), ["2001:db8::1"]);
    assert_eq!(client.found(six, A), [""; 0]);
    // Ordinary weights are hundredths.
    register(&server, "plain", "10.0.0.1", "");
    let plain = client.found("plain.nacos.internal.", SRV);
    assert_eq!(plain, ["0 100 8080 addr-0a000001.nacos.internal."]);
}

#[test]
fn only_healthy_and_enabled_instances_are_shown_unless_few_are() {
    let server = TestServer::start_with(config());
    let client = Client::of(&server);
    let found = || client.found("orders.nacos.internal.", A);
    register(&server, "orders", "10.0.0.1", "");
    register(&server, "orders", "10.0.0.2", "&healthy=false");
    register(&server, "orders", "10.0.0.3", "&enabled=false");
    assert_eq!(found(), ["10.0.0.1"]);
    // At or below the threshold all that are enabled are shown, as in lists.
    server.put("service?serviceName=orders&protectThreshold=0.7").expect(200);
    assert_eq!(found(), ["10.0.0.1", "10.0.0.2"]);
    server.put("service?serviceName=orders&protectThreshold=0").expect(200);
    for ip in ["10.0.0.1", "10.0.0.3"] {
        let target = format!("instance?serviceName=orders&ip={ip}&port=8080");
        server.call("DELETE", &target).expect(200);
    }
    assert_eq!(found(), ["10.0.0.2"], "no healthy one is left");
    server.call("DELETE", "instance?serviceName=orders&ip=10.0.0.2&port=8080").expect(200);
    assert_eq!(found(), [""; 0]);
}

#[test]
fn what_is_not_there_is_told_apart_and_others_may_remember_it() {
    let server = TestServer::start_with(config());
    register(&server, "orders", "10.0.0.1", "&groupName=shop&namespaceId=dev");
    register(&server, "six", "2001:db8::1", "");
    let client = Client::of(&server);
    for (name, kind, code) in [
        ("none.nacos.internal.", A, ResponseCode::NXDomain),
        ("a.b.c.d.nacos.internal.", A, ResponseCode::NXDomain),
        ("a_x.nacos.internal.", A, ResponseCode::NXDomain),
        ("six.nacos.internal.", A, ResponseCode::NoError),
        ("six.nacos.internal.", RecordType::TXT, ResponseCode::NoError),
        // There are names below: a resolver must not conclude that there are none.
        ("dev.nacos.internal.", A, ResponseCode::NoError),
        ("shop.dev.nacos.internal.", A, ResponseCode::NoError),
        ("other.dev.nacos.internal.", A, ResponseCode::NXDomain),
        ("shop.nacos.internal.", A, ResponseCode::NXDomain),
        ("nacos.internal.", A, ResponseCode::NoError),
    ] {
        let answer = client.ask(&question(name, kind));
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0), "{name}");
        let [authority] = &*answer.authorities else { panic!("{answer}") };
        assert_eq!(authority.name.to_ascii(), "nacos.internal.");
        let RData::SOA(soa) = &authority.data else { panic!("{answer}") };
        assert_eq!((authority.ttl, soa.minimum), (5, 5));
    }
    assert_eq!(client.found("nacos.internal.", RecordType::SOA).len(), 1);
    let servers = client.ask(&question("nacos.internal.", RecordType::NS));
    let [server_name] = &*servers.answers else { panic!("{servers}") };
    assert_eq!(client::text(&server_name.data), "addr-7f000001.nacos.internal.");
    assert_eq!(client::text(&servers.additionals[0].data), "127.0.0.1");
    let any = client.found("six.nacos.internal.", RecordType::ANY);
    assert!(any.len() == 1 && any[0].contains("RFC8482"), "{any:?}");
}

#[test]
fn what_is_no_question_for_this_server_is_refused() {
    let server = TestServer::start_with(config());
    let client = Client::of(&server);
    assert_eq!(client.code("example.com.", A), ResponseCode::Refused);
    assert_eq!(client.code(".", RecordType::NS), ResponseCode::Refused);
    assert_eq!(client.code("nacos.internal.", RecordType::AXFR), ResponseCode::Refused);
    let mut chaos = question("nacos.internal.", A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(client.ask(&chaos).metadata.response_code, ResponseCode::Refused);
    let mut notify = question("nacos.internal.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    let answer = Message::from_vec(&client.udp(&notify.to_vec().unwrap())).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
    let mut twice = question("nacos.internal.", A);
    twice.add_query(twice.queries[0].clone());
    let answer = Message::from_vec(&client.udp(&twice.to_vec().unwrap())).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    let mut newer = extended("nacos.internal.", A, 1_232, &[]);
    newer.edns.as_mut().unwrap().set_version(1);
    let answer = client.ask(&newer);
    assert_eq!(answer.metadata.response_code.low(), 0);
    assert_eq!(answer.edns.unwrap().rcode_high(), 1, "BADVERS");
}

#[test]
fn garbage_has_a_short_answer_or_none() {
    let server = TestServer::start_with(config());
    let client = Client::of(&server);
    let good = question("orders.nacos.internal.", A).to_vec().unwrap();
    let mut answer_to_nobody = good.clone();
    answer_to_nobody[2] |= 0x80;
    for silent in [&good[..11], b"", &answer_to_nobody] {
        assert_eq!(client.try_udp(silent, client::SILENCE), None);
    }
    for length in 12..good.len() {
        let answer = client.udp(&good[..length]);
        assert!(answer.len() <= length, "{length}");
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{length}");
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(2..bytes.len());
            bytes[at] = random.u8(..);
        }
        // A head that says that it is an answer has none.
        bytes[2] &= 0x7f;
        client.udp(&bytes);
    }
    assert_eq!(client.code("orders.nacos.internal.", A), ResponseCode::NXDomain, "it lives");
}

#[test]
fn long_answers_are_cut_by_udp_and_whole_by_tcp() {
    let mut config = config();
    config.dns.max_records = 200;
    let server = TestServer::start_with(config);
    for number in 1..=150 {
        register(&server, "many", &format!("10.0.0.{number}"), "");
    }
    let client = Client::of(&server);
    for (question, most) in [
        (question("many.nacos.internal.", A), 512),
        (extended("many.nacos.internal.", A, 1_000, &[]), 1_000),
        (extended("many.nacos.internal.", A, 4_096, &[]), 1_232),
        (extended("many.nacos.internal.", A, 1, &[]), 512),
    ] {
        let bytes = client.udp(&question.to_vec().unwrap());
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(bytes.len() <= most && bytes.len() > most - 40, "{} of {most}", bytes.len());
        assert!(answer.metadata.truncation && !answer.answers.is_empty());
        assert_eq!(answer.edns.is_some(), question.edns.is_some());
    }
    let whole = client.tcp(&question("many.nacos.internal.", A));
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (150, false));
    let places = client.tcp(&question("many.nacos.internal.", SRV));
    assert_eq!((places.answers.len(), places.additionals.len()), (150, 150));
}

#[test]
fn a_service_with_more_instances_than_an_answer_has_records_shows_others_each_time() {
    let mut config = config();
    config.dns.max_records = 3;
    let server = TestServer::start_with(config);
    for number in 1..=7 {
        register(&server, "many", &format!("10.0.0.{number}"), "");
    }
    let client = Client::of(&server);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..7 {
        let found = client.found("many.nacos.internal.", A);
        assert_eq!(found.len(), 3);
        seen.extend(found);
    }
    assert_eq!(seen.len(), 7);
}

#[test]
fn questions_follow_each_other_on_a_connection_until_it_is_silent_or_mad() {
    let mut config = config();
    config.dns.idle_timeout_ms = 2_000;
    let server = TestServer::start_with(config);
    register(&server, "orders", "10.0.0.1", "");
    let client = Client::of(&server);
    let bytes = question("orders.nacos.internal.", A).to_vec().unwrap();
    let mut stream = client.connect();
    // Two at once, then one after the other.
    send(&mut stream, &bytes);
    send(&mut stream, &bytes);
    for _ in 0..2 {
        assert_eq!(Message::from_vec(&receive(&mut stream).unwrap()).unwrap().answers.len(), 1);
    }
    send(&mut stream, &bytes);
    receive(&mut stream).unwrap();
    assert_eq!(receive(&mut stream), None, "it was silent");
    let mut stream = client.connect();
    send(&mut stream, &vec![0; 5_000]);
    assert_eq!(receive(&mut stream), None, "no question is as long");
    let mut stream = client.connect();
    send(&mut stream, b"");
    assert_eq!(receive(&mut stream), None);
}

#[test]
fn an_answer_changes_with_the_service() {
    let server = TestServer::start_with(config());
    let client = Client::of(&server);
    let find = || client.find("orders.nacos.internal.", A);
    assert_eq!(find().0, ResponseCode::NXDomain);
    for number in 1..=20 {
        register(&server, "orders", &format!("10.0.0.{number}"), "");
        assert_eq!(find().1.len(), number);
    }
    let metadata = "&metadata=preserved.heart.beat.interval=3,preserved.heart.beat.timeout=6,\
                    preserved.ip.delete.timeout=9";
    register(&server, "hasty", "10.0.0.1", metadata);
    wait_for("the expiry", || client.found("hasty.nacos.internal.", A).is_empty());
}

#[test]
fn while_users_are_asked_for_questions_have_the_rights_of_one_user() {
    let mut settings = guarded_config();
    settings.dns.port = Some(0);
    let guarded = Guarded::start_with(settings.clone());
    let client = Client::of(&guarded.server);
    let root = guarded.root();
    guarded.ok(
        &root,
        "POST ns/instance",
        &[("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "1")],
    );
    for name in ["s.nacos.internal.", "none.nacos.internal.", "g.nacos.internal."] {
        assert_eq!(client.code(name, A), ResponseCode::Refused, "{name}: nobody is named");
    }
    settings.dns.user = "dns".to_owned();
    let users = vec![
        NewUser::new("root", "root's password", true).unwrap(),
        NewUser::new("dns", "nobody knows it", false).unwrap(),
    ];
    let guarded = Guarded { server: TestServer::start_with_users(settings, users) };
    let client = Client::of(&guarded.server);
    let root = guarded.root();
    for (namespace, ip) in [("public", "10.0.0.1"), ("dev", "10.0.0.2")] {
        let parameters =
            [("serviceName", "s"), ("ip", ip), ("port", "1"), ("namespaceId", namespace)];
        guarded.ok(&root, "POST ns/instance", &parameters);
    }
    assert_eq!(client.code("s.nacos.internal.", A), ResponseCode::Refused, "it has no right");
    guarded.ok(&root, "POST auth/roles", &[("role", "asks"), ("username", "dns")]);
    let right = [("role", "asks"), ("resource", "dev:*:*"), ("action", "r")];
    guarded.ok(&root, "POST auth/permissions", &right);
    assert_eq!(client.found("s._.dev.nacos.internal.", A), ["10.0.0.2"]);
    assert_eq!(client.code("none._.dev.nacos.internal.", A), ResponseCode::NXDomain);
    assert_eq!(client.code("s.nacos.internal.", A), ResponseCode::Refused);
    // That there is a namespace is for those who may read it.
    assert_eq!(client.code("nacos.internal.", RecordType::SOA), ResponseCode::NoError);
}

#[test]
fn a_server_that_takes_no_reads_says_so() {
    let server = TestServer::start_with(config());
    register(&server, "orders", "10.0.0.1", "");
    let client = Client::of(&server);
    server.put("operator/switches?entry=overriddenServerStatus&value=DOWN").expect(200);
    wait_for("the switch", || client.code("orders.nacos.internal.", A) == ResponseCode::ServFail);
    server.put("operator/switches?entry=overriddenServerStatus&value=").expect(200);
    wait_for("the switch", || client.code("orders.nacos.internal.", A) == ResponseCode::NoError);
    let answer = client.ask(&question("orders.nacos.internal.", A));
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    let page = server.get("/nacos/metrics").body;
    for line in ["naming_dns_answers_total{code=\"servfail\"}", "naming_dns_questions_total"] {
        assert!(page.contains(line), "{line}");
    }
}
