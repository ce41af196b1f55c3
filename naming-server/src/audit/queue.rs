//! Lines on their way to the audit file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Counts;
use super::rotation::RotatedFile;

/// Lines that wait to be written; more are lost, and counted. A line has a few hundred bytes,
/// about 13,000 at most.
const WAITING_LINES: usize = 1_024;
/// Refusals among them: a disk that stalls must not lose what was done for what was not.
const WAITING_REFUSALS: usize = WAITING_LINES / 8;
/// Between two attempts to ask a full queue for an answer.
const FULL: Duration = Duration::from_millis(10);

/// Takes lines and never blocks. A thread of its own writes them; it ends when this is dropped and
/// all is written.
#[derive(Debug)]
pub(super) struct Queue {
    messages: SyncSender<Message>,
    waiting_refusals: Arc<AtomicUsize>,
    counts: Arc<Counts>,
}

/// A line on its way.
#[derive(Debug)]
pub(super) struct Line {
    /// What is written, with its end.
    pub(super) bytes: Vec<u8>,
    /// Whether it tells of a refusal.
    pub(super) is_refusal: bool,
}

#[derive(Debug)]
enum Message {
    Line(Line),
    /// To be answered when all lines before it are written.
    Flush(oneshot::Sender<()>),
}

impl Queue {
    /// # Errors
    /// No thread is left.
    pub(super) fn start(file: RotatedFile, counts: Arc<Counts>) -> io::Result<Self> {
        let (messages, received) = sync_channel(WAITING_LINES);
        let writer = Self { messages, waiting_refusals: Arc::default(), counts };
        let (waiting, counts) = (Arc::clone(&writer.waiting_refusals), Arc::clone(&writer.counts));
        let write = move || write(received, file, &waiting, &counts);
        thread::Builder::new().name("audit".into()).spawn(write)?;
        Ok(writer)
    }

    pub(super) fn push(&self, line: Line) {
        if line.is_refusal && self.waiting_refusals.fetch_add(1, Relaxed) >= WAITING_REFUSALS {
            self.waiting_refusals.fetch_sub(1, Relaxed);
            self.counts.left_out.fetch_add(1, Relaxed);
            return;
        }
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.messages.try_send(Message::Line(line))
        {
            self.counts.lost.fetch_add(1, Relaxed);
            if matches!(message, Message::Line(Line { is_refusal: true, .. })) {
                self.waiting_refusals.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Waits until all lines are written.
    pub(super) async fn drain(&self) {
        let (done, written) = oneshot::channel();
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            message = back;
            tokio::time::sleep(FULL).await;
        }
        // An error means that the thread is gone, which has nothing left to write either.
        let _ = written.await;
    }
}

fn write(
    messages: Receiver<Message>,
    mut file: RotatedFile,
    waiting_refusals: &AtomicUsize,
    counts: &Counts,
) {
    let mut fails = false;
    for message in messages {
        match message {
            Message::Line(Line { bytes, is_refusal }) => {
                if is_refusal {
                    waiting_refusals.fetch_sub(1, Relaxed);
                }
                match file.append(&bytes, is_refusal) {
                    Ok(true) => fails = false,
                    Ok(false) => _ = counts.left_out.fetch_add(1, Relaxed),
                    Err(error) => {
                        counts.lost.fetch_add(1, Relaxed);
                        if !fails {
                            let file = file.path().display();
                            tracing::error!(%file, %error, "audit lines are lost: cannot write them");
                        }
                        fails = true;
                    }
                }
            }
            // Whoever asked may have gone.
            Message::Flush(done) => _ = done.send(()),
        }
    }
}
