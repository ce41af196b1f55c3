//! Unary calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use naming_model::payload::Payload;
use tokio::time::timeout;

use super::Front;
use super::answer::Answer;
use super::budget::Charge;
use super::connections::Connection;
use super::dispatch::dispatch;
use super::messages::Messages;
use super::send::Sending;
use super::status::{Failure, Status, fail, head, trailers};

/// What a call takes besides its message and its answer, roughly: stream and task.
const CALL_BYTES: usize = 4 << 10;
/// How long the message of a call may take to come.
const RECEIVE_TIME: Duration = Duration::from_secs(30);

/// Reads the message of a call, has it answered and sends the answer.
pub(super) async fn answer(
    front: Arc<Front>,
    connection: Arc<Connection>,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    takes_gzip: bool,
) {
    let mut place = connection.account.charge();
    if !place.grow(CALL_BYTES) {
        let text = "too many calls are under way, please try again";
        return fail(respond, &Failure::new(Status::ResourceExhausted, text));
    }
    let received = timeout(RECEIVE_TIME, receive(&connection, body, takes_gzip)).await;
    let received = received.unwrap_or_else(|_| {
        let text = format!("the message did not come within {} s", RECEIVE_TIME.as_secs());
        Err(Failure::new(Status::DeadlineExceeded, text))
    });
    match received {
        Ok((payload, charge)) => {
            let answer = dispatch(&front, &connection, payload).await;
            drop(charge);
            send(&connection, respond, &answer).await;
        }
        Err(failure) => fail(respond, &failure),
    }
    connection.flow.answered();
}

/// The one message of a call.
async fn receive(
    connection: &Connection,
    mut body: RecvStream,
    takes_gzip: bool,
) -> Result<(Payload, Charge), Failure> {
    let mut messages = Messages::new(&connection.account, takes_gzip);
    let mut found = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| Failure::new(Status::Cancelled, error.to_string()))?;
        let length = chunk.len();
        connection.flow.message_bytes(length);
        messages.push(chunk)?;
        let _ = body.flow_control().release_capacity(length);
        while let Some(message) = messages.pop()? {
            if found.replace(message).is_some() {
                return Err(Failure::new(Status::Internal, "a call has one message"));
            }
        }
    }
    match found {
        Some(message) if !messages.is_in_the_middle() => Ok(message),
        _ => Err(Failure::new(Status::Internal, "the message of the call is not whole")),
    }
}

/// Sends an answer, as far as the client takes it.
async fn send(connection: &Connection, mut respond: SendResponse<Bytes>, answer: &Answer) {
    let mut charge = connection.account.charge();
    if !charge.grow(answer.length()) {
        let text = "too many bytes of answers wait for being read, please try again";
        return fail(respond, &Failure::new(Status::ResourceExhausted, text));
    }
    // A client that is gone is not told.
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    match Sending::new(answer.frame("")).all(&mut stream, &connection.flow).await {
        Ok(()) => _ = stream.send_trailers(trailers(None)),
        Err(_) => stream.send_reset(h2::Reason::CANCEL),
    }
}
