//! Reading request bodies within limits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::HttpSettings;
use super::error::ApiError;

/// Counts the bytes of all bodies being received, so that many large ones at a time cannot
/// exhaust the memory although each is within its limit.
#[derive(Debug, Default)]
pub(super) struct BodyBudget {
    buffered: AtomicUsize,
}

impl BodyBudget {
    /// Reads a whole body of at most `limit` bytes.
    ///
    /// # Errors
    /// 413 above the limit of one body, 503 above that of all, 408 if it does not come in time,
    /// 400 if it ends early or is not framed properly.
    pub(super) async fn read(
        &self,
        body: Incoming,
        limit: usize,
        settings: &HttpSettings,
    ) -> Result<Bytes, ApiError> {
        // Refused by its announcement, before the client is told to go on.
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        timeout(settings.body_timeout, self.collect(body, limit, settings)).await.unwrap_or_else(
            |_| {
                let limit = settings.body_timeout.as_millis();
                Err(ApiError::timeout(format!("request body did not arrive within {limit} ms")))
            },
        )
    }

    async fn collect(
        &self,
        mut body: Incoming,
        limit: usize,
        settings: &HttpSettings,
    ) -> Result<Bytes, ApiError> {
        let mut share = Share { budget: self, bytes: 0 };
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|e| ApiError::bad_request(format!("request body is broken: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            share.grow(data.len(), limit, settings)?;
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
}

/// What one body takes of the budget, given back when it is read or refused.
struct Share<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
}

impl Share<'_> {
    fn grow(
        &mut self,
        bytes: usize,
        limit: usize,
        settings: &HttpSettings,
    ) -> Result<(), ApiError> {
        self.bytes += bytes;
        let all = self.budget.buffered.fetch_add(bytes, Relaxed) + bytes;
        if self.bytes > limit {
            return Err(too_large(limit));
        }
        if all > settings.max_buffered_body_bytes {
            return Err(ApiError::unavailable("too many request bodies at a time"));
        }
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.buffered.fetch_sub(self.bytes, Relaxed);
    }
}

fn too_large(limit: usize) -> ApiError {
    ApiError::too_large(format!("request body is larger than {limit} bytes"))
}
