//! The files of a certificate, its key and the authorities to trust.
//!
//! No error shows what a file holds: an operator may name the key where the certificate belongs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{ClientAuth, MemberTlsConfig, TlsConfig};

/// Bytes of one file: room for the authorities of a whole system.
const MOST_FILE_BYTES: u64 = 1 << 20;
/// Certificates in a chain. A client reads them all in one message.
const MOST_CHAIN: usize = 16;

/// Where a certificate, its key and the authorities are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The section of the settings that names them.
    section: &'static str,
    certificate: PathBuf,
    key: PathBuf,
    /// The key of the settings, and the file.
    authorities: Option<(&'static str, PathBuf)>,
}

/// What stood in the files at one moment.
pub(super) struct Raw {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

/// What it means.
pub(super) struct Contents {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authorities: Option<RootCertStore>,
}

/// Tells whether files have changed, without keeping a key in memory for it.
pub(super) type Fingerprint = [u8; 32];

impl Files {
    pub(super) fn of_clients(tls: &TlsConfig) -> Self {
        let asks = tls.client_auth != ClientAuth::None;
        Self {
            section: "tls",
            certificate: tls.certificate.clone().into(),
            key: tls.key.clone().into(),
            authorities: asks.then(|| ("client_ca", tls.client_ca.clone().into())),
        }
    }

    pub(super) fn of_members(tls: &MemberTlsConfig) -> Self {
        Self {
            section: "cluster.tls",
            certificate: tls.certificate.clone().into(),
            key: tls.key.clone().into(),
            authorities: Some(("ca", tls.ca.clone().into())),
        }
    }

    pub(super) fn section(&self) -> &'static str {
        self.section
    }

    /// Reads all of them. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read or is too long.
    pub(super) fn read(&self) -> Result<Raw> {
        let section = self.section;
        let read = |key: &str, path: &Path| read(path).with_context(|| format!("{section}.{key}"));
        let authorities = self.authorities.as_ref().map(|(key, path)| read(key, path));
        Ok(Raw {
            certificate: read("certificate", &self.certificate)?,
            key: read("key", &self.key)?,
            authorities: authorities.transpose()?,
        })
    }

    /// What that means.
    ///
    /// # Errors
    /// A file that holds something else; the text names its key.
    pub(super) fn parse(&self, raw: &Raw) -> Result<Contents> {
        let section = self.section;
        let chain = certificates(&raw.certificate)
            .with_context(|| format!("{section}.certificate: {}", self.certificate.display()))?;
        ensure!(
            chain.len() <= MOST_CHAIN,
            "{section}.certificate: {} holds {} certificates, more than {MOST_CHAIN}",
            self.certificate.display(),
            chain.len()
        );
        let key =
            key(&raw.key).with_context(|| format!("{section}.key: {}", self.key.display()))?;
        let authorities = match self.authorities.as_ref().zip(raw.authorities.as_ref()) {
            Some(((key, path), bytes)) => {
                let named = || format!("{section}.{key}: {}", path.display());
                Some(authorities(bytes).with_context(named)?)
            }
            None => None,
        };
        Ok(Contents { chain, key, authorities })
    }

    /// The key file, if other users of the machine may read it.
    pub(super) fn open_key(&self) -> Option<&Path> {
        use std::os::unix::fs::PermissionsExt;
        const OTHERS_READ: u32 = 0o004;
        let mode = std::fs::metadata(&self.key).ok()?.permissions().mode();
        (mode & OTHERS_READ != 0).then_some(&*self.key)
    }
}

impl Raw {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let authorities = self.authorities.as_deref().unwrap_or_default();
        for part in [&*self.certificate, &*self.key, authorities] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let named = || format!("cannot read {}", path.display());
    let metadata = std::fs::metadata(path).with_context(named)?;
    // Reading a pipe or a device might never end.
    ensure!(metadata.is_file(), "{} is no file", path.display());
    let length = metadata.len();
    ensure!(length <= MOST_FILE_BYTES, "{} is too long: {length} bytes", path.display());
    std::fs::read(path).with_context(named)
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|_| anyhow!("the file is damaged, or not written to its end"))?;
    ensure!(!found.is_empty(), "no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    Ok(found)
}

fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let is_encrypted = bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
    ensure!(!is_encrypted, "the key is encrypted; `openssl pkey` writes it without a password");
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|_| anyhow!("no key in PEM form (-----BEGIN PRIVATE KEY-----), or damaged"))
}

fn authorities(bytes: &[u8]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(bytes)? {
        store
            .add(certificate)
            .map_err(|error| anyhow!("not the certificate of an authority: {error}"))?;
    }
    Ok(store)
}
