//! A call to the server of these settings on its own machine, which a probe makes.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme, StreamOwned,
};

use super::files::{Contents, Files};
use super::keychain::provider;
use crate::config::{ClientAuth, TlsConfig};

/// Begins TLS with the server that uses these settings: it must show the very certificate that they
/// name, whatever host that stands for. Where clients must show one, the same certificate is shown.
///
/// # Errors
/// Files that cannot be used.
pub(crate) fn speak_to_own<S: Read + Write>(
    tls: &TlsConfig,
    stream: S,
) -> Result<impl Read + Write> {
    let files = Files::of_clients(tls);
    let Contents { chain, key, .. } = files.parse(&files.read()?)?;
    let own = chain.first().context("a chain has a certificate")?.clone().into_owned();
    let verifier = Arc::new(OnlyThis { own, provider: provider() });
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("no version of TLS")?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match tls.client_auth {
        ClientAuth::Required => {
            builder.with_client_auth_cert(chain, key).context("tls.certificate and tls.key")?
        }
        _ => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").context("a name")?;
    let session = ClientConnection::new(Arc::new(config), name)?;
    Ok(StreamOwned::new(session, stream))
}

/// Trusts one certificate. Its key must have signed the handshake, as with any other.
#[derive(Debug)]
struct OnlyThis {
    own: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OnlyThis {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match *shown == self.own {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
