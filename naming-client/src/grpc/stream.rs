//! What a server says of itself: pushes, and questions whether we are there.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use serde::Serialize;

use super::Context;
use super::messages::{Asked, FuzzyNotice, Reset, SetupAck, read_list};
use super::open::body_of;
use super::session::{Session, broken, next_chunk};
use super::wire::{frame, take};
use crate::error::Failure;
use crate::topic::{Source, Verdict};

/// Longest time for a server to take an answer. One that reads none must not make us keep them.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The stream of a connection.
pub(super) struct Reader {
    context: Arc<Context>,
    send: SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    input: BytesMut,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ack<'a> {
    request_id: &'a str,
    result_code: u16,
    error_code: u16,
    success: bool,
}

impl Reader {
    pub(super) fn new(
        context: Arc<Context>,
        send: SendStream<Bytes>,
        response: h2::client::ResponseFuture,
    ) -> Self {
        let input = BytesMut::new();
        Self { context, send, response: Some(response), body: None, input }
    }

    /// The answer to the setup: the first message on the stream.
    pub(super) async fn setup_ack(&mut self) -> Result<SetupAck, Failure> {
        let (kind, body) = self.next().await?;
        if kind != "SetupAckRequest" {
            return Err(Failure::Malformed(format!("{kind:?} to the setup")));
        }
        serde_json::from_slice(&body).map_err(|error| Failure::Malformed(error.to_string()))
    }

    async fn next(&mut self) -> Result<(String, Bytes), Failure> {
        loop {
            if let Some(payload) = take(&mut self.input)? {
                let (metadata, body) = payload.into_parts();
                return Ok((metadata.kind, body));
            }
            if let Some(response) = self.response.take() {
                self.body = Some(body_of(response).await?);
            }
            let ended = || Failure::Cut("the server has ended the stream".to_owned());
            let body = self.body.as_mut().ok_or_else(ended)?;
            let chunk = next_chunk(body).await?.ok_or_else(ended)?;
            self.input.extend_from_slice(&chunk);
        }
    }

    /// Answers and uses what comes until the stream is over; gives the reason.
    pub(super) async fn run(mut self, session: &Session) -> Failure {
        loop {
            let taken = match self.next().await {
                Ok((kind, body)) => {
                    session.heard();
                    self.take(session, &kind, &body).await
                }
                Err(failure) => return failure,
            };
            if let Err(failure) = taken {
                return failure;
            }
        }
    }

    async fn take(&mut self, session: &Session, kind: &str, body: &[u8]) -> Result<(), Failure> {
        let answer = match kind {
            "NotifySubscriberRequest" => {
                use_push(&self.context, session, body);
                "NotifySubscriberResponse"
            }
            "ClientDetectionRequest" => "ClientDetectionResponse",
            "ConnectResetRequest" => {
                let reset: Reset = serde_json::from_slice(body).unwrap_or_default();
                self.context.link().reset(session, reset);
                "ConnectResetResponse"
            }
            "NamingFuzzyWatchSyncRequest" | "NamingFuzzyWatchChangeNotifyRequest" => {
                match serde_json::from_slice::<FuzzyNotice>(body) {
                    Ok(notice) => self.context.link().watches.take(&notice),
                    Err(error) => tracing::warn!(%error, "a notice of services is unreadable"),
                }
                // Both have this answer, as Java's client has it.
                "NamingFuzzyWatchChangeNotifyResponse"
            }
            // Nobody answers it; a second one tells nothing new.
            "SetupAckRequest" => return Ok(()),
            other => {
                tracing::debug!(kind = other, "a request of the server that is not known here");
                return Ok(());
            }
        };
        let asked: Asked = serde_json::from_slice(body).unwrap_or_default();
        self.answer(answer, asked.request_id.as_deref().unwrap_or_default()).await
    }

    async fn answer(&mut self, kind: &str, request_id: &str) -> Result<(), Failure> {
        let ack = Ack { request_id, result_code: 200, error_code: 0, success: true };
        let unwritable = |error: String| Failure::Malformed(error);
        let body = serde_json::to_vec(&ack).map_err(|error| unwritable(error.to_string()))?;
        let message = frame(kind, &[], body.into()).map_err(|e| unwritable(e.to_string()))?;
        // Waiting for room bounds what waits here: nothing more is read meanwhile.
        self.send.reserve_capacity(message.len());
        while self.send.capacity() < message.len() {
            let more = poll_fn(|context| self.send.poll_capacity(context));
            match tokio::time::timeout(ANSWER_TIME, more).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => return Err(Failure::Cut("the stream is closed".to_owned())),
                Err(_) => return Err(Failure::TimedOut(ANSWER_TIME)),
            }
        }
        self.send.send_data(message, false).map_err(|error| broken(&error))
    }
}

fn use_push(context: &Context, session: &Session, body: &[u8]) {
    let (service, list) = match read_list(body) {
        Ok(found) => found,
        // Polling makes up for it; refusing it would only bring it again.
        Err(error) => return tracing::warn!(error, "a push is unreadable"),
    };
    let source = Source::Push { sender: session.source };
    context.core.counters.note_push();
    for topic in context.topics.of_service(&service) {
        let hosts = topic.query.filter(list.hosts.clone());
        match context.topics.apply(&topic, hosts, list.last_ref_time, source) {
            Verdict::AskAgain(pause) => context.topics.ask_again(&topic, pause),
            Verdict::Changed | Verdict::Unchanged | Verdict::Ignored => {}
        }
    }
}
