//! The parts of the replay of gRPC steps.

mod messages {
    use std::collections::HashMap;

    use crate::golden_grpc::payload::{Outgoing, Reader};

    #[test]
    fn a_message_has_the_bytes_of_the_contract() {
        let outgoing = Outgoing {
            kind: "T".into(),
            body: b"{}".to_vec(),
            headers: HashMap::from([("k".into(), "v".into())]),
            client_ip: "1".into(),
            type_url: String::new(),
        };
        let expected = [
            0, 0, 0, 0, 22, // prefix
            0x12, 14, 0x1a, 1, b'T', 0x3a, 6, 0x0a, 1, b'k', 0x12, 1, b'v', 0x42, 1, b'1', 0x1a, 4,
            0x12, 2, b'{', b'}',
        ];
        assert_eq!(outgoing.encode(), expected[..]);
    }

    #[test]
    fn messages_are_put_together_from_any_pieces() {
        let first =
            Outgoing { kind: "A".into(), body: b"{\"n\":1}".to_vec(), ..Outgoing::default() };
        let second = Outgoing { kind: "B".into(), body: b"text".to_vec(), ..Outgoing::default() };
        let bytes = [first.encode(), second.encode()].concat();
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for byte in bytes {
            reader.push(&[byte]);
            found.extend(reader.next().unwrap());
        }
        let found: Vec<_> = found.iter().map(|one| (&*one.kind, one.body.to_string())).collect();
        assert_eq!(found, [("A", "{\"n\":1}".to_owned()), ("B", "\"text\"".to_owned())]);
    }
}

mod templates {
    use serde_json::json;

    use crate::golden_grpc::template::expand;

    #[test]
    fn repeated_items_are_written_out_with_their_numbers() {
        let source = json!({"a": [
            {"x": 0},
            {"$repeat": {"var": "i", "from": 1, "to": 2, "item":
                {"ip": "10.0.0.${i}", "port": {"$int": "80${i}"}}}},
        ]});
        let expected = json!({"a": [
            {"x": 0}, {"ip": "10.0.0.1", "port": 801}, {"ip": "10.0.0.2", "port": 802},
        ]});
        assert_eq!(expand(&source), Ok(expected));
        for bad in [json!({"$int": "x"}), json!({"$int": 1}), json!([{"$repeat": {"from": 1}}])] {
            assert!(expand(&bad).is_err(), "{bad}");
        }
    }
}

mod comparing {
    use std::collections::HashMap;
    use std::time::Instant;

    use serde_json::{Value, json};

    use crate::golden_grpc::latitude::{Direction, differences};
    use crate::golden_grpc::payload::Incoming;
    use crate::golden_support::scenario::Side;
    use crate::golden_support::variables::Variables;

    fn found(expected: Value, actual: Value, side: Side, direction: Direction) -> Vec<String> {
        let expect = serde_json::from_value(json!({"type": "T", "body": expected})).unwrap();
        let (kind, headers, at) = ("T".to_owned(), HashMap::new(), Instant::now());
        let message = Incoming { kind, headers, body: actual, at };
        differences(&expect, &Ok(message), &Variables::new(), side, direction)
    }

    #[test]
    fn some_keys_may_be_missing_or_added_and_no_others() {
        let recorded = json!({
            "resultCode": 200, "message": "success", "module": "naming",
            "serviceInfo": {"hosts": [{"ip": "1", "ipDeleteTimeout": 30_000, "metadata": {"valid": "1"}}],
                "allIPs": false, "valid": true},
        });
        let ours = json!({
            "resultCode": 200, "requestId": "7",
            "serviceInfo": {"hosts": [{"ip": "1", "metadata": {"valid": "1"}}],
                "allIPs": false, "allIps": false},
        });
        let answers =
            |ours: &Value, side| found(recorded.clone(), ours.clone(), side, Direction::Answer);
        assert_eq!(answers(&ours, Side::Want), [""; 0]);
        assert!(!answers(&ours, Side::Nacos).is_empty());
        let mut other = ours.clone();
        other["serviceInfo"]["hosts"][0]["metadata"] = json!({});
        assert!(!answers(&other, Side::Want).is_empty(), "metadata is compared as it is");
        let mut other = ours.clone();
        other["namespace"] = json!("public");
        assert!(!answers(&other, Side::Want).is_empty(), "in pushes only");
        other.as_object_mut().unwrap().remove("requestId");
        let pushed = found(recorded.clone(), other, Side::Want, Direction::ServerRequest);
        assert_eq!(pushed, [""; 0]);
        let mut other = ours;
        other["message"] = Value::Null;
        assert!(!answers(&other, Side::Want).is_empty(), "if there is a message, it is text");
    }

    #[test]
    fn a_status_is_no_message_and_a_message_no_status() {
        let variables = Variables::new();
        let check = |expect: Value, found| {
            let expect = serde_json::from_value(expect).unwrap();
            differences(&expect, &found, &variables, Side::Want, Direction::Answer)
        };
        let status = || Err(("CANCELLED".to_owned(), "why".to_owned()));
        let (kind, headers, at) = ("T".to_owned(), HashMap::new(), Instant::now());
        let message =
            || Ok(Incoming { kind: kind.clone(), headers: headers.clone(), body: json!({}), at });
        assert_eq!(check(json!({"grpc": "CANCELLED"}), status()), [""; 0]);
        assert!(!check(json!({"grpc": "INTERNAL"}), status()).is_empty());
        assert!(!check(json!({"type": "T"}), status()).is_empty());
        assert!(!check(json!({"grpc": "CANCELLED"}), message()).is_empty());
        assert_eq!(check(json!({"type": "T", "body": {}}), message()), [""; 0]);
        assert!(!check(json!({"type": "U", "body": {}}), message()).is_empty());
    }
}

mod receiving {
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use serde_json::json;

    use crate::golden_grpc::inbox::Inbox;
    use crate::golden_grpc::payload::Incoming;

    fn push(inbox: &Inbox, service: &str, number: u64) {
        let body = json!({"serviceInfo": {"name": service}, "n": number});
        let (kind, headers, at) = ("T".to_owned(), HashMap::new(), Instant::now());
        inbox.push(Incoming { kind, headers, body, at });
    }

    #[test]
    fn a_message_takes_older_ones_about_the_same_with_it_and_leaves_the_others() {
        let inbox = Inbox::default();
        for (service, number) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
            push(&inbox, service, number);
        }
        let numbers = |wanted: &[u64]| {
            let is_wanted =
                |message: &Incoming| wanted.contains(&message.body["n"].as_u64().unwrap());
            inbox.take(is_wanted, Instant::now()).map(|message| message.body["n"].clone())
        };
        assert_eq!(numbers(&[3]), Some(json!(3)));
        assert_eq!(numbers(&[1, 3]), None);
        assert_eq!(numbers(&[1, 2, 4]), Some(json!(2)));
        assert_eq!(numbers(&[4]), Some(json!(4)));
        let start = Instant::now();
        assert_eq!(inbox.take(|_| true, start + Duration::from_millis(50)).map(drop), None);
        assert!(start.elapsed() >= Duration::from_millis(50));
        // Nothing more will come.
        inbox.end("OK".to_owned());
        inbox.end("INTERNAL".to_owned());
        assert_eq!(inbox.ended().map(|(status, _)| status).as_deref(), Some("OK"));
        assert!(inbox.take(|_| true, start + Duration::from_secs(60)).is_none());
    }
}

mod relaying {
    use std::io;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use crate::golden_grpc::relay::Relay;

    async fn pair() -> (Relay, TcpStream, TcpStream) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::start(server.local_addr().unwrap()).await.unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await.unwrap();
        let (accepted, peer) = server.accept().await.unwrap();
        while relay.local_port() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(relay.local_port(), peer.port());
        (relay, client, accepted)
    }

    async fn read(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 16];
        let length = socket.read(&mut buffer).await?;
        Ok(buffer[..length].to_vec())
    }

    #[tokio::test]
    async fn bytes_and_ends_pass_and_the_end_of_the_server_is_noted() {
        let (relay, mut client, mut server) = pair().await;
        client.write_all(b"ask").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap(), b"ask");
        server.write_all(b"tell").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), b"tell");
        assert_eq!(relay.closed(), None);
        drop(server);
        assert_eq!(read(&mut client).await.unwrap(), b"");
        assert!(relay.closed().is_some_and(|(how, _)| how == "fin"));
    }

    #[tokio::test]
    async fn an_abort_resets_the_connection_to_the_server() {
        let (relay, _client, mut server) = pair().await;
        relay.abort();
        let error = read(&mut server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn nothing_passes_a_frozen_relay_not_even_an_end() {
        let (relay, mut client, mut server) = pair().await;
        relay.freeze();
        client.write_all(b"ask").await.unwrap();
        drop(client);
        let nothing = tokio::time::timeout(Duration::from_millis(100), read(&mut server)).await;
        assert!(nothing.is_err(), "{nothing:?}");
        assert_eq!(relay.closed(), None);
    }
}
