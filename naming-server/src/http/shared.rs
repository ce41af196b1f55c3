//! One port for two protocols, told apart by the first bytes of a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::accept::Stream;
use crate::registry::Later;

/// What a connection of HTTP/2 begins with, as far as no request of HTTP/1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Who serves connections that begin with the preface of HTTP/2.
pub(crate) trait OtherProtocol: Send + Sync + 'static {
    /// Serves a connection to its end. It counts among those of the other protocol.
    fn serve(self: Arc<Self>, stream: Box<dyn Stream>, peer: SocketAddr) -> Later<()>;
}

/// A stream of which some bytes were read already.
pub(crate) struct Peeked<S> {
    bytes: [u8; PREFACE.len()],
    /// How many were read, and how many of them were given out again.
    read: usize,
    given: usize,
    stream: S,
}

impl<S: Stream> Peeked<S> {
    /// Nothing was read of it.
    pub(super) fn new(stream: S) -> Self {
        Self { bytes: [0; PREFACE.len()], read: 0, given: 0, stream }
    }

    /// Waits for the first byte, which stays to be read.
    ///
    /// # Errors
    /// The stream is broken, or over.
    pub(super) async fn first_byte(&mut self) -> io::Result<u8> {
        if self.read == 0 {
            // One at a time: the rest need not be copied.
            self.read_more(1).await?;
        }
        Ok(self.bytes[0])
    }

    /// Reads as much as it takes to tell whether this is HTTP/2.
    ///
    /// # Errors
    /// The stream is broken, or over.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        loop {
            if self.bytes[..self.read] != PREFACE[..self.read] {
                return Ok(false);
            }
            if self.read == PREFACE.len() {
                return Ok(true);
            }
            self.read_more(PREFACE.len()).await?;
        }
    }

    async fn read_more(&mut self, until: usize) -> io::Result<()> {
        let read = self.stream.read(&mut self.bytes[self.read..until]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += read;
        Ok(())
    }
}

impl<S: Stream> Stream for Peeked<S> {
    fn send_at_once(&self) {
        self.stream.send_at_once();
    }

    fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }
}

impl<S: Stream> AsyncRead for Peeked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == self.read {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let end = self.read.min(self.given + buffer.remaining());
        buffer.put_slice(&self.bytes[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Peeked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Stream for Box<dyn Stream> {
    fn send_at_once(&self) {
        (**self).send_at_once();
    }

    fn has_ended(&self) -> bool {
        (**self).has_ended()
    }
}
