//! Questions by UDP.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{DnsFront, MOST_QUESTION_BYTES, Way};

/// Tasks that answer, at most: an answer takes some microseconds.
const MOST_TASKS: usize = 4;
/// Pause after a read that failed, which would fail again at once.
const BACKOFF: Duration = Duration::from_millis(100);

/// Answers until `shutdown`.
pub(crate) async fn serve(front: Arc<DnsFront>, socket: UdpSocket, shutdown: CancellationToken) {
    let socket = Arc::new(socket);
    let tasks = available_parallelism().map_or(1, NonZero::get).min(MOST_TASKS);
    let mut answering = JoinSet::new();
    for _ in 0..tasks {
        answering.spawn(answer(Arc::clone(&front), Arc::clone(&socket)));
    }
    shutdown.cancelled().await;
    answering.shutdown().await;
}

/// Answers for ever.
async fn answer(front: Arc<DnsFront>, socket: Arc<UdpSocket>) {
    // One byte more, so that a longer one is seen to be longer.
    let mut question = vec![0; MOST_QUESTION_BYTES + 1];
    loop {
        match socket.recv_from(&mut question).await {
            Ok((length, peer)) => {
                let question = question.get(..length).unwrap_or_default();
                if let Some(answer) = front.respond(question, peer, Way::Udp)
                    // A full buffer loses answers, as the network does: clients ask again.
                    && socket.try_send_to(&answer, peer).is_err()
                {
                    front.stats.unsent.fetch_add(1, Relaxed);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a DNS question cannot be read");
                sleep(BACKOFF).await;
            }
        }
    }
}
