//! Requests byte for byte, and the ways a reply may be framed.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

use crate::golden_support::http::{Endpoint, Reply, send};
use crate::golden_support::scenario::Request;
use crate::golden_support::udp::PushSocket;
use crate::server::{FakeServer, reply};

fn request(fields: Value) -> Request {
    serde_json::from_value(fields).expect("a request")
}

fn sent(fields: Value) -> String {
    let server = FakeServer::start(|_| reply("200 OK", "", "ok"));
    send(&server.endpoint(), &request(fields)).expect("a reply");
    let [request] = server.requests().try_into().expect("one request");
    request.replace(&server.host(), "HOST")
}

fn received(method: &str, bytes: &'static [u8]) -> io::Result<Reply> {
    let server = FakeServer::start(|_| bytes.to_vec());
    send(&server.endpoint(), &request(json!({"method": method, "path": "/"})))
}

#[test]
fn only_what_is_listed_is_sent() {
    for method in ["GET", "PUT", "PATCH", "OPTIONS", "HEAD", "DELETE"] {
        assert_eq!(
            sent(json!({"method": method, "path": "/a b"})),
            format!("{method} /a b HTTP/1.1\r\nHost: HOST\r\n\r\n")
        );
    }
    assert_eq!(
        sent(json!({
            "method": "POST", "path": "/p", "query": [["b", "1 2+&=/%é~"], ["a", ""], ["b", "x"]],
            "headers": [["User-Agent", "x:1"], ["x-twice", "1"], ["x-twice", "2"]],
        })),
        "POST /p?b=1%202%2B%26%3D%2F%25%C3%A9~&a=&b=x HTTP/1.1\r\nHost: HOST\r\n\
         User-Agent: x:1\r\nx-twice: 1\r\nx-twice: 2\r\n\r\n"
    );
}

#[test]
fn raw_queries_and_bodies_are_sent_as_they_are() {
    assert_eq!(
        sent(json!({"method": "GET", "path": "/p", "raw_query": "a+b&c=%zz"})),
        "GET /p?a+b&c=%zz HTTP/1.1\r\nHost: HOST\r\n\r\n"
    );
    assert_eq!(
        sent(json!({"method": "PUT", "path": "/p", "body": "{\"ä\": 1}"})),
        "PUT /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 9\r\n\r\n{\"ä\": 1}"
    );
    assert_eq!(
        sent(json!({"method": "POST", "path": "/p", "body": ""})),
        "POST /p HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(
        sent(json!({"method": "POST", "path": "/p", "form": [["a", "1 2"], ["b", "é"]]})),
        "POST /p HTTP/1.1\r\nHost: HOST\r\n\
         Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n\
         Content-Length: 16\r\n\r\na=1%202&b=%C3%A9"
    );
}

#[test]
fn replies_are_read_in_every_framing() {
    let read = |method, bytes| received(method, bytes).expect("a reply");
    let sized = read("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore");
    assert_eq!((sized.status, sized.text.as_str()), (200, "ok"));
    let chunked = read(
        "GET",
        b"HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
    );
    assert_eq!((chunked.status, chunked.text.as_str()), (500, "ab0123456789"));
    let until_the_end = read("GET", b"HTTP/1.0 404 Not Found\r\n\r\nthe rest");
    assert_eq!((until_the_end.status, until_the_end.text.as_str()), (404, "the rest"));
    let head = read("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(head.text, "");
    let empty = read("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!((empty.status, empty.text.as_str()), (204, ""));
    let announced = read("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx");
    assert_eq!((announced.status, announced.text.as_str()), (200, "x"));
}

#[test]
fn headers_are_found_in_any_case_and_joined() {
    let reply = received("GET", b"HTTP/1.1 200 OK\r\nVary: a\r\nvary:b\r\nX: \r\n\r\n");
    let reply = reply.expect("a reply");
    assert_eq!(reply.header("VARY").as_deref(), Some("a, b"));
    assert_eq!(reply.header("x").as_deref(), Some(""));
    assert_eq!(reply.header("y"), None);
}

#[test]
fn broken_replies_are_errors() {
    for bytes in [
        b"".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let outcome = received("GET", bytes);
        assert!(outcome.is_err(), "{:?} gave {outcome:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn an_address_is_a_plain_url() {
    assert_eq!(Endpoint::parse("http://h:8848/"), Ok(Endpoint::new("h", 8848)));
    assert_eq!(Endpoint::parse("http://h"), Ok(Endpoint::new("h", 80)));
    for url in ["h:8848", "https://h:1", "http://h:x", "http://:1", "http://h/nacos", "http://"] {
        assert!(Endpoint::parse(url).is_err(), "{url}");
    }
}

#[test]
fn a_datagram_that_is_no_packet_is_an_error() {
    let socket = PushSocket::open(Ipv4Addr::LOCALHOST.into()).expect("a socket");
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = socket.port().expect("bound");
    for bytes in [b"{".as_slice(), b"\xff\xfe", b"\x1f\x8b\x08 not really", b""] {
        sender.send_to(bytes, (Ipv4Addr::LOCALHOST, port)).expect("sent");
        let datagram = socket.receive(Duration::from_secs(5)).expect("no error").expect("arrives");
        assert!(datagram.open().is_err(), "{bytes:?}");
    }
    assert!(socket.receive(Duration::ZERO).expect("no error").is_none());
}
