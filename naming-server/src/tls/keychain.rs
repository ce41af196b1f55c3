//! A certificate with its key and the authorities to trust, as it is used at the moment.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{Contents, Files, Fingerprint, Raw};
use super::leaf::Leaf;
use crate::config::{ClientAuth, TlsConfig};

/// A certificate that expires within this time is worth a warning.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a port speaks inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Http,
    Grpc,
    /// The protocol that client and server agree on tells which.
    Both,
}

/// What is asked of those who connect, and of the certificate itself.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    client_auth: ClientAuth,
    /// The host that the certificate must stand for; with it, this member dials others by it.
    own_host: Option<ServerName<'static>>,
}

impl Terms {
    pub(super) fn of_clients(tls: &TlsConfig) -> Self {
        Self { client_auth: tls.client_auth, own_host: None }
    }

    /// # Errors
    /// The host cannot stand in a certificate.
    pub(super) fn of_members(own_host: &str) -> Result<Self> {
        let own_host = server_name(own_host)?;
        Ok(Self { client_auth: ClientAuth::Required, own_host: Some(own_host) })
    }
}

/// The name that a certificate must have for this host, an address with or without brackets or a
/// name.
///
/// # Errors
/// It cannot stand in a certificate.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned())
        .map_err(|_| anyhow!("no certificate can name the host {host:?}"))
}

/// A certificate with its key and the authorities to trust, which may be exchanged at any time.
pub(crate) struct Keychain {
    files: Files,
    terms: Terms,
    suite: ArcSwap<Suite>,
    taken: AtomicU64,
    refused: AtomicU64,
}

/// What came of one set of files.
struct Suite {
    fingerprint: Fingerprint,
    leaf: Leaf,
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
    dial: Option<Arc<ClientConfig>>,
}

impl Keychain {
    /// Reads the files. Blocks, for a moment at the start.
    ///
    /// # Errors
    /// One that cannot be used; the text names its key.
    pub(super) fn open(files: Files, terms: Terms) -> Result<Arc<Self>> {
        let suite = Suite::make(&files, &terms, &files.read()?)?;
        say_what_is_used(&files, &suite.leaf);
        let (taken, refused) = Default::default();
        Ok(Arc::new(Self { files, terms, suite: ArcSwap::from_pointee(suite), taken, refused }))
    }

    pub(super) fn section(&self) -> &'static str {
        self.files.section()
    }

    /// What is in the files now, if that is not what is used. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn look(&self) -> Result<Option<Raw>> {
        let raw = self.files.read()?;
        let is_known = raw.fingerprint() == self.suite.load().fingerprint;
        Ok((!is_known).then_some(raw))
    }

    /// Uses this from now on; connections keep what they began with. Blocks.
    ///
    /// # Errors
    /// It cannot be used: what was in use stays.
    pub(super) fn take(&self, raw: &Raw) -> Result<()> {
        let suite = Suite::make(&self.files, &self.terms, raw)?;
        say_what_is_used(&self.files, &suite.leaf);
        self.suite.store(Arc::new(suite));
        self.taken.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Counts changed files that could not be used.
    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Changed files that were taken, and such that could not be used.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.taken.load(Relaxed), self.refused.load(Relaxed))
    }

    /// Seconds until the certificate expires; below 0 it has.
    pub(super) fn seconds_left(&self) -> f64 {
        self.suite.load().leaf.seconds_left()
    }

    /// For a connection that begins now.
    pub(super) fn server(&self, offer: Offer) -> Arc<ServerConfig> {
        let suite = self.suite.load();
        Arc::clone(match offer {
            Offer::Http => &suite.http,
            Offer::Grpc => &suite.grpc,
            Offer::Both => &suite.both,
        })
    }

    /// For a connection to another member that begins now, if there are any.
    pub(super) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.suite.load().dial.clone()
    }
}

impl fmt::Debug for Keychain {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaf = &self.suite.load().leaf;
        let mut shown = formatter.debug_struct("Keychain");
        shown.field("files", &self.files).field("leaf", leaf).finish_non_exhaustive()
    }
}

impl Suite {
    fn make(files: &Files, terms: &Terms, raw: &Raw) -> Result<Self> {
        let fingerprint = raw.fingerprint();
        let section = files.section();
        let Contents { chain, key, authorities } = files.parse(raw)?;
        let first = chain.first().context("a chain has a certificate")?;
        let leaf = Leaf::read(first).with_context(|| format!("{section}.certificate"))?;
        if let Some(host) = &terms.own_host {
            stands_for(first, host).with_context(|| format!("{section}.certificate"))?;
        }
        let authorities = authorities.map(Arc::new);
        let dial = match (&terms.own_host, &authorities) {
            (Some(_), Some(authorities)) => {
                let own = (chain.clone(), key.clone_key());
                Some(dial(section, Arc::clone(authorities), own)?)
            }
            _ => None,
        };
        let verifier = verifier(section, terms.client_auth, authorities)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("no version of TLS")?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .with_context(|| format!("{section}.certificate and {section}.key"))?;
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self {
            fingerprint,
            leaf,
            http: offering(&[b"http/1.1"]),
            grpc: offering(&[b"h2"]),
            // What a browser or curl speaks both of is no gRPC. Clients of gRPC name h2 alone.
            both: offering(&[b"http/1.1", b"h2"]),
            dial: dial.map(Arc::new),
        })
    }
}

/// What encrypts.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn verifier(
    section: &str,
    client_auth: ClientAuth,
    authorities: Option<Arc<RootCertStore>>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let authorities = match (client_auth, authorities) {
        (ClientAuth::None, _) | (_, None) => return Ok(Arc::new(NoClientAuth)),
        (_, Some(authorities)) => authorities,
    };
    let builder = WebPkiClientVerifier::builder_with_provider(authorities, provider());
    let builder = match client_auth {
        ClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    builder.build().with_context(|| format!("the authorities of {section}"))
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn dial(section: &str, authorities: Arc<RootCertStore>, (chain, key): Own) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("no version of TLS")?
        .with_root_certificates(authorities)
        .with_client_auth_cert(chain, key)
        .with_context(|| format!("{section}.certificate and {section}.key"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Others refuse a member whose certificate names another host.
fn stands_for(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<()> {
    let parsed = ParsedCertificate::try_from(certificate).context("not a certificate for TLS")?;
    verify_server_name(&parsed, host).with_context(|| {
        format!("the certificate does not name the host of this member, {}", host.to_str())
    })
}

fn say_what_is_used(files: &Files, leaf: &Leaf) {
    let Leaf { subject, names, expires, .. } = leaf;
    let section = files.section();
    tracing::info!(section, subject, names, expires, "the TLS certificate in use");
    let left = leaf.seconds_left();
    if left <= 0.0 {
        tracing::warn!(section, expires, "the TLS certificate has expired: clients refuse it");
    } else if left < SOON.as_secs_f64() {
        tracing::warn!(section, expires, "the TLS certificate expires within a week");
    }
    if let Some(path) = files.open_key() {
        let path = path.display();
        tracing::warn!(
            section,
            "every user of this machine may read the TLS key {path}: chmod o-r"
        );
    }
}
