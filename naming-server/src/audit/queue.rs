//! Lines on their way to the audit file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Counts;
use super::rotation::RotatedFile;

/// Lines that wait to be written; more are lost, and counted. A line has a few hundred bytes,
/// about 13,000 at most.
const WAITING_LINES: usize = 1_024;
/// Between two attempts to ask a full queue for an answer.
const FULL: Duration = Duration::from_millis(10);

/// Takes lines and never blocks. A thread of its own writes them; it ends when this is dropped and
/// all is written.
#[derive(Debug)]
pub(super) struct Queue {
    messages: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// To be answered when all lines before it are written.
    Flush(oneshot::Sender<()>),
}

impl Queue {
    /// # Errors
    /// No thread is left.
    pub(super) fn start(file: RotatedFile, counts: Arc<Counts>) -> io::Result<Self> {
        let (messages, received) = sync_channel(WAITING_LINES);
        let of_thread = Arc::clone(&counts);
        thread::Builder::new().name("audit".into()).spawn(|| write(received, file, of_thread))?;
        Ok(Self { messages, counts })
    }

    pub(super) fn push(&self, line: Vec<u8>) {
        if self.messages.try_send(Message::Line(line)).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
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

fn write(messages: Receiver<Message>, mut file: RotatedFile, counts: Arc<Counts>) {
    let mut fails = false;
    for message in messages {
        match message {
            Message::Line(line) => match file.append(&line) {
                Ok(()) => fails = false,
                Err(error) => {
                    counts.lost.fetch_add(1, Relaxed);
                    if !fails {
                        let file = file.path().display();
                        tracing::error!(%file, %error, "audit lines are lost: cannot write them");
                    }
                    fails = true;
                }
            },
            // Whoever asked may have gone.
            Message::Flush(done) => _ = done.send(()),
        }
    }
}
