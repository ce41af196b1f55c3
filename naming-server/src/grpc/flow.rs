//! The bytes of one connection, counted: for metrics, and against floods of frames that carry no
//! call.
//!
//! Pings, settings, resets and headers cost their sender next to nothing, and take time here. So each
//! connection has a debt: what it sends is added, and what turns out to be part of a call is taken
//! off again. The rest is forgiven slowly. A client that pings every few seconds never comes near the
//! limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::stats::GrpcStats;
use crate::http::Stream;

/// Bytes without a call that end the connection.
const MOST_DEBT: i64 = 1 << 20;
/// Bytes forgiven in each millisecond.
const FORGIVEN_PER_MS: i64 = 64;
/// Beyond its bytes, what a call costs until it is answered: one that is called off stays this debt.
const CALL: i64 = 256;
/// What an answered call takes off: its head and its part of the frames between calls.
const ANSWERED: i64 = 2 << 10;
/// The most that somebody can have to their credit.
const MOST_CREDIT: i64 = 64 << 10;

/// What one connection owes.
#[derive(Debug)]
pub(super) struct Flow {
    debt: AtomicI64,
    forgiven_until: Mutex<Instant>,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { debt: AtomicI64::new(0), forgiven_until: Mutex::new(Instant::now()) }
    }

    /// A call has begun.
    pub(super) fn call(&self) {
        self.debt.fetch_add(CALL, Relaxed);
    }

    /// It is answered.
    pub(super) fn answered(&self) {
        self.take_off(CALL + ANSWERED);
    }

    /// So many bytes were part of a message.
    pub(super) fn message_bytes(&self, bytes: usize) {
        self.take_off(bytes as i64);
    }

    /// So many bytes of an answer were sent: the client says now and then that it has read some.
    pub(super) fn sent(&self, bytes: usize) {
        self.take_off((bytes / 16) as i64);
    }

    fn take_off(&self, bytes: i64) {
        let less = |debt: i64| Some((debt - bytes).max(-MOST_CREDIT));
        let _ = self.debt.fetch_update(Relaxed, Relaxed, less);
    }

    /// So many bytes have come. False if the connection is to end.
    fn received(&self, bytes: usize) -> bool {
        let debt = self.debt.fetch_add(bytes as i64, Relaxed) + bytes as i64;
        debt <= MOST_DEBT / 2 || self.forgive(Instant::now()) <= MOST_DEBT
    }

    /// The debt that remains.
    fn forgive(&self, now: Instant) -> i64 {
        let mut until = self.forgiven_until.lock();
        let elapsed = now.saturating_duration_since(*until).as_millis();
        *until = now;
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX / FORGIVEN_PER_MS);
        let forgiven = elapsed.saturating_mul(FORGIVEN_PER_MS).min(2 * MOST_DEBT);
        let less = |debt: i64| Some((debt - forgiven).max(debt.min(0)));
        let debt = self.debt.fetch_update(Relaxed, Relaxed, less).unwrap_or_else(|debt| debt);
        (debt - forgiven).max(debt.min(0))
    }
}

/// The socket of a connection, whose bytes are counted.
pub(super) struct Metered<S> {
    stream: S,
    flow: Arc<Flow>,
    stats: Arc<GrpcStats>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, flow: Arc<Flow>, stats: Arc<GrpcStats>) -> Self {
        Self { stream, flow, stats }
    }
}

impl<S: Stream> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.stats.bytes_in.fetch_add(bytes as u64, Relaxed);
            if !self.flow.received(bytes) {
                self.stats.floods.fetch_add(1, Relaxed);
                return Poll::Ready(Err(io::Error::other("too many frames without a call")));
            }
        }
        result
    }
}

impl<S: Stream> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(result)
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

impl<S> Metered<S> {
    fn count(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = result {
            self.stats.bytes_out.fetch_add(bytes as u64, Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A ping takes so many bytes.
    const PING: usize = 17;

    #[test]
    fn frames_without_a_call_end_the_connection_and_calls_do_not() {
        let flow = Flow::new();
        let pings = (0..200_000).take_while(|_| flow.received(PING)).count();
        assert!((50_000..100_000).contains(&pings), "{pings}");

        let flow = Flow::new();
        for _ in 0..100_000 {
            assert!(flow.received(500));
            flow.call();
            flow.message_bytes(400);
            flow.answered();
        }

        let flow = Flow::new();
        let called_off = (0..200_000).take_while(|_| {
            flow.call();
            flow.received(40)
        });
        assert!(called_off.count() < 10_000);
    }

    #[test]
    fn a_good_past_does_not_pay_for_a_flood() {
        let flow = Flow::new();
        (0..1_000_000).for_each(|_| flow.answered());
        let pings = (0..200_000).take_while(|_| flow.received(PING)).count();
        assert!(pings < 100_000, "{pings}");
    }

    #[test]
    fn old_debts_are_forgiven() {
        let flow = Flow::new();
        let start = Instant::now();
        flow.received(MOST_DEBT as usize);
        assert!(flow.forgive(start + Duration::from_secs(1)) < MOST_DEBT - 60_000);
        assert_eq!(flow.forgive(start + Duration::from_secs(1_000)), 0);
        assert_eq!(flow.forgive(start + Duration::from_secs(2_000)), 0, "no credit comes of it");
    }
}
