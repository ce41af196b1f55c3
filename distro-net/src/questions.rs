//! Questions of one member's application to that of another, which the protocol carries and does
//! not look into.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{MemberId, Reply, Request};

use crate::client::{Outcome, Peers};

/// Bytes of a question.
pub const MOST_QUESTION_BYTES: usize = 64 << 10;
/// Bytes of an answer.
pub const MOST_TOLD_BYTES: usize = 1 << 20;

/// Answers what the application of another member asks, which has proved to be one.
pub trait Questions: Send + Sync {
    /// The answer, of [`MOST_TOLD_BYTES`] at most; `None` if there is none now, or the question means
    /// nothing here. Must not block, nor ask other members: they may be asking this one.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>>;
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The answer.
    Answer(Vec<u8>),
    /// The member is there and has no answer now.
    Nothing,
    /// It runs an earlier release, which is not asked.
    Earlier,
    /// It did not answer in time, or cannot be reached.
    Silent,
}

impl<V> Peers<V> {
    /// Asks the application of another member. Takes no longer than the deadline. The question has
    /// [`MOST_QUESTION_BYTES`] at most, or means nothing there.
    pub async fn ask(&self, member: MemberId, question: Arc<[u8]>, deadline: Duration) -> Told {
        match self.call(member, &Request::Ask(question), deadline).await {
            Outcome::Answered(Reply::Told(answer)) => Told::Answer(answer),
            Outcome::Answered(_) => Told::Nothing,
            Outcome::NotTaken => Told::Earlier,
            Outcome::NoAnswer | Outcome::Refused => Told::Silent,
        }
    }
}
