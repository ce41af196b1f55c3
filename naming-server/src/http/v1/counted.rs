//! What follows an answer, whichever API gave it: it counts, it may be timed, and if it was an
//! administrative write, that is taken down.

use std::sync::Arc;
use std::time::Instant;

use super::Api;
use super::audit::answered;
use crate::http::Answer;
use crate::naming::Watched;

impl Api {
    /// The same answer, which counts in this row, is timed if it is known when it began, and goes with
    /// this change when it is known.
    #[inline]
    pub(in crate::http) fn note_answer(
        &self,
        row: usize,
        started: Option<Instant>,
        change: Option<Watched>,
        answer: Answer,
    ) -> Answer {
        match answer {
            Answer::Now(reply) => {
                self.requests.count(row, reply.status.as_u16());
                if let Some(started) = started {
                    self.times.note(row, started);
                }
                if let Some(change) = change {
                    answered(change, &reply);
                }
                Answer::Now(reply)
            }
            Answer::Later(later) => {
                let requests = Arc::clone(&self.requests);
                let started = started.map(|started| (started, Arc::clone(&self.times)));
                Answer::Later(Box::pin(async move {
                    let reply = later.await;
                    requests.count(row, reply.status.as_u16());
                    if let Some((started, times)) = started {
                        times.note(row, started);
                    }
                    if let Some(change) = change {
                        answered(change, &reply);
                    }
                    reply
                }))
            }
            // Counted when it is known who asks, or that it is not.
            Answer::Again(check) => {
                let requests = Arc::clone(&self.requests);
                Answer::Again(Box::pin(async move {
                    let refusal = check.await;
                    if let Some(reply) = &refusal {
                        requests.count(row, reply.status.as_u16());
                    }
                    match (change, &refusal) {
                        (Some(change), Some(reply)) => answered(change, reply),
                        (Some(change), None) => change.forget(),
                        (None, _) => {}
                    }
                    refusal
                }))
            }
        }
    }
}
