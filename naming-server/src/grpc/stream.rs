//! The stream of a connection: the setup and answers of the client, requests of this server.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::time::{Instant, sleep_until};

use super::Front;
use super::connections::Connection;
use super::mailbox::Mailbox;
use super::messages::Messages;
use super::send::{STALL_TIME, Sending};
use super::status::{Failure, Status, fail, head, trailers};

/// Streams of one connection; clients have one.
const MOST_STREAMS: usize = 4;

/// Serves a stream to its end. Its head is sent at once: some clients wait for it before they say
/// anything.
pub(super) async fn serve(
    front: Arc<Front>,
    connection: Arc<Connection>,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
    takes_gzip: bool,
) {
    let Some(_place) = connection.take_stream(MOST_STREAMS) else {
        let text = format!("a connection has {MOST_STREAMS} streams at most");
        return fail(respond, &Failure::new(Status::ResourceExhausted, text));
    };
    let Ok(outbound) = respond.send_response(head(), false) else { return };
    let mailbox = Arc::new(Mailbox::default());
    let messages = Messages::new(&connection.account, takes_gzip);
    let mut stream = Stream { front, connection, mailbox, body, messages, outbound, sending: None };
    let end = stream.run().await;
    stream.connection.detach(&stream.mailbox);
    match end {
        End::Over => _ = stream.outbound.send_trailers(trailers(None)),
        End::Failed(failure) => _ = stream.outbound.send_trailers(trailers(Some(&failure))),
        End::Lost => stream.outbound.send_reset(Reason::CANCEL),
    }
}

/// One stream.
struct Stream {
    front: Arc<Front>,
    connection: Arc<Connection>,
    mailbox: Arc<Mailbox>,
    body: RecvStream,
    messages: Messages,
    outbound: SendStream<Bytes>,
    /// What is being sent, and when the client last took something of it.
    sending: Option<(Sending, Instant)>,
}

/// How a stream ends.
enum End {
    /// The client has nothing more to say.
    Over,
    /// It sends what cannot be read.
    Failed(Failure),
    /// It is gone, or it takes nothing.
    Lost,
}

impl Stream {
    async fn run(&mut self) -> End {
        loop {
            if self.sending.is_none() {
                self.sending = self.next().map(|frame| (Sending::new(frame), Instant::now()));
            }
            let deadline = self.deadline();
            let is_idle = self.sending.is_none();
            let Self { body, outbound, sending, connection, mailbox, .. } = self;
            let sent = poll_fn(|context| match sending {
                Some((message, _)) => message.poll_part(outbound, &connection.flow, context),
                None => Poll::Pending,
            });
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                chunk = body.data() => match chunk {
                    Some(Ok(chunk)) => {
                        if let Err(failure) = self.take(chunk) {
                            return End::Failed(failure);
                        }
                    }
                    Some(Err(_)) => return End::Lost,
                    None => return End::Over,
                },
                sent = sent => match sent {
                    Ok(true) => self.sending = None,
                    Ok(false) => self.sending.iter_mut().for_each(|(_, at)| *at = Instant::now()),
                    Err(_) => return End::Lost,
                },
                () = mailbox.woken(), if is_idle => {}
                () = late => {
                    let now = Instant::now();
                    let is_over = |(_, since): &(Sending, Instant)| now >= *since + STALL_TIME;
                    let is_stalled = self.sending.as_ref().is_some_and(is_over);
                    if is_stalled || !self.front.looks_well(&self.connection) {
                        return End::Lost;
                    }
                }
            }
        }
    }

    /// What is sent next.
    fn next(&mut self) -> Option<Vec<Bytes>> {
        let answer = self.mailbox.take().or_else(|| {
            let is_attached = self.connection.is_attached(&self.mailbox);
            is_attached.then(|| self.front.next_push(&self.connection)).flatten()
        })?;
        Some(answer.frame(&self.front.own_ip))
    }

    /// When to look again, whatever the client says.
    fn deadline(&self) -> Option<Instant> {
        let stalled = self.sending.as_ref().map(|(_, since)| *since + STALL_TIME);
        let is_attached = self.connection.is_attached(&self.mailbox);
        let pushes = is_attached.then(|| self.connection.pushes.deadline()).flatten();
        [stalled, pushes].into_iter().flatten().min()
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), Failure> {
        let length = chunk.len();
        self.connection.flow.message_bytes(length);
        let pushed = self.messages.push(chunk);
        let _ = self.body.flow_control().release_capacity(length);
        // An oversized message ends the stream as it does in Nacos; the calls go on.
        let cancelled =
            |error: super::messages::BadMessage| Failure::new(Status::Cancelled, error.to_string());
        pushed.map_err(cancelled)?;
        while let Some((payload, _charge)) = self.messages.pop().map_err(cancelled)? {
            self.connection.flow.answered();
            self.front.hear(&self.connection, &self.mailbox, payload)?;
        }
        Ok(())
    }
}
