//! Sending within what the client is ready to take: a slow reader holds up itself, and no more than
//! one message of it is in memory.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::timeout;

use super::flow::Flow;

/// For how long a client may take nothing of a message before its stream is given up.
pub(super) const STALL_TIME: Duration = Duration::from_secs(30);

/// A message on its way.
pub(super) struct Sending {
    chunks: std::vec::IntoIter<Bytes>,
    chunk: Bytes,
}

impl Sending {
    pub(super) fn new(frame: Vec<Bytes>) -> Self {
        Self { chunks: frame.into_iter(), chunk: Bytes::new() }
    }

    /// Sends what the client takes. Ready when all is sent, or after a part of it: `Ok(true)` if
    /// that was the last.
    ///
    /// # Errors
    /// The stream is over.
    pub(super) fn poll_part(
        &mut self,
        stream: &mut SendStream<Bytes>,
        flow: &Flow,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, h2::Error>> {
        while self.chunk.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.chunk = chunk,
                None => return Poll::Ready(Ok(true)),
            }
        }
        stream.reserve_capacity(self.chunk.len());
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(context)) {
                Some(capacity) => _ = capacity?,
                None => return Poll::Ready(Err(is_over())),
            }
        }
        let part = self.chunk.split_to(self.chunk.len().min(stream.capacity()));
        flow.sent(part.len());
        stream.send_data(part, false)?;
        Poll::Ready(Ok(false))
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The stream is over, or the client takes nothing for [`STALL_TIME`].
    pub(super) async fn all(
        mut self,
        stream: &mut SendStream<Bytes>,
        flow: &Flow,
    ) -> Result<(), h2::Error> {
        loop {
            let part = poll_fn(|context| self.poll_part(stream, flow, context));
            match timeout(STALL_TIME, part).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(is_over()),
            }
        }
    }
}

fn is_over() -> h2::Error {
    h2::Error::from(h2::Reason::CANCEL)
}
