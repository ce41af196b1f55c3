//! The socket of one connection, watched for stalling.
//!
//! hyper's own header time-out also runs while a keep-alive connection is idle, so one number
//! would have to serve two purposes; it costs an allocation and a timer per request besides. Here
//! the socket notes what phase the connection is in, without reading a clock, and the connection's
//! task keeps the time of the phase and one lazily moved timer for whatever deadline that means.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::accept::Stream;
use super::source::Source;

/// For how long, and how many bytes, a refused client's rest is read and dropped. Closing a socket
/// with unread bytes resets it, and the reset overtakes the answer that says why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 << 20;

/// Head and body of so few bytes go to the kernel in one piece: to copy them costs less than
/// `writev` does more than `send`. Beyond a page that is not so, and the stack is not for it.
const JOINED_BYTES: usize = 4 << 10;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const LINGERING: u8 = 3;

/// What one connection is doing. Only its own task uses it; the atomics are there because tasks
/// move between threads.
#[derive(Debug)]
pub(super) struct Progress {
    source: Arc<Source>,
    /// Whether it is one of the connections that are kept free for members.
    is_reserved: bool,
    standing: AtomicU8,
    phase: AtomicU8,
    moved: AtomicBool,
    refused: AtomicBool,
    hung_up: AtomicBool,
}

/// Who the other end has shown to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Anybody.
    Stranger,
    /// Greets as a member; the greeting may have been recorded.
    Greeted,
    /// A member.
    Member,
}

impl Progress {
    pub(super) fn new(source: Arc<Source>, is_reserved: bool) -> Self {
        Self {
            source,
            is_reserved,
            standing: AtomicU8::new(Standing::Stranger as u8),
            phase: AtomicU8::new(IDLE),
            moved: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            hung_up: AtomicBool::new(false),
        }
    }

    /// Where the other end is.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether only members are served: it is one of the connections that are kept free for them.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    pub(super) fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Stranger,
            1 => Standing::Greeted,
            _ => Standing::Member,
        }
    }

    /// The other end has shown who it is.
    pub(super) fn rise(&self, standing: Standing) {
        self.standing.fetch_max(standing as u8, Relaxed);
    }

    /// A whole head was read: its request is being served.
    pub(super) fn begin_request(&self) {
        self.phase.store(BUSY, Relaxed);
    }

    /// The answer is made; what remains is to write it and to wait for the next request.
    pub(super) fn end_request(&self) {
        self.enter(IDLE);
    }

    /// The rest of the request will not be read: the connection ends after the answer.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Relaxed);
    }

    /// Whether the client was found to have hung up, as far as that was looked for.
    pub(super) fn has_hung_up(&self) -> bool {
        self.hung_up.load(Relaxed)
    }

    /// Whether a phase began, or a client took something, since the last call: the time that
    /// [`Self::limit`] speaks of begins anew.
    pub(super) fn take_moved(&self) -> bool {
        let moved = self.moved.load(Relaxed);
        if moved {
            self.moved.store(false, Relaxed);
        }
        moved
    }

    /// How long the connection may stay where it is; `None` while a request is served, which has
    /// time limits of its own. A half-sent request that came in one read with its predecessor
    /// counts as idle.
    pub(super) fn limit(
        &self,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Option<Duration> {
        match self.phase.load(Relaxed) {
            IDLE => Some(idle_timeout),
            HEAD => Some(header_timeout),
            LINGERING => Some(LINGER),
            _ => None,
        }
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Relaxed);
        self.touch();
    }

    fn touch(&self) {
        self.moved.store(true, Relaxed);
    }
}

/// A stream that keeps its [`Progress`].
pub(super) struct WatchedSocket<'a, S> {
    stream: S,
    progress: Arc<Progress>,
    /// Whether to look if the client has hung up.
    may_be_late: &'a (dyn Fn() -> bool + Sync),
    heads: &'a HeadBudget,
    /// Of the head that is being received.
    head_bytes: usize,
    /// What is counted of it.
    counted_bytes: usize,
    write_blocked: bool,
    written_end: bool,
    lingered_bytes: usize,
}

/// Bytes of a head that are not counted: nearly all heads are smaller, and cost nothing here.
const FREE_HEAD_BYTES: usize = 16 << 10;

/// Counts the bytes of all large heads being received, so that many at a time cannot exhaust the
/// memory although each is within its limit.
#[derive(Debug)]
pub(super) struct HeadBudget {
    taken: AtomicUsize,
    most: usize,
}

impl HeadBudget {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }
}

impl<'a, S: Stream> WatchedSocket<'a, S> {
    pub(super) fn new(
        stream: S,
        progress: Arc<Progress>,
        may_be_late: &'a (dyn Fn() -> bool + Sync),
        heads: &'a HeadBudget,
    ) -> Self {
        let (head_bytes, counted_bytes, lingered_bytes) = (0, 0, 0);
        let (write_blocked, written_end) = (false, false);
        Self {
            stream,
            progress,
            may_be_late,
            heads,
            head_bytes,
            counted_bytes,
            write_blocked,
            written_end,
            lingered_bytes,
        }
    }

    /// Bytes came, of a head or of something else. False if there are too many of heads.
    fn count_head(&mut self, bytes: usize, is_begun: bool) -> bool {
        let is_head = self.progress.phase.load(Relaxed) == HEAD;
        if is_begun || !is_head {
            self.release_head();
        }
        if !is_head {
            return true;
        }
        self.head_bytes += bytes;
        let more = self.head_bytes.saturating_sub(FREE_HEAD_BYTES) - self.counted_bytes;
        if more == 0 {
            return true;
        }
        self.counted_bytes += more;
        self.heads.taken.fetch_add(more, Relaxed) + more <= self.heads.most
    }

    fn release_head(&mut self) {
        self.head_bytes = 0;
        if self.counted_bytes > 0 {
            self.heads.taken.fetch_sub(std::mem::take(&mut self.counted_bytes), Relaxed);
        }
    }

    /// A slow reader lives as long as it takes something now and then.
    fn note_write<T>(&mut self, result: Poll<T>) -> Poll<T> {
        if result.is_pending() {
            self.write_blocked = true;
        } else if std::mem::take(&mut self.write_blocked) {
            self.progress.touch();
        }
        result
    }

    /// Reads and drops until the client closes.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 16 << 10];
        while self.lingered_bytes < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.lingered_bytes += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl<S> Drop for WatchedSocket<'_, S> {
    fn drop(&mut self) {
        self.heads.taken.fetch_sub(self.counted_bytes, Relaxed);
    }
}

impl<S: Stream> AsyncRead for WatchedSocket<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            let is_begun = self.progress.phase.load(Relaxed) == IDLE;
            if is_begun {
                self.progress.enter(HEAD);
            }
            if !self.count_head(bytes, is_begun) {
                return Poll::Ready(Err(io::Error::other("too many large request heads")));
            }
            if (self.may_be_late)() && self.stream.has_ended() {
                self.progress.hung_up.store(true, Relaxed);
            }
        }
        result
    }
}

impl<S: Stream> AsyncWrite for WatchedSocket<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = if length <= JOINED_BYTES {
            let mut room = [const { MaybeUninit::uninit() }; JOINED_BYTES];
            let mut joined = ReadBuf::uninit(&mut room);
            slices.iter().for_each(|slice| joined.put_slice(slice));
            stream.poll_write(context, joined.filled())
        } else {
            stream.poll_write_vectored(context, slices)
        };
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written_end {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.written_end = true;
            // Bytes of a head that never became a request were refused by the parser.
            let refused = self.progress.refused.load(Relaxed);
            if !refused && self.progress.phase.load(Relaxed) != HEAD {
                return Poll::Ready(Ok(()));
            }
            self.progress.enter(LINGERING);
        }
        if self.progress.phase.load(Relaxed) == LINGERING {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
