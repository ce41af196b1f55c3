//! Log lines on their way to standard error, so that nobody waits for whoever reads it.

use std::fs::File;
use std::io::{self, Write, stderr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait to be written; more are lost, and counted.
const WAITING_LINES: usize = 4_096;

/// Takes lines, one with each write, and never blocks. A thread of its own writes them.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// To be answered when all lines before it are written.
    Flush(Sender<()>),
}

impl Lines {
    /// Lines to standard error. Its lock is not used: panics and last words must get through.
    ///
    /// # Errors
    /// Neither a descriptor nor a thread is left.
    pub(super) fn to_stderr() -> io::Result<Self> {
        Self::to(File::from(stderr().as_fd().try_clone_to_owned()?))
    }

    fn to(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(WAITING_LINES);
        let lost = Arc::default();
        let of_thread = Arc::clone(&lost);
        thread::Builder::new().name("log".into()).spawn(|| write(lines, target, of_thread))?;
        Ok(Self { queue, lost })
    }

    /// Waits until all lines are written, or for `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        let (done, written) = channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Either way there is nothing left to do.
            let _ = written.recv_timeout(patience);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(lines: Receiver<Message>, mut target: impl Write, lost: Arc<AtomicU64>) {
    for message in lines {
        match message {
            // There is nobody to tell of an error.
            Message::Line(line) => _ = target.write_all(&line),
            Message::Flush(done) => _ = done.send(()),
        }
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "log lines were lost: standard error was not read in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A reader that does not read as long as somebody holds the lock.
    #[derive(Clone, Default)]
    struct Stalling(Arc<Mutex<Vec<u8>>>);

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_wait_for_a_stalled_reader_and_their_writers_do_not() {
        let target = Stalling::default();
        let mut lines = Lines::to(target.clone()).unwrap();
        let stalled = target.0.lock();
        for n in 0..2 * WAITING_LINES {
            lines.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        // The thread may have taken one line out of the queue.
        let lost = lines.lost.load(Relaxed);
        assert!((WAITING_LINES as u64 - 1..=WAITING_LINES as u64).contains(&lost), "{lost}");
        lines.finish(Duration::from_millis(10));
        drop(stalled);
        let long = Duration::from_secs(20);
        while lines.lost.load(Relaxed) > 0 {
            thread::yield_now();
        }
        // The queue may still be full: then there was no room for the question.
        while !target.0.lock().ends_with(b"\n") || target.0.lock().len() < WAITING_LINES {
            thread::yield_now();
        }
        lines.finish(long);
        let text = String::from_utf8(target.0.lock().clone()).unwrap();
        assert!(text.starts_with("0\n1\n2\n"));
        assert!(text.lines().count() >= WAITING_LINES - 1, "{}", text.lines().count());
    }
}
