//! What waits to be sent on the stream of a connection.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::answer::Answer;

/// Bytes that wait at a time. Only small requests wait here, a handful at a time: lists are made
/// when they are sent.
const MOST_WAITING_BYTES: usize = 256 << 10;
/// What a waiting answer takes besides its body, roughly.
const ANSWER_BYTES: usize = 128;

/// The stream of a connection, as those see it who have something to send.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: VecDeque<Answer>,
    bytes: usize,
}

impl Mailbox {
    /// Has something sent. False if too much waits already: the client does not read.
    #[must_use]
    pub(super) fn post(&self, answer: Answer) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = answer.length() + ANSWER_BYTES;
        if waiting.bytes + bytes > MOST_WAITING_BYTES {
            return false;
        }
        waiting.bytes += bytes;
        waiting.answers.push_back(answer);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// What is to be sent next.
    pub(super) fn take(&self) -> Option<Answer> {
        let mut waiting = self.waiting.lock();
        let answer = waiting.answers.pop_front()?;
        waiting.bytes -= answer.length() + ANSWER_BYTES;
        Some(answer)
    }

    /// There is something to look at.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there may be something to look at.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Fields;
    use super::*;

    #[test]
    fn only_so_much_waits_and_in_order() {
        let mailbox = Mailbox::default();
        let long = "x".repeat(1_000);
        let request =
            |n: usize| Answer::request("A", &n.to_string(), Fields::new().text("x", &long));
        let posted = (0..1_000).take_while(|n| mailbox.post(request(*n))).count();
        assert!((200..260).contains(&posted), "{posted}");
        assert_eq!(mailbox.take(), Some(request(0)));
        assert!(mailbox.post(request(posted)), "there is room again");
        let rest = std::iter::from_fn(|| mailbox.take());
        assert!(rest.eq((1..=posted).map(request)));
    }
}
