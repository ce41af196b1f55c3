//! The beginning of a connection to a port that speaks TLS.
//!
//! ```text
//! first byte ┬ 0x16: a turn of its address, a turn of all, handshake ► Welcomed::Secured
//!            └ else ┬ the port takes plain, too ► Welcomed::Plain
//!                   └ it does not: "this port speaks TLS", and the end
//! ```
//!
//! A connection that waits holds nothing but its socket. It counts among those of its address from
//! the start.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::accept::Stream;
use super::shared::Peeked;
use super::source::Source;
use crate::tls::{Outcome, Port};

/// What a TLS connection begins with: the type of a record that carries a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// From the first byte to the end of the handshake, the wait for a turn included.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// For how long, and how many bytes, the rest of a plain request is read and dropped, so that the
/// answer is not overtaken by a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// Before plain HTTP/2 is refused: clients of gRPC that are refused in good form come back without a
/// pause, hundreds of times in a second.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The answer to a plain request of HTTP/1.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 32\r\nConnection: close\r\n\r\n\
    this port speaks TLS: use https\n";
/// The same in frames of HTTP/2: no settings, and GOAWAY with INADEQUATE_SECURITY and a text.
const REFUSAL_OF_HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x1c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0cthis port speaks TLS";

/// A connection that may begin to speak.
pub(crate) enum Welcomed<S> {
    /// Without TLS.
    Plain(Peeked<S>),
    /// Within TLS. One kind of stream, so that all the rest is there once.
    Secured {
        stream: Box<dyn Stream>,
        /// Whether both ends have agreed on HTTP/2; `None` if they have agreed on nothing.
        is_http2: Option<bool>,
    },
}

/// Begins a connection to a port that speaks TLS; `None` if nothing came of it. The first byte must
/// come within `patience`.
pub(crate) async fn welcome<S: Stream>(
    port: &Port,
    stream: S,
    peer: SocketAddr,
    source: Option<&Source>,
    patience: Duration,
) -> Option<Welcomed<S>> {
    let mut stream = Peeked::new(stream);
    // Who says nothing is no news: so do those that only look whether the port is open.
    let first = timeout(patience, stream.first_byte()).await.ok()?.ok()?;
    if first != HANDSHAKE_RECORD {
        if port.is_required() {
            port.note(Outcome::PlainRefused);
            let _ = timeout(HANDSHAKE_TIME, refuse(stream)).await;
            return None;
        }
        port.note(Outcome::Plain);
        return Some(Welcomed::Plain(stream));
    }
    // Loopback is as many clients as it likes.
    let source = source.filter(|_| !peer.ip().is_loopback());
    let secured = async {
        let _turn_of_source = match source {
            Some(source) => source.handshakes.acquire().await.ok(),
            None => None,
        };
        let _turn = port.turn().await;
        port.shake_hands(stream).await
    };
    let (outcome, error) = match timeout(patience.min(HANDSHAKE_TIME), secured).await {
        Ok(Ok(stream)) => {
            port.note(Outcome::Secured);
            let agreed = stream.get_ref().1.alpn_protocol();
            let is_http2 = agreed.map(|protocol| protocol == b"h2");
            return Some(Welcomed::Secured { stream: Box::new(Secured(stream)), is_http2 });
        }
        Ok(Err(error)) => (Outcome::Failed, error.to_string()),
        Err(_) => (Outcome::Late, "it took too long".to_owned()),
    };
    port.note(outcome);
    if let Some(left_out) = port.line() {
        let name = port.name();
        tracing::warn!(port = name, %peer, left_out, "a TLS handshake failed: {error}");
    }
    None
}

/// Says what the port speaks, in the protocol that the other end has begun with.
async fn refuse<S: Stream>(mut stream: Peeked<S>) -> io::Result<()> {
    let refusal = if stream.is_http2().await? {
        sleep(REFUSAL_DELAY).await;
        REFUSAL_OF_HTTP2
    } else {
        REFUSAL
    };
    stream.write_all(refusal).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES);
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

/// A connection within TLS.
struct Secured<S>(TlsStream<S>);

impl<S: Stream> Stream for Secured<S> {
    /// What says within TLS that the client ends is read together with its last request where requests
    /// have waited for long; then the end of the connection is all that is left. Behind a large body
    /// it may be unread, and hides the end.
    fn has_ended(&self) -> bool {
        self.0.get_ref().0.has_ended()
    }
}

impl<S: Stream> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: Stream> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
