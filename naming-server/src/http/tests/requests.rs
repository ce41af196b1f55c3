use super::*;

#[tokio::test]
async fn a_request_reaches_the_handler_whole() {
    let site = Site::start(|_| {}).await;
    let form = "POST /nacos/v1/ns/instance/?b=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\
                content-type: application/x-www-form-urlencoded; charset=UTF-8\r\n\r\na=b";
    assert_eq!(site.ask(form).await, (200, r#"POST /v1/ns/instance true "b" "a=b""#.to_owned()));
    let plain = "POST /metrics?a=q HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(site.ask(plain).await, (200, r#"POST /metrics false "q" "a=b""#.to_owned()));
    let root = "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(site.ask(root).await, (200, r#"DELETE / false "-" """#.to_owned()));
}

#[tokio::test]
async fn a_get_may_have_a_body_and_the_connection_goes_on() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client.send("GET /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(client.answer().await.body, r#"GET /x true "-" "body""#);
    assert_eq!(client.get("/nacos/y").await.body, r#"GET /y true "-" """#);
}

#[tokio::test]
async fn a_chunked_form_is_put_together() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client
        .send(
            "PUT /nacos/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n3\r\na=%\r\n",
        )
        .await;
    for piece in ["2\r\n4", "1\r\n", "1\r\nB\r\n", "0\r\n\r\n"] {
        client.send(piece).await;
    }
    assert_eq!(client.answer().await.body, r#"PUT /x true "AB" "a=%41B""#);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    let request = |number| {
        if number % 3 == 0 {
            format!("POST /r{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        } else {
            format!("GET /r{number} HTTP/1.1\r\nHost: h\r\n\r\n")
        }
    };
    client.send((0..200).map(request).collect::<String>()).await;
    for number in 0..200 {
        let answer = client.answer().await;
        assert!(answer.body.contains(&format!(" /r{number} ")), "{number}: {}", answer.body);
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client.send("GET /nacos/x HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    client.closed().await;
    let mut client = site.connect().await;
    for _ in 0..2 {
        client.send("GET /nacos/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_has_said_everything_is_answered() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client.send("GET /nacos/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.answer().await.status, 200);
    client.closed().await;
    site.until("the connection is gone", |site| site.open() == 0).await;
}

#[tokio::test]
async fn odd_texts_in_the_query_are_taken_as_they_are() {
    let site = Site::start(|_| {}).await;
    let ask = async |query: &[u8]| {
        let parts: [&[u8]; 3] = [b"GET /nacos/x?a=", query, b" HTTP/1.1\r\nHost: h\r\n\r\n"];
        site.ask(parts.concat()).await
    };
    for (query, value) in [
        ("%", "%"),
        ("%zz%4", "%zz%4"),
        ("%41+%2B", "A +"),
        ("%ff%fe", "\u{fffd}\u{fffd}"),
        ("{k:v,u:[a@b,c]}", "{k:v,u:[a@b,c]}"),
        ("[x]|^`\\", "[x]|^`\\"),
    ] {
        let expected = (200, format!("GET /x true {value:?} {:?}", ""));
        assert_eq!(ask(query.as_bytes()).await, expected, "{query}");
    }
    assert_eq!(ask("é".as_bytes()).await, (200, format!("GET /x true {:?} {:?}", "é", "")));
    // What the parser of targets cannot take is refused cleanly.
    for refused in [&b"{\"k\":1}"[..], b"<", b"\xff\xfe", b"\x7f"] {
        assert_eq!(ask(refused).await.0, 400, "{}", refused.escape_ascii());
    }
}

#[tokio::test]
async fn garbage_is_refused_and_closed() {
    let site = Site::start(|_| {}).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let mut client = site.connect().await;
        client.send(garbage).await;
        assert_eq!(client.answer().await.status, 400, "{}", garbage.escape_ascii());
        client.closed().await;
    }
    let mut broken = site.connect().await;
    broken.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert_eq!(broken.answer().await.status, 400);
    broken.closed().await;
    assert_eq!(site.connect().await.get("/nacos/x").await.status, 200);
}

#[tokio::test]
async fn a_panic_in_a_handler_is_answered_with_500() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    let answer = client.get("/nacos/panic").await;
    assert_eq!((answer.status, answer.body.as_str()), (500, "caused: internal error;"));
    assert_eq!(client.get("/nacos/x").await.status, 200);
}

#[tokio::test]
async fn head_and_options_reach_the_handler() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client.send("HEAD /nacos/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.body, r#"OPTIONS * false "-" """#);
    client.send("GET http://h:1/nacos/x?a=1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.body, r#"GET /x true "1" """#);
}

#[tokio::test]
async fn who_expects_100_is_told_to_go_on() {
    let site = Site::start(|_| {}).await;
    let mut client = site.connect().await;
    client
        .send(
            "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("hi").await;
    assert_eq!(client.answer().await.body, r#"POST /x true "-" "hi""#);
}

#[tokio::test]
async fn gzip_counts_by_what_the_body_is() {
    let site = Site::start(|_| {}).await;
    let ask = async |body: &[u8]| {
        let head = format!(
            "PUT /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n",
            body.len()
        );
        site.ask([head.as_bytes(), body].concat()).await
    };
    assert_eq!(ask(b"a=1").await.1, r#"PUT /x true "1" "a=1""#);
    assert_eq!(ask(b"\x1f\x8b\x08\x00").await.0, 415);
}

/// A client of a site and a way to send requests of pages.
struct Browser {
    client: Client,
}

impl Browser {
    async fn ask(&mut self, start: &str, origin: &str, more: &str) -> Received {
        let head = format!("{start} HTTP/1.1\r\nHost: h:1\r\nOrigin: {origin}\r\n{more}\r\n");
        self.client.send(head).await;
        self.client.answer().await
    }
}

fn has(answer: &Received, header: &str) -> bool {
    answer.head.to_lowercase().contains(header)
}

const PREFLIGHT: &str =
    "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-y\r\n";

#[tokio::test]
async fn pages_of_other_origins_neither_read_nor_write() {
    let site = Site::start(|_| {}).await;
    let mut browser = Browser { client: site.connect().await };
    for origin in ["http://evil.example", "null", "http://h", "http://h:10", "x"] {
        let read = browser.ask("GET /nacos/x", origin, "").await;
        assert_eq!(read.status, 200);
        assert!(!has(&read, "access-control-"), "{origin}: {read:?}");
        for path in ["/nacos/v1/ns/instance", "/nacos/v1/console/namespaces", "/distro/v1/call"] {
            for method in ["POST", "PUT", "DELETE", "PATCH", "X"] {
                let write = browser.ask(&format!("{method} {path}"), origin, "").await;
                assert_eq!(write.status, 403, "{origin} {method} {path}");
                assert!(write.body.contains("http.allowed_origins"), "{write:?}");
                assert!(!has(&write, "access-control-"), "{write:?}");
            }
            let asked = browser.ask(&format!("OPTIONS {path}"), origin, PREFLIGHT).await;
            assert_eq!((asked.status, asked.body.as_str()), (403, "Invalid CORS request"));
            assert!(!has(&asked, "access-control-"), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn a_page_cannot_write_with_a_form_that_needs_no_preflight() {
    let site = Site::start(|_| {}).await;
    let mut browser = Browser { client: site.connect().await };
    for kind in
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"]
    {
        let more = format!("Content-Type: {kind}\r\nContent-Length: 0\r\n");
        let answer =
            browser.ask("POST /nacos/v1/ns/instance?a=1", "http://evil.example", &more).await;
        assert_eq!(answer.status, 403, "{kind}: {answer:?}");
    }
}

#[tokio::test]
async fn pages_of_the_server_and_of_listed_origins_read_and_write() {
    let site = Site::start(|settings| {
        settings.allowed_origins = "http://console.example".parse().unwrap();
    })
    .await;
    let mut browser = Browser { client: site.connect().await };
    let own = browser.ask("POST /nacos/v1/ns/x", "http://h:1", "Content-Length: 0\r\n").await;
    assert_eq!(own.status, 200);
    assert!(!has(&own, "access-control-") && has(&own, "vary: origin\r\n"), "{own:?}");

    let listed = "http://console.example";
    for start in ["GET /nacos/v1/ns/x", "DELETE /nacos/v1/ns/x"] {
        let answer = browser.ask(start, listed, "").await;
        assert_eq!(answer.status, 200);
        assert!(has(&answer, "access-control-allow-origin: http://console.example\r\n"));
        assert!(has(&answer, "access-control-allow-credentials: true\r\n"));
        assert!(has(&answer, "vary: origin\r\n"), "{answer:?}");
    }
    let asked = browser.ask("OPTIONS /nacos/v1/ns/instance", listed, PREFLIGHT).await;
    assert_eq!((asked.status, asked.body.as_str()), (200, ""));
    assert!(has(&asked, "access-control-allow-origin: http://console.example\r\n"));
    assert!(has(&asked, "access-control-allow-methods: put\r\n"));
    assert!(has(&asked, "access-control-allow-headers: x-y\r\n"));
    assert!(has(&asked, "access-control-max-age: 18000\r\n"));

    let other = browser.ask("GET /nacos/v1/ns/x", "https://console.example", "").await;
    assert!(!has(&other, "access-control-") && has(&other, "vary: origin\r\n"), "{other:?}");
    let other = browser.ask("DELETE /nacos/v1/ns/x", "https://console.example", "").await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn an_answer_may_come_later() {
    let site = Site::start(|settings| settings.allowed_origins = "http://o".parse().unwrap()).await;
    let mut client = site.connect().await;
    client.send("GET /nacos/later HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.body), (200, "later"));
    assert!(answer.head.contains("access-control-allow-origin: http://o"), "{}", answer.head);
    // With a body before it, and a failure inside it.
    client.send("PUT /nacos/later HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(client.answer().await.body, "later");
    assert_eq!(client.get("/nacos/later-panic").await.status, 500);
    assert_eq!(client.get("/nacos/x").await.status, 200);
}

#[tokio::test]
async fn a_request_is_handled_again_once_it_is_known_who_asks() {
    let site = Site::start(|settings| settings.allowed_origins = "http://o".parse().unwrap()).await;
    let mut client = site.connect().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=1";
    client.send(format!("PUT /nacos/again-once?b=2 HTTP/1.1\r\nHost: h\r\n{form}")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.body), (200, "PUT /again-once true \"1\" \"a=1\""));
    client.send("GET /nacos/again-refused HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.body, "no");
    assert!(answer.head.contains("access-control-allow-origin: http://o"), "{}", answer.head);
    // A handler that never knows does not hold the request for ever.
    assert_eq!(client.get("/nacos/again-for-ever").await.status, 503);
    assert_eq!(client.get("/nacos/x").await.status, 200);
}

#[tokio::test]
async fn what_has_begun_is_finished_without_its_client() {
    let site = Site::start(|_| {}).await;
    let before = FINISHED.load(Relaxed);
    let mut client = site.connect().await;
    client.send("GET /nacos/later HTTP/1.1\r\nHost: h\r\n\r\n").await;
    site.until("it has arrived", |site| site.open() == 1).await;
    drop(client);
    site.until("it is finished", |_| FINISHED.load(Relaxed) > before).await;
}

/// What is answered to somebody who sends this and then no more.
async fn half_closed(site: &Site, request: &str) -> u16 {
    let mut client = site.connect().await;
    client.send(request).await;
    client.stream.shutdown().await.unwrap();
    client.answer().await.status
}

#[tokio::test]
async fn after_a_stop_no_write_is_taken_from_who_has_hung_up() {
    let put = "PUT /nacos/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let form = "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na=1";
    let get = "GET /nacos/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let late = Site::start_with(Echo { may_be_late: true, ..Echo::default() }, |_| {}).await;
    // The server must come to read the request and the end at a time, as after a stop: this
    // thread is its own, and gives way only when both are there.
    for request in [put, form] {
        let stream = std::net::TcpStream::connect(late.address).unwrap();
        std::io::Write::write_all(&mut &stream, request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let mut client = Client { stream, unread: Vec::new() };
        assert_eq!(client.answer().await.status, 503, "{request}");
    }
    assert_eq!(half_closed(&late, get).await, 200);
    assert_eq!(late.ask(put).await.0, 200, "who still listens");
    // Usually, who only stops sending is answered.
    let site = Site::start(|_| {}).await;
    for request in [put, form, get] {
        assert_eq!(half_closed(&site, request).await, 200, "{request}");
    }
}
