//! Answers that may be long: how many of them there may be at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{ApiError, Reply};

/// Bytes of one answer. What would be longer is refused, not cut.
pub(crate) const MOST_ANSWER_BYTES: usize = 32 << 20;
/// Bytes of all such answers until they have been sent.
const MOST_SENDING_BYTES: usize = 512 << 20;
/// Shorter answers are not counted: there are no more of them than connections.
const SMALL: usize = 64 << 10;

/// Counts the bytes of long answers from the moment they are made until they have been sent, so
/// that slow readers of long lists cannot exhaust the memory.
#[derive(Debug, Default)]
pub(crate) struct LargeAnswers {
    sending: AtomicUsize,
}

impl LargeAnswers {
    /// The answer with this JSON text.
    ///
    /// # Errors
    /// 503 while too much is being sent.
    pub(crate) fn json(self: &Arc<Self>, text: String) -> Result<Reply, ApiError> {
        if text.len() <= SMALL {
            return Ok(Reply::json(text));
        }
        let sending = self.sending.fetch_add(text.len(), Ordering::Relaxed) + text.len();
        let counted = Counted { text, answers: Arc::clone(self) };
        if sending > MOST_SENDING_BYTES {
            return Err(ApiError::unavailable("too many long answers at a time"));
        }
        Ok(Reply::json(Bytes::from_owner(counted)))
    }
}

/// A text that counts until it is dropped.
struct Counted {
    text: String,
    answers: Arc<LargeAnswers>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answers.sending.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_count_until_they_are_gone() {
        let answers = Arc::<LargeAnswers>::default();
        let long = || answers.json(" ".repeat(MOST_ANSWER_BYTES));
        let held: Vec<_> = (0..16).map(|_| long().unwrap()).collect();
        assert_eq!(long().unwrap_err().status.as_u16(), 503);
        answers.json("{}".to_owned()).unwrap();
        let copy = held.last().unwrap().body.clone();
        drop(held);
        assert_eq!(answers.sending.load(Ordering::Relaxed), MOST_ANSWER_BYTES);
        drop(copy);
        assert_eq!(answers.sending.load(Ordering::Relaxed), 0);
    }
}
