//! Authorities, certificates, and clients that have them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use naming_server::{ClientAuth, Config, TlsConfig, TlsMode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server_support::Answer;

/// No step takes nearly as long; it is there so that a failure is no hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Who signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these hosts.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }
}

/// A folder with the files of a server, and what clients need to trust it.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site =
            Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("servers") };
        site.show(&site.authority.issue("first", &["127.0.0.1", "localhost"]));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        write(&self.path(name), text)
    }

    /// The server shows this certificate from now on.
    pub(crate) fn show(&self, identity: &Identity) {
        self.write("server.pem", &identity.chain);
        self.write("server.key", &identity.key);
    }

    pub(crate) fn tls(&self, mode: TlsMode) -> TlsConfig {
        let text = |name| self.path(name).to_str().unwrap().to_owned();
        let (certificate, key) = (text("server.pem"), text("server.key"));
        TlsConfig { mode, certificate, key, ..TlsConfig::default() }
    }

    pub(crate) fn config(&self, mode: TlsMode) -> Config {
        Config { tls: self.tls(mode), ..Config::default() }
    }

    /// Settings of a server that asks clients for certificates of this authority.
    pub(crate) fn asking(&self, client_auth: ClientAuth, authority: &Authority) -> Config {
        let client_ca = self.write("clients.pem", &authority.pem);
        let tls = TlsConfig { client_auth, client_ca, ..self.tls(TlsMode::Required) };
        Config { tls, ..Config::default() }
    }

    /// A client that trusts the server.
    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::new(&self.authority, None)
    }
}

/// Writes a file as an editor does: whole.
pub(crate) fn write(path: &Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(fresh, path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A client, with or without a certificate.
#[derive(Clone)]
pub(crate) struct TlsClient(ClientConfig);

impl TlsClient {
    pub(crate) fn new(trusted: &Authority, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Self(match identity {
            Some(Identity { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }

    /// The same that speaks these protocols and says so.
    pub(crate) fn speaking(&self, protocols: &[&str]) -> Self {
        let mut config = self.0.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(config)
    }

    /// Begins TLS on a new connection.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        let shaking = connector.connect(ServerName::from(address.ip()), stream);
        tokio::time::timeout(PATIENCE, shaking).await.expect("a handshake in time")
    }

    /// Opens a connection for requests one after the other.
    pub(crate) fn open(&self, address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::from(address.ip());
        let session = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        Connection(StreamOwned::new(session, stream))
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, address: SocketAddr, target: &str) -> std::io::Result<Answer> {
        self.open(address).ask("GET", target)
    }
}

/// A connection within TLS.
pub(crate) struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> std::io::Result<Answer> {
        self.send(method, target, "")
    }

    /// The same with a form.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        form: &str,
    ) -> std::io::Result<Answer> {
        let length = form.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        );
        self.0.write_all(request.as_bytes())?;
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.expect("a length").parse().unwrap();
                if body.len() >= length {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Ok(Answer { status, body: body.to_owned(), head });
                }
            }
            let mut buffer = [0; 4_096];
            let count = self.0.read(&mut buffer)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            read.extend_from_slice(&buffer[..count]);
        }
    }

    /// The certificate that the server has shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("after the handshake")[0].to_vec()
    }
}

/// The bytes of a certificate.
pub(crate) fn der(identity: &Identity) -> Vec<u8> {
    CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap().to_vec()
}
