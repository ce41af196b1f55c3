//! gRPC within TLS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use h2::client::Builder;
use naming_server::{Config, GrpcConfig, TlsConfig, TlsMode};

use crate::client::{Client, instance};
use crate::pki::{Site, TlsClient};
use crate::server_support::{TestServer, send};

/// A client that is set up within TLS.
async fn set_up(client: &TlsClient, address: SocketAddr, label: &str) -> Client {
    let stream = client.connect(address).await.unwrap();
    Client::over(stream, &Builder::new()).await.unwrap().introduced(label).await
}

#[tokio::test]
async fn clients_register_and_subscribe_within_tls_beside_plain_ones() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Compatibility));
    let address = server.grpc.unwrap();
    let speaking = site.client().speaking(&["h2"]);
    let mut subscriber = set_up(&speaking, address, "subscriber").await;
    let mut plain = Client::set_up(address, "plain").await;
    subscriber.subscribe("s").await;
    plain.subscribe("s").await;
    // Java names no protocol with the oldest of its TLS libraries.
    let provider = set_up(&site.client(), address, "provider").await;
    provider.register("s", instance("10.0.0.1")).await;
    let pushed = subscriber.until_pushed(1).await;
    assert_eq!(pushed["serviceInfo"]["hosts"][0]["ip"], "10.0.0.1");
    plain.until_pushed(1).await;
    // The end of the connection is the end of what it holds, as without TLS.
    provider.die().await;
    subscriber.until_pushed(0).await;
    plain.until_pushed(0).await;
}

#[tokio::test]
async fn a_grpc_port_for_tls_alone_tells_plain_clients_so() {
    let site = Site::new();
    let tls = TlsConfig { grpc_mode: Some(TlsMode::Required), ..site.tls(TlsMode::Off) };
    let server = TestServer::start_with(Config { tls, ..Config::default() });
    let address = server.grpc.unwrap();
    let start = Instant::now();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (_calls, connection) = h2::client::handshake(stream).await.unwrap();
    let refused = tokio::time::timeout(crate::pki::PATIENCE, connection).await.expect("in time");
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::INADEQUATE_SECURITY), "{refused}");
    assert!(refused.to_string().contains("this port speaks TLS"), "{refused}");
    // Who comes back at once does not do so hundreds of times in a second.
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    let client = set_up(&site.client().speaking(&["h2"]), address, "a").await;
    client.register("s", instance("10.0.0.1")).await;
    assert_eq!(server.get("/metrics").status, 200, "the main port stays plain");
    let not_http2 = site.client().speaking(&["http/1.1"]).connect(address).await;
    assert!(not_http2.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

#[tokio::test]
async fn a_shared_port_tells_four_protocols_apart() {
    let site = Site::new();
    let grpc = GrpcConfig { port: Some(0), shared_port: true, ..GrpcConfig::default() };
    let config = Config { grpc, ..site.config(TlsMode::Compatibility) };
    let server = TestServer::start_with(config);
    let address = server.address;
    // Within TLS, by what both agree on, or by the first bytes.
    let agreed = set_up(&site.client().speaking(&["h2"]), address, "agreed").await;
    let first_bytes = set_up(&site.client(), address, "first bytes").await;
    let plain = Client::set_up(address, "plain").await;
    for (client, ip) in [(&agreed, "10.0.0.1"), (&first_bytes, "10.0.0.2"), (&plain, "10.0.0.3")] {
        client.register(ip, instance(ip)).await;
    }
    // What speaks both, as browsers and curl, means HTTP.
    let list = "/nacos/v1/ns/service/list?pageNo=1&pageSize=10";
    for client in [site.client(), site.client().speaking(&["h2", "http/1.1"])] {
        let listed = tokio::task::spawn_blocking(move || client.ask(address, list).unwrap());
        assert_eq!(listed.await.unwrap().json()["count"], 3);
    }
    assert_eq!(send(address, "GET", list, "", "").json()["count"], 3);
}
