//! TLS: which servers are trusted, and who we are to them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Longest file of certificates or keys, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// What is wrong with certificates or keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Certificates for servers whose address begins with `https://` (feature `tls`).
///
/// Without a certificate authority of its own it trusts those of the system, or of the file that the
/// variable `SSL_CERT_FILE` names.
///
/// ```no_run
/// use naming_http::{HttpClient, HttpSettings, Tls};
///
/// let tls = Tls::new().ca_file("ca.pem").identity_files("client.pem", "client.key");
/// let client = HttpClient::with_tls(&HttpSettings::default(), tls.load()?);
/// # Ok::<(), naming_http::TlsError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Tls {
    authorities: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
}

#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("(hidden)"),
        }
    }
}

impl Tls {
    /// Trusts the authorities of the system, and shows no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this file (PEM), and no longer those of the system.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts the authorities in this text (PEM), and no longer those of the system.
    pub fn ca_pem(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Text(text.into()));
        self
    }

    /// Shows servers that ask for it the certificate in the first file (PEM, with the chain behind
    /// it), proved by the key in the second.
    pub fn identity_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// The same with the texts (PEM).
    pub fn identity_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((Pem::Text(certificate.into()), Pem::Text(key.into())));
        self
    }

    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// What is wrong with a file, or that nobody is trusted. No error shows what a file holds.
    pub fn load(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(self.roots()?);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(&text_of(key)?).map_err(wrong)?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(wrong)
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            // The system has certificates that no library takes; the others count.
            roots.add_parsable_certificates(found.certs);
        }
        for pem in &self.authorities {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(wrong)?;
            }
        }
        match roots.is_empty() {
            true => Err(wrong("no certificate authority is trusted")),
            false => Ok(roots),
        }
    }
}

/// For clients of servers in plain.
pub(crate) fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the usual versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn wrong(error: impl ToString) -> TlsError {
    TlsError(error.to_string())
}

fn text_of(pem: &Pem) -> Result<Vec<u8>, TlsError> {
    let path = match pem {
        Pem::Text(text) => return Ok(text.clone()),
        Pem::File(path) => path,
    };
    let read = || {
        let mut text = Vec::new();
        let file = std::fs::File::open(path)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_FILE), &mut text)?;
        Ok(text)
    };
    read().map_err(|error: std::io::Error| wrong(format!("{}: {error}", path.display())))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text_of(pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(format!("{pem:?} has no certificate"))),
        found => found.map_err(wrong),
    }
}
