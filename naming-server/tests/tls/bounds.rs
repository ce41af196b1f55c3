//! What strangers can take of a port that speaks TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use naming_server::{Config, HttpConfig, TlsMode};

use crate::pki::{PATIENCE, Site};
use crate::server_support::members::READY;
use crate::server_support::{TestServer, wait_for};

/// What begins as a handshake and does not go on.
fn begin(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    stream
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended_after_ten_seconds() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let start = Instant::now();
    let grpc = begin(server.grpc.unwrap());
    for mut stream in [begin(server.address), grpc] {
        let ended = stream.read(&mut [0; 64]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(18)).contains(&took), "{took:?}");
    let page = site.client().ask(server.address, "/metrics").unwrap().body;
    for port in ["main", "grpc"] {
        let late = format!("naming_tls_connections_total{{port=\"{port}\",outcome=\"late\"}} 1");
        assert!(page.contains(&late), "{page}");
    }
}

#[test]
fn handshakes_count_among_the_connections() {
    let site = Site::new();
    let http = HttpConfig { max_connections: 20, ..HttpConfig::default() };
    let server = TestServer::start_with(Config { http, ..site.config(TlsMode::Required) });
    let begun: Vec<TcpStream> = (0..30).map(|_| begin(server.address)).collect();
    let is_closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        matches!(stream.read(&mut [0; 64]), Ok(0))
            || stream.peer_addr().is_err()
            || stream.write(b"\x00").is_err()
    };
    wait_for("those beyond the limit are closed", || {
        begun.iter().filter(|stream| is_closed(stream)).count() >= 10
    });
    drop(begun);
    wait_for("there is room again", || site.client().ask(server.address, READY).is_ok());
}

#[test]
fn a_flood_of_handshakes_leaves_open_connections_alone() {
    /// More than there are turns.
    const FLOOD: usize = 1_500;
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let mut open = site.client().open(server.address);
    assert_eq!(open.ask("GET", READY).unwrap().status, 200);
    let begun: Vec<TcpStream> = (0..FLOOD).map(|_| begin(server.address)).collect();
    for _ in 0..20 {
        assert_eq!(open.ask("GET", READY).unwrap().status, 200);
    }
    // Those that have a turn wait for the flood; those that wait for a turn are let go, too.
    let late = |page: String| {
        let line = "naming_tls_connections_total{port=\"main\",outcome=\"late\"}";
        let line = page.lines().find(|found| found.starts_with(line)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).unwrap_or(0)
    };
    wait_for("all are let go", || late(open.ask("GET", "/metrics").unwrap().body) >= FLOOD);
    drop(begun);
    assert_eq!(site.client().ask(server.address, READY).unwrap().status, 200);
}
