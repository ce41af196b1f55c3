//! The turns to begin TLS.

use std::io::Write;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::DuplexStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::config::{Config, TlsConfig, TlsMode};
use crate::http::source::Source;
use crate::http::tls::{Welcomed, welcome};
use crate::tls::{Port, Tls};

impl Stream for DuplexStream {}

/// As many handshakes of one address as may be under way.
const MOST: usize = 256;

/// A port, and a client that trusts it.
fn port(folder: &tempfile::TempDir) -> (Arc<Port>, TlsConnector) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let place = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = place("certificate", cert.pem());
    let key = place("key", signing_key.serialize_pem());
    let tls = TlsConfig { mode: TlsMode::Required, certificate, key, ..TlsConfig::default() };
    let config = Config { tls, ..Config::default() };
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = Tls::open(&config, "127.0.0.1:8848").unwrap();
    (tls.main().unwrap(), TlsConnector::from(Arc::new(client)))
}

/// Begins TLS from this address; true if it comes to be.
async fn begin(port: &Arc<Port>, client: &TlsConnector, ip: &str, source: &Arc<Source>) -> bool {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let peer = format!("{ip}:1").parse().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let served = welcome(port, ours, peer, Some(source), PATIENCE);
    let (welcomed, connected) = tokio::join!(served, client.connect(name, theirs));
    matches!(welcomed, Some(Welcomed::Secured { .. })) && connected.is_ok()
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_do_not_go_on_keep_their_own_address_waiting_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (port, client) = port(&folder);
    let (here, there) = (Arc::<Source>::default(), Arc::<Source>::default());
    let peer: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let mut stalled = Vec::new();
    for _ in 0..MOST {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        theirs.write_all(b"\x16").await.unwrap();
        let (port, here) = (Arc::clone(&port), Arc::clone(&here));
        stalled.push((
            theirs,
            tokio::spawn(async move {
                welcome(&port, ours, peer, Some(&here), PATIENCE).await.is_some()
            }),
        ));
    }
    let free = |source: &Arc<Source>| source.handshakes.available_permits();
    for _ in 0..10 * MOST {
        tokio::task::yield_now().await;
    }
    assert_eq!(free(&here), 0, "each has a turn of its address");
    let start = Instant::now();
    assert!(begin(&port, &client, "10.0.0.2", &there).await, "another address has its own turns");
    assert!(start.elapsed() < Duration::from_secs(1));
    // Time is that of the test: the one that waits gets its turn when the others are given up.
    let waiting = begin(&port, &client, "10.0.0.1", &here);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "it waits");
    // One of them goes away.
    let (theirs, task) = stalled.pop().unwrap();
    drop(theirs);
    assert!(!task.await.unwrap());
    assert!(timeout(Duration::from_secs(1), waiting).await.expect("it has its turn"));
    for (_theirs, task) in stalled {
        assert!(!task.await.unwrap(), "what does not go on is given up");
    }
    assert!(start.elapsed() < Duration::from_secs(12), "within ten seconds");
    assert_eq!(free(&here), MOST);
}

#[tokio::test]
async fn who_has_hung_up_within_tls_is_known_to_have() {
    let folder = tempfile::tempdir().unwrap();
    let (port, client) = port(&folder);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, peer) = listener.accept().await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let served = welcome(&port, ours, peer, None, PATIENCE);
    let (welcomed, connected) = tokio::join!(served, client.connect(name, theirs));
    let Some(Welcomed::Secured { stream: mut ours, .. }) = welcomed else { panic!("no handshake") };
    let mut theirs = connected.unwrap();
    let request = b"GET / HTTP/1.1\r\n\r\n";
    theirs.write_all(request).await.unwrap();
    let mut read = [0; 64];
    assert_eq!(ours.read(&mut read).await.unwrap(), request.len());
    assert!(!ours.has_ended());
    // As a client does that has waited for too long: the last request, and the end behind it.
    theirs.write_all(request).await.unwrap();
    theirs.shutdown().await.unwrap();
    // Read as the front does: once more, for what it waits for.
    assert_eq!(ours.read(&mut read).await.unwrap(), request.len());
    let ended = async {
        while !ours.has_ended() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it is known without reading on");
}
