//! The snapshot: everything that Java servers hold, at the start and after a stop.
//!
//! A Java server takes whatever it gets from the first member that gives it something, so nobody is
//! given a snapshot by a member that has not loaded itself. A snapshot may hold the dead: whoever
//! nobody has vouched for 20 s after all members are connected is gone.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::arrays::parse_snapshot;
use super::link::LinkError;
use super::peers::Peers;
use super::request::DistroRequest;

/// Within which a member must give its snapshot.
const SNAPSHOT_TIME: Duration = Duration::from_secs(30);
/// Bytes of a snapshot.
const MOST_SNAPSHOT_BYTES: usize = 256 << 20;
/// A member that starts and whom nobody answers within this serves alone.
const ALONE_AFTER: Duration = Duration::from_secs(5);
/// The same if somebody takes its connections and does not answer: a server that is stopped or very
/// busy. Whoever begins without what it holds shows its clients as missing.
const UNANSWERED_FOR: Duration = Duration::from_secs(30);
/// From one round of asking to the next.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The same while Java servers are not connected to this member: they do not vouch for anybody yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// So long after all are connected, whoever nobody vouches for is gone.
const VOUCHED_WITHIN: Duration = Duration::from_secs(20);

/// What came of asking all for a snapshot.
enum Asked {
    Loaded,
    /// Somebody is there and gives none yet.
    NotYet,
    /// Somebody takes connections, and does not answer.
    NoAnswer,
    /// Nobody is there.
    Nobody,
}

impl Peers {
    /// Loads whatever a member holds. If nobody is there this one goes on alone.
    pub(super) async fn load_or_go_on(&self) {
        let began = Instant::now();
        loop {
            match self.load_from_any().await {
                Asked::Loaded => break,
                Asked::Nobody if began.elapsed() >= ALONE_AFTER => {
                    tracing::warn!("no Java member is there; going on without a snapshot");
                    break;
                }
                Asked::NoAnswer if began.elapsed() >= UNANSWERED_FOR => {
                    tracing::warn!("no Java member answers; going on without a snapshot");
                    break;
                }
                Asked::NotYet | Asked::NoAnswer | Asked::Nobody => sleep(ASK_AGAIN).await,
            }
        }
        self.set_loaded(true);
    }

    /// Loads again when that is wanted, and drops whoever nobody vouches for.
    pub(super) async fn reload(&self, shutdown: &CancellationToken) {
        let work = async {
            loop {
                self.wait_until_known().await;
                if timeout(VOUCHED_WITHIN, self.load_wanted.notified()).await.is_err() {
                    let dropped = self.clients.drop_unverified();
                    if dropped > 0 {
                        tracing::info!(
                            dropped,
                            "dropped clients of the snapshot that no Java server vouches for"
                        );
                    }
                    self.load_wanted.notified().await;
                }
                self.load_or_go_on().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    /// Waits until all Java servers are connected to this member. As long as it is on none of their
    /// lists they tell it nothing by themselves: it asks.
    async fn wait_until_known(&self) {
        while !self.is_known_to_all() {
            if timeout(LOOK_AGAIN, self.load_wanted.notified()).await.is_ok() {
                self.load_or_go_on().await;
            } else if !self.is_known_to_all() {
                self.load_from_any().await;
            }
        }
    }

    /// Asks one after the other until one gives its snapshot.
    async fn load_from_any(&self) -> Asked {
        let members: Vec<_> = {
            let members = self.members.lock();
            members.others().map(|(address, _)| address.clone()).collect()
        };
        let mut asked = Asked::Nobody;
        for member in members {
            match self.load_from(&member).await {
                Ok(()) => return Asked::Loaded,
                Err(error) => {
                    tracing::debug!(%member, %error, "a Java member gave no snapshot");
                    asked = match (error, asked) {
                        (LinkError::Refused | LinkError::Unreached(_), asked) => asked,
                        (LinkError::Late(_), Asked::Nobody) => Asked::NoAnswer,
                        (LinkError::Late(_), asked) => asked,
                        _ => Asked::NotYet,
                    };
                }
            }
        }
        asked
    }

    async fn load_from(&self, member: &str) -> Result<(), LinkError> {
        let link = self.link_to(member).await?;
        let began = self.now();
        let request = DistroRequest::snapshot();
        let call =
            link.call("DistroDataRequest", &request, SNAPSHOT_TIME, MOST_SNAPSHOT_BYTES).await?;
        let content = call.distro_data.and_then(|data| data.content);
        let none = || LinkError::Strange("the snapshot has no content".to_owned());
        let parsed = parse_snapshot(&content.ok_or_else(none)?.0);
        let (clients, bad) = parsed.map_err(|error| LinkError::Strange(error.to_string()))?;
        let known = clients.len();
        let left_out = self.clients.load(clients, began);
        tracing::info!(member, clients = known, bad, left_out, "loaded what a Java cluster holds");
        Ok(())
    }
}
