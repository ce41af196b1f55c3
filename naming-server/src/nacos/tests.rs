//! Recorded traffic of Java servers, read and written again.

use std::collections::BTreeMap;

use distro_core::TagRing;
use distro_net::Address;
use naming_model::ServiceKey;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::datum::datum_key;
use super::member::{OwnReport, render_report};
use super::*;
use crate::registry::java_hash;

/// What a server works out of the metadata when it writes an instance.
const DERIVED: [&str; 4] = [
    "instanceHeartBeatInterval",
    "instanceIdGenerator",
    "instanceHeartBeatTimeOut",
    "ipDeleteTimeout",
];

#[derive(Deserialize)]
struct Vectors<T> {
    vectors: Vec<T>,
}

fn vectors<'a, T: Deserialize<'a>>(text: &'a str) -> Vec<T> {
    let vectors = serde_json::from_str::<Vectors<T>>(text).unwrap().vectors;
    assert!(!vectors.is_empty());
    vectors
}

/// One call and its answer.
#[derive(Deserialize)]
struct Exchange {
    title: String,
    from: String,
    to: String,
    request: Request,
    reply: Option<Reply>,
}

#[derive(Deserialize)]
struct Request {
    target: String,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    body: String,
}

impl Exchange {
    fn body(&self) -> &str {
        self.request.body.as_deref().unwrap()
    }
}

fn exchanges(text: &str) -> Vec<Exchange> {
    #[derive(Deserialize)]
    struct File {
        exchanges: Vec<Exchange>,
    }
    let exchanges = serde_json::from_str::<File>(text).unwrap().exchanges;
    assert!(!exchanges.is_empty());
    exchanges
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn service(grouped: &str) -> ServiceKey {
    ServiceKey::parse("public", grouped).unwrap()
}

/// A message with the list of one service.
fn message(service: &ServiceKey, list: &Value) -> String {
    let key = datum_key(service);
    json!({&key: {"key": key, "value": {"instanceList": list}, "timestamp": 1}}).to_string()
}

fn read_list(list: &Value) -> Vec<PeerInstance> {
    let body = message(&service("g@@s"), list);
    let [datum] = &mut parse_datums(body.as_bytes()).unwrap()[..] else { panic!("one datum") };
    std::mem::take(&mut datum.instances)
}

#[test]
fn every_recorded_hash_comes_out() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        text: String,
        hash_code: i32,
        slot: u32,
    }
    for Vector { text, hash_code, slot } in vectors(include_str!("../../tests/peer/java-hash.json"))
    {
        assert_eq!(java_hash(&text), hash_code, "{text}");
        assert_eq!(owner_number(&format!("some##namespace##{text}")), slot, "{text}");
    }
    // The text whose characters are the digits of the greatest hash.
    let digits = (0..7).rev().map(|power| i32::MAX / 31_i32.pow(power) % 31);
    let greatest: String = digits.map(|digit| char::from(u8::try_from(digit).unwrap())).collect();
    assert_eq!((java_hash(&greatest), owner_number(&greatest)), (i32::MAX, 0));
}

#[test]
fn every_recorded_owner_comes_out() {
    #[derive(Deserialize)]
    struct Vector {
        service: String,
        members: Vec<String>,
        owner: String,
    }
    for Vector { service, mut members, owner } in
        vectors(include_str!("../../tests/peer/owners.json"))
    {
        members.reverse();
        let mut addresses: Vec<_> =
            members.iter().map(|text| Address::verbatim(text).unwrap()).collect();
        addresses.sort_unstable();
        let ids: Vec<_> = addresses.iter().map(Address::member).collect();
        let found = TagRing::new(&ids).owner(owner_number(&format!("public##{service}")));
        let found = addresses.iter().find(|address| Some(address.member()) == found);
        assert_eq!(found.map(Address::as_str), Some(&*owner), "{service} of {members:?}");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    title: String,
    instance_list: Value,
    held_as: Value,
    checksum: String,
}

/// The server that was asked counts values that are `null` as this text.
fn with_nulls_as_text(list: &Value) -> Value {
    let mut list = list.clone();
    for instance in list.as_array_mut().unwrap() {
        for value in
            instance["metadata"].as_object_mut().into_iter().flat_map(|map| map.values_mut())
        {
            if value.is_null() {
                *value = "null".into();
            }
        }
    }
    list
}

#[test]
fn every_recorded_checksum_of_a_list_comes_out() {
    for vector in vectors::<Checksum>(include_str!("../../tests/peer/checksums.json")) {
        let Checksum { title, instance_list, held_as, checksum } = vector;
        let sent = with_nulls_as_text(&instance_list);
        assert_eq!(list_checksum(&read_list(&sent)), checksum, "{title}");
        let mut reversed = read_list(&sent);
        reversed.reverse();
        assert_eq!(list_checksum(&reversed), checksum, "{title}, in another order");
        // What is `null` is gone from what others are told.
        if sent == instance_list {
            assert_eq!(list_checksum(&read_list(&held_as)), checksum, "{title}, as told to others");
        } else {
            assert_ne!(list_checksum(&read_list(&held_as)), checksum, "{title}");
        }
    }
}

#[test]
fn checksums_of_the_specification_come_out() {
    assert_eq!(list_checksum(&[]), "d41d8cd98f00b204e9800998ecf8427e");
    let one = json!([{"ip": "1.1.1.1", "port": 8080}]);
    assert_eq!(list_checksum(&read_list(&one)), "7631f88e79d10bf2abf1da0b81748118");
    let two = json!([
        {"ip": "10.0.0.2", "port": 8080, "weight": 0.5, "healthy": false, "clusterName": "c-1"},
        {"ip": "10.0.0.10", "port": 8080, "metadata": {"z": "x y", "a": "1"}},
    ]);
    assert_eq!(list_checksum(&read_list(&two)), "465d3f4e4a230faf28b41dfe74495efc");
}

fn without_derived(mut list: Value) -> Value {
    for instance in list.as_array_mut().unwrap() {
        let fields = instance.as_object_mut().unwrap();
        DERIVED.iter().for_each(|field| drop(fields.remove(*field)));
    }
    list
}

/// In the order of the list that is told: ours keeps that of the message.
fn by_text(mut list: Value) -> Value {
    list.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    list
}

#[test]
fn lists_are_told_as_java_tells_them() {
    for vector in vectors::<Checksum>(include_str!("../../tests/peer/checksums.json")) {
        let grouped = vector.held_as[0]["serviceName"].as_str().unwrap();
        let service = service(grouped);
        let body = message(&service, &vector.instance_list);
        let datums = parse_datums(body.as_bytes()).unwrap();
        let told = parsed(&render_datums(datums.iter(), 0));
        let list = told[datum_key(&service)]["value"]["instanceList"].clone();
        let told = by_text(without_derived(list));
        assert_eq!(told, by_text(vector.held_as), "{}", vector.title);
    }
}

fn told_again(body: &str) -> String {
    render_datums(parse_datums(body.as_bytes()).unwrap().iter(), 0)
}

#[test]
fn recorded_datums_come_back_byte_by_byte() {
    let mut compared = 0;
    let put = exchanges(include_str!("../../tests/peer/put-distro-datum.json"));
    let answered = exchanges(include_str!("../../tests/peer/get-distro-datum.json"));
    let loaded = exchanges(include_str!("../../tests/peer/get-distro-datums.json"));
    let sent = put.iter().filter(|exchange| exchange.from == "1.4.8").map(Exchange::body);
    let answers = answered.iter().chain(&loaded).filter(|exchange| exchange.to == "1.4.8");
    let answers = answers.map(|exchange| &*exchange.reply.as_ref().unwrap().body);
    for body in sent.chain(answers) {
        assert_eq!(parsed(&told_again(body)), parsed(body));
        let keys = parsed(body).as_object().unwrap().len();
        // Several keys come in the order of a Java map, which says nothing.
        if keys < 2 {
            assert_eq!(told_again(body), body);
            compared += 1;
        }
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn what_the_foreign_member_sent_is_taken_too() {
    let put = exchanges(include_str!("../../tests/peer/put-distro-datum.json"));
    for exchange in put.iter().filter(|exchange| exchange.from != "1.4.8") {
        assert!(
            !parse_datums(exchange.body().as_bytes()).unwrap().is_empty(),
            "{}",
            exchange.title
        );
    }
}

#[test]
fn recorded_checksum_messages_are_read_and_written() {
    for exchange in exchanges(include_str!("../../tests/peer/put-distro-checksum.json")) {
        let checksums = parse_checksums(exchange.body().as_bytes()).unwrap();
        assert!(!checksums.is_empty() && checksums.iter().all(|(_, sum)| sum.len() == 32));
        let written = render_checksums(checksums.iter().map(|(service, sum)| (service, &**sum)));
        assert_eq!(parsed(&written), parsed(exchange.body()), "{}", exchange.title);
        if exchange.from == "1.4.8" {
            assert_eq!(written, exchange.body(), "{}", exchange.title);
        }
    }
    assert_eq!(parse_checksums(b"{}"), Ok(vec![]));
}

#[test]
fn the_checksums_in_a_recorded_message_are_those_of_the_recorded_lists() {
    let put = exchanges(include_str!("../../tests/peer/put-distro-datum.json"));
    let lists: BTreeMap<_, _> = put
        .iter()
        .flat_map(|exchange| parse_datums(exchange.body().as_bytes()).unwrap())
        .map(|datum| (datum.service.clone(), list_checksum(&datum.instances)))
        .collect();
    let messages = exchanges(include_str!("../../tests/peer/put-distro-checksum.json"));
    let from_java = messages.iter().filter(|exchange| exchange.from == "1.4.8");
    let mut compared = 0;
    for (service, checksum) in
        from_java.flat_map(|exchange| parse_checksums(exchange.body().as_bytes()).unwrap())
    {
        if let Some(ours) = lists.get(&service) {
            assert_eq!(*ours, checksum, "{service}");
            compared += 1;
        }
    }
    assert!(compared > 0);
}

#[test]
fn recorded_requests_for_keys_are_read_and_written() {
    for exchange in exchanges(include_str!("../../tests/peer/get-distro-datum.json")) {
        let asked = parse_keys(exchange.body().as_bytes()).unwrap();
        assert!(!asked.is_empty());
        assert_eq!(parsed(&render_keys(asked.iter())), parsed(exchange.body()));
        if exchange.from == "1.4.8" {
            assert_eq!(render_keys(asked.iter()), exchange.body(), "{}", exchange.title);
        }
    }
}

#[test]
fn recorded_reports_are_read() {
    for exchange in exchanges(include_str!("../../tests/peer/post-cluster-report.json")) {
        let member = parse_report(exchange.body().as_bytes()).unwrap();
        let body = parsed(exchange.body());
        assert_eq!(member.address, body["address"], "{}", exchange.title);
        assert_eq!(member.version.as_deref(), body["extendInfo"]["version"].as_str());
        assert_eq!((member.state, member.own_protocol), (PeerState::Up, None));
        if let Some(reply) = exchange.reply {
            assert_eq!(reply.body, report_answer(Some(true)));
        }
    }
}

#[test]
fn our_report_has_what_the_accepted_one_had() {
    let recorded = exchanges(include_str!("../../tests/peer/post-cluster-report.json"));
    let recorded = recorded.iter().find(|exchange| exchange.title.contains("1.3.2")).unwrap();
    let mut expected = parsed(recorded.body());
    expected["extendInfo"]["distroProtocol"] = "1".into();
    let own = OwnReport {
        address: expected["address"].as_str().unwrap(),
        version: "1.3.2",
        own_protocol: Some(1),
        now_ms: expected["extendInfo"]["lastRefreshTime"].as_i64().unwrap(),
    };
    assert_eq!(parsed(&render_report(&own)), expected);
    let read = parse_report(render_report(&own).as_bytes()).unwrap();
    assert_eq!((read.own_protocol, read.version.as_deref()), (Some(1), Some("1.3.2")));
}

#[test]
fn recorded_status_messages_are_read_and_written() {
    for exchange in exchanges(include_str!("../../tests/peer/post-service-status.json")) {
        let message = parse_statuses(exchange.body().as_bytes()).unwrap();
        let statuses = message.statuses.unwrap();
        let checksums = statuses.checksums.iter().map(|(name, sum)| (&**name, &**sum));
        let written = render_statuses(&message.source, &statuses.namespace, checksums);
        if exchange.from == "1.4.8" {
            assert_eq!(written, exchange.body(), "{}", exchange.title);
        }
        assert_eq!(statuses.namespace, "public");
    }
}

#[test]
fn recorded_statuses_of_instances_are_read_and_written() {
    let mut compared = 0;
    for exchange in exchanges(include_str!("../../tests/peer/get-instance-statuses.json")) {
        assert!(exchange.request.target.contains("key=public%23%23"));
        let Some(reply) = exchange.reply else { continue };
        let statuses = parse_instance_statuses(reply.body.as_bytes()).unwrap();
        assert!(!statuses.is_empty());
        assert_eq!(render_instance_statuses(statuses.iter()), reply.body);
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn statuses_of_instances_are_split_from_the_end() {
    let body = br#"{"ips":["my_host:80_false","fe80::1:81_true","nonsense","a:b_true"]}"#;
    let status = |ip: &str, port, healthy| InstanceStatus { ip: ip.into(), port, healthy };
    let expected = [status("my_host", 80, false), status("fe80::1", 81, true)];
    assert_eq!(parse_instance_statuses(body).unwrap(), expected);
}

#[test]
fn a_status_message_survives_the_decoding_of_its_receiver() {
    let written = render_statuses("10.0.0.1:8848", "a+b%41 é", [("g@@s", "00")].into_iter());
    assert!(written.is_ascii() && !written.contains('+'));
    let read = parse_statuses(written.as_bytes()).unwrap();
    assert_eq!(read.source, "10.0.0.1:8848");
    let statuses = read.statuses.unwrap();
    assert_eq!(statuses.namespace, "a+b%41 é");
    assert_eq!(statuses.checksums, BTreeMap::from([("g@@s".into(), "00".into())]));
}

/// Odd requests with what Java made of them.
#[derive(Deserialize)]
struct Odd {
    title: String,
    request: OddRequest,
    reply: OddReply,
}

#[derive(Deserialize)]
struct OddRequest {
    method: String,
    target: String,
    body: Option<String>,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct OddReply {
    status: u16,
}

fn odd_requests(kind: &str, method: &str) -> Vec<Odd> {
    let file = parsed(include_str!("../../tests/peer/rejections.json"));
    let lists = file.as_object().unwrap().values().filter_map(Value::as_array);
    let all = lists.flatten().filter(|value| value.is_object());
    let odd = all.map(|value| Odd::deserialize(value).unwrap());
    let is_json = |odd: &Odd| {
        let found = odd.request.headers.get("Content-Type");
        found.is_some_and(|kind| kind.starts_with("application/json"))
    };
    let of_kind = odd
        .filter(|odd| odd.title.starts_with(kind) && odd.request.method == method && is_json(odd));
    let of_kind: Vec<Odd> = of_kind.collect();
    assert!(!of_kind.is_empty(), "{kind}");
    of_kind
}

#[test]
fn odd_datums_are_taken_or_refused() {
    // Java answers 200 and is broken afterwards.
    let refused = ["datum: null list element", "datum: no value"];
    // Java refuses it, and its sender repeats it for ever.
    let taken = ["datum: empty map"];
    let mut seen = Vec::new();
    for odd in odd_requests("datum:", "PUT") {
        assert_eq!(odd.request.target, "/nacos/v1/ns/distro/datum");
        let ours = parse_datums(odd.request.body.unwrap_or_default().as_bytes());
        let title = &*odd.title;
        let expected = match title {
            _ if refused.contains(&title) => false,
            _ if taken.contains(&title) => true,
            _ => odd.reply.status == 200,
        };
        assert_eq!(ours.is_ok(), expected, "{title}: {ours:?}");
        seen.push(title.to_owned());
    }
    for title in refused.iter().chain(&taken) {
        assert!(seen.iter().any(|seen| seen == title), "{title}");
    }
}

#[test]
fn odd_checksums_keys_and_statuses_are_taken_or_refused() {
    for odd in odd_requests("checksum:", "PUT") {
        let ours = parse_checksums(odd.request.body.unwrap_or_default().as_bytes());
        // Who sent it is not in the body.
        let expected = odd.reply.status == 200 || odd.title == "checksum: no source";
        assert_eq!(ours.is_ok(), expected, "{}", odd.title);
    }
    for odd in odd_requests("get datum:", "GET") {
        let ours = parse_keys(odd.request.body.unwrap_or_default().as_bytes());
        assert_eq!(ours.is_ok(), odd.reply.status == 200, "{}: {ours:?}", odd.title);
    }
    for odd in odd_requests("service status:", "POST") {
        let ours = parse_statuses(odd.request.body.unwrap_or_default().as_bytes());
        // Whether the sender is a member is not in the body either.
        let expected = odd.reply.status == 200 || odd.title == "service status: not a member";
        assert_eq!(ours.is_ok(), expected, "{}: {ours:?}", odd.title);
    }
}

#[test]
fn odd_reports_are_taken_or_refused() {
    for odd in odd_requests("report:", "POST") {
        let ours = parse_report(odd.request.body.unwrap_or_default().as_bytes());
        match (&*odd.title, odd.reply.status) {
            ("report: no address" | "report: empty object", _) => {
                assert_eq!(ours, Err(BadReport::Illegal), "{}", odd.title);
            }
            (_, 200) => assert!(ours.is_ok(), "{}", odd.title),
            _ => assert!(matches!(ours, Err(BadReport::Unreadable(_))), "{}", odd.title),
        }
    }
}

#[test]
fn what_java_would_choke_on_is_refused_as_a_whole() {
    let key = datum_key(&service("g@@s"));
    let datum = |value: Value| json!({&key: {"key": key, "value": value}}).to_string();
    let refused = |body: String| parse_datums(body.as_bytes()).unwrap_err().to_string();
    assert!(refused(datum(json!({"instanceList": null}))).contains("null"));
    assert!(refused(datum(json!(null))).contains("null"));
    assert!(refused(datum(json!({"instanceList": [{"port": 1}]}))).contains("no ip"));
    assert!(refused(datum(json!({"instanceList": [{"ip": " "}]}))).contains("no ip"));
    assert!(
        refused(datum(json!({"instanceList": [{"ip": "a", "metadata": []}]}))).contains("metadata")
    );
    let other = json!({&key: {"key": "another", "value": {}}}).to_string();
    assert!(refused(other).contains("another key"));
    for tag in ["public##g@@a b", "public##s", "g@@s", "a##b##g@@s"] {
        let key = format!("com.alibaba.nacos.naming.iplist.ephemeral.{tag}");
        let body = json!({&key: {"key": key, "value": {}}}).to_string();
        assert!(parse_datums(body.as_bytes()).is_err(), "{tag}");
    }
    let elsewhere = json!({"com.alibaba.nacos.naming.iplist.public##g@@s": null}).to_string();
    assert_eq!(parse_datums(elsewhere.as_bytes()), Ok(vec![]));
}

#[test]
fn nulls_in_metadata_are_dropped_and_their_map_is_kept() {
    let list = read_list(&json!([
        {"ip": "a", "metadata": {"n": null, "m": 1.50, "b": true}},
        {"ip": "b", "metadata": null},
        {"ip": "c"},
    ]));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(list[0].metadata, Some(BTreeMap::from([pair("m", "1.5"), pair("b", "true")])));
    assert_eq!(
        (list[1].metadata.as_ref(), list[2].metadata.clone()),
        (None, Some(BTreeMap::new()))
    );
}

fn instances() -> impl Strategy<Value = PeerInstance> {
    let metadata = proptest::option::of(proptest::collection::btree_map(".{0,3}", ".{0,3}", 0..4));
    let texts = (".{1,4}", "[^#]{1,4}", proptest::option::of(".{0,3}"));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (any::<i32>(), 0.01..=10_000.0_f64, any::<i64>());
    (texts, flags, numbers, metadata).prop_map(|(texts, flags, numbers, metadata)| PeerInstance {
        // Never blank.
        ip: format!("h{}", texts.0),
        port: numbers.0,
        cluster: texts.1,
        weight: numbers.1,
        healthy: flags.0,
        enabled: flags.1,
        ephemeral: flags.2,
        marked: flags.3,
        metadata,
        last_beat_ms: Some(numbers.2),
        id: texts.2.clone(),
        app: texts.2.clone(),
        tenant: texts.2,
    })
}

proptest! {
    #[test]
    fn every_list_comes_back(instances in proptest::collection::vec(instances(), 0..4)) {
        let datum = PeerDatum { service: service("g@@s"), instances };
        let written = render_datums(std::iter::once(&datum), 0);
        prop_assert!(written.is_ascii());
        let read = parse_datums(written.as_bytes()).unwrap();
        prop_assert_eq!(list_checksum(&read[0].instances), list_checksum(&datum.instances));
        let mut expected = datum;
        for instance in &mut expected.instances {
            // A map that is `null` is not told; who is told nothing has an empty one.
            instance.metadata.get_or_insert_default();
        }
        prop_assert_eq!(read, vec![expected]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse_datums(&bytes), parse_checksums(&bytes), parse_keys(&bytes));
        let _ = (parse_report(&bytes), parse_statuses(&bytes), parse_instance_statuses(&bytes));
    }

    #[test]
    fn no_change_of_a_message_makes_it_panic(at in 0..400_usize, byte in any::<u8>(), remove in any::<bool>()) {
        let list = json!([{"ip": "a", "port": 80, "metadata": {"k": "v"}, "weight": 1.5}]);
        let mut body = message(&service("g@@s"), &list).into_bytes();
        let at = at % body.len();
        if remove { body.remove(at); } else { body[at] = byte; }
        let _ = (parse_datums(&body), parse_checksums(&body), parse_report(&body));
    }
}
