//! What is counted of gRPC, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::kind::Kind;
use crate::metrics::Counters;

/// Codes of answers that are counted by themselves; any other counts as the last.
const CODES: [i32; 12] = [200, 300, 301, 302, 400, 403, 409, 500, 501, 502, 503, 0];

/// Counters, all since the start but for those that say otherwise.
#[derive(Debug)]
pub(super) struct GrpcStats {
    /// TCP connections open now.
    pub(super) open: AtomicUsize,
    /// TCP connections served.
    pub(super) accepted: AtomicU64,
    /// Those closed at once, because there were too many.
    pub(super) refused: AtomicU64,
    /// Connections set up.
    pub(super) setups: AtomicU64,
    /// Setups turned away because one address has too many in a second.
    pub(super) setups_refused: AtomicU64,
    /// Questions to silent clients whether they are there.
    pub(super) detections: AtomicU64,
    /// Connections closed because the client did not say that it is there.
    pub(super) silent: AtomicU64,
    /// Registrations that ended with their connection.
    pub(super) lapses: AtomicU64,
    /// Instances registered anew that had gone although their connection lives.
    pub(super) reasserted: AtomicU64,
    /// Requests to clients to go elsewhere.
    pub(super) resets: AtomicU64,
    /// Those of them that this member made to even out the shares of the members.
    pub(super) moved: AtomicU64,
    /// Connections closed for sending frames that belong to no call.
    pub(super) floods: AtomicU64,
    /// Bytes received.
    pub(super) bytes_in: AtomicU64,
    /// Bytes sent.
    pub(super) bytes_out: AtomicU64,
    /// Requests by kind and code.
    requests: Counters,
}

impl GrpcStats {
    /// All 0.
    pub(super) fn new() -> Self {
        let (open, accepted, refused, setups, setups_refused) = Default::default();
        let (detections, silent, lapses, reasserted, resets) = Default::default();
        let (moved, floods, bytes_in, bytes_out) = Default::default();
        let requests = Counters::new(Kind::ALL.len() * CODES.len());
        Self {
            open,
            accepted,
            refused,
            setups,
            setups_refused,
            detections,
            silent,
            lapses,
            reasserted,
            resets,
            moved,
            floods,
            bytes_in,
            bytes_out,
            requests,
        }
    }

    /// A request of this kind got an answer with this code.
    pub(super) fn request(&self, kind: Kind, code: i32) {
        let column = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.requests.add(kind as usize * CODES.len() + column);
    }

    /// Requests by kind, code and number; code 0 stands for all that are not told apart.
    pub(super) fn requests(&self) -> impl Iterator<Item = (Kind, i32, u64)> {
        let cells = Kind::ALL.into_iter().flat_map(|kind| CODES.map(|code| (kind, code)));
        let counted =
            cells.enumerate().map(|(at, (kind, code))| (kind, code, self.requests.value(at)));
        counted.filter(|(.., count)| *count > 0)
    }
}
