//! TLS and mutual TLS, over both transports.
#![cfg(feature = "tls")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use naming_client::{Error, Instance, Tls, Transport};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use support::real::{RealServer, own_address};
use support::{client_over, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate authority of this test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key for a name or address.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// TLS before both ports of a server; `clients` is who may come, if not everybody may.
async fn wrap(server: &RealServer, authority: &Authority, clients: Option<&Authority>) -> String {
    let (address, target) = (own_address(), server.address().parse::<SocketAddr>().unwrap());
    let (certificate, key) = authority.issue(&address.ip().to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for offset in [0, 1_000] {
        let listener = TcpListener::bind((address.ip(), address.port() + offset)).await.unwrap();
        let (acceptor, target) = (acceptor.clone(), (target.ip(), target.port() + offset));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(socket).await?;
                    let mut inside = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
    }
    format!("https://{address}")
}

#[tokio::test]
async fn a_client_trusts_its_authority_over_both_transports() {
    let (server, authority) = (RealServer::start(), Authority::new());
    let address = wrap(&server, &authority, None).await;
    for over in [Transport::Http, Transport::Grpc, Transport::Auto] {
        let tls = Tls::new().ca_pem(authority.pem.as_str());
        let client = client_over(over, [&address]).tls(tls).build().await.unwrap();
        let guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
        assert_eq!(client.instances("s").await.unwrap().len(), 1, "{over}");
        guard.close().await.unwrap();
        let gone = || async { client.instances("s").await.unwrap().is_empty() };
        eventually("it is gone", Duration::from_secs(5), gone).await;
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (server, authority) = (RealServer::start(), Authority::new());
    let address = wrap(&server, &authority, None).await;
    for over in [Transport::Http, Transport::Grpc] {
        let tls = Tls::new().ca_pem(Authority::new().pem);
        let error = client_over(over, [&address]).tls(tls).build().await.unwrap_err();
        assert!(matches!(error, Error::NoServer { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_asks_who_comes_is_shown_the_certificate() {
    let (server, authority, clients) = (RealServer::start(), Authority::new(), Authority::new());
    let address = wrap(&server, &authority, Some(&clients)).await;
    let (certificate, key) = clients.issue("client");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    for over in [Transport::Http, Transport::Grpc] {
        let stranger = Tls::new().ca_pem(authority.pem.as_str());
        let built = client_over(over, [&address]).tls(stranger).build().await;
        assert!(matches!(built, Err(Error::NoServer { .. })), "{over}: {built:?}");
        let tls = Tls::new()
            .ca_file(file("ca.pem", &authority.pem))
            .identity_files(file("client.pem", &certificate), file("client.key", &key));
        let client = client_over(over, [&address]).tls(tls).build().await.unwrap();
        assert!(client.instances("s").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn bad_certificates_are_told_before_anything_is_sent() {
    let bad = [
        Tls::new().ca_pem("no certificate"),
        Tls::new().ca_file("/no/such/file"),
        Tls::new().ca_pem(Authority::new().pem).identity_pem("no", "key"),
    ];
    for tls in bad {
        let error = client_over(Transport::Http, ["https://127.0.0.1:1"]).tls(tls.clone());
        let error = error.build().await.unwrap_err();
        assert!(matches!(error, Error::Setting { setting: "tls", .. }), "{error} for {tls:?}");
    }
}
