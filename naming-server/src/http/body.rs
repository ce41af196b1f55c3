//! Reading request bodies within limits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::Door;
use super::error::ApiError;
use super::socket::{Progress, Standing};
use super::source::Source;

/// Bytes of a body of somebody who has not even greeted as a member. They fit into the buffer of the
/// connection, so they are not counted.
const SMALL_BYTES: usize = 4 << 10;
/// Bytes of all bodies being received of those who have greeted as a member but proved nothing.
const MOST_GREETED_BYTES: usize = 64 << 20;
/// The same of members.
const MOST_MEMBER_BYTES: usize = 256 << 20;

/// What the bodies being received may take, so that many large ones at a time cannot exhaust the
/// memory although each is within its limit; and strangers cannot take what members need.
#[derive(Debug)]
pub(super) struct Budgets {
    settings: BodySettings,
    public: Budget,
    greeted: Budget,
    members: Budget,
}

/// The limits of everybody's bodies.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodySettings {
    pub(super) timeout: Duration,
    pub(super) most_bytes: usize,
    pub(super) most_bytes_of_all: usize,
    pub(super) most_bytes_of_source: usize,
}

#[derive(Debug)]
struct Budget {
    taken: AtomicUsize,
    most: usize,
}

impl Budget {
    fn of(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }
}

impl Budgets {
    pub(super) fn new(settings: BodySettings) -> Self {
        Self {
            settings,
            public: Budget::of(settings.most_bytes_of_all),
            greeted: Budget::of(MOST_GREETED_BYTES),
            members: Budget::of(MOST_MEMBER_BYTES),
        }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// 413 above the limit of one body, 503 above that of all or of those from one address, 408 if
    /// it does not come in time, 400 if it ends early or is not framed properly.
    pub(super) async fn read(
        &self,
        body: Incoming,
        door: Door,
        progress: &Progress,
    ) -> Result<Bytes, ApiError> {
        let (mut share, limit) = self.share(door, progress);
        // Refused by its announcement, before the client is told to go on.
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let most = self.settings.timeout;
        timeout(most, share.collect(body, limit)).await.unwrap_or_else(|_| {
            let limit = most.as_millis();
            Err(ApiError::timeout(format!("request body did not arrive within {limit} ms")))
        })
    }

    /// What a body is counted in, and how long it may be.
    fn share<'a>(&'a self, door: Door, progress: &'a Progress) -> (Share<'a>, usize) {
        let share = |budget, source| Share { budget, source, bytes: 0 };
        match (door, progress.standing()) {
            (Door::Public, _) => {
                let source = (progress.source(), self.settings.most_bytes_of_source);
                (share(Some(&self.public), Some(source)), self.settings.most_bytes)
            }
            (Door::Greeting, _) | (Door::Calls(_), Standing::Stranger) => {
                (share(None, None), SMALL_BYTES)
            }
            (Door::Calls(most), Standing::Greeted) | (Door::Believed(most), _) => {
                (share(Some(&self.greeted), None), most)
            }
            (Door::Calls(most), Standing::Member) => (share(Some(&self.members), None), most),
        }
    }
}

/// What one body takes of the budget, given back when it is read or refused.
struct Share<'a> {
    budget: Option<&'a Budget>,
    source: Option<(&'a Source, usize)>,
    bytes: usize,
}

impl Share<'_> {
    async fn collect(&mut self, mut body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|e| ApiError::bad_request(format!("request body is broken: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            self.grow(data.len(), limit)?;
            // Small bodies come in one piece, which need not be copied.
            if first.is_empty() {
                first = data;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
        }
        Ok(if joined.is_empty() { first } else { joined.freeze() })
    }

    fn grow(&mut self, bytes: usize, limit: usize) -> Result<(), ApiError> {
        self.bytes += bytes;
        let add = |counter: &AtomicUsize| counter.fetch_add(bytes, Relaxed) + bytes;
        let is_full = self.budget.is_some_and(|budget| add(&budget.taken) > budget.most);
        let is_greedy = self.source.is_some_and(|(source, most)| add(&source.body_bytes) > most);
        if self.bytes > limit {
            return Err(too_large(limit));
        }
        if is_full {
            return Err(ApiError::unavailable("too many request bodies at a time"));
        }
        if is_greedy {
            return Err(ApiError::unavailable(
                "too many request bodies from one address at a time",
            ));
        }
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let sub = |counter: &AtomicUsize| _ = counter.fetch_sub(self.bytes, Relaxed);
        self.budget.iter().for_each(|budget| sub(&budget.taken));
        self.source.iter().for_each(|(source, _)| sub(&source.body_bytes));
    }
}

fn too_large(limit: usize) -> ApiError {
    ApiError::too_large(format!("request body is larger than {limit} bytes"))
}
