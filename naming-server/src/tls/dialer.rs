//! Connections to other members in TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::keychain::{Keychain, server_name};
use crate::pace::Pace;

/// Lines about members that could not be spoken to, and in which time.
const LINES: u32 = 10;
const LINES_PERIOD: Duration = Duration::from_secs(60);

/// Begins TLS with other members: both ends show a certificate, and that of the other must name
/// the host that was dialed.
#[derive(Debug)]
pub(crate) struct MemberDialer {
    keychain: Arc<Keychain>,
    failed: AtomicU64,
    lines: Mutex<Pace>,
}

impl MemberDialer {
    pub(super) fn new(keychain: Arc<Keychain>) -> Self {
        let lines = Mutex::new(Pace::new(LINES, LINES_PERIOD));
        Self { keychain, failed: AtomicU64::new(0), lines }
    }

    /// Begins TLS on a connection to a member at this host. The caller sets the deadline and drops the
    /// future when it is over.
    ///
    /// # Errors
    /// The other end shows no certificate of that host, or speaks no TLS.
    pub(crate) async fn secure<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let bad = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let name = server_name(host).map_err(|error| bad(error.to_string()))?;
        let config = self.keychain.client().ok_or_else(|| bad("nothing to dial by".to_owned()))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        secured.inspect_err(|error| self.note(host, error))
    }

    /// Handshakes that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    fn note(&self, host: &str, error: &io::Error) {
        self.failed.fetch_add(1, Relaxed);
        if let Some(left_out) = self.lines.lock().line(Instant::now()) {
            tracing::warn!(host, left_out, "cannot speak TLS to a member: {error}");
        }
    }
}
