//! What is counted of questions.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use hickory_proto::op::ResponseCode;

use super::{DnsFront, Way};
use crate::metrics::{Metric, MetricSource};

/// Codes of answers with a count of their own, and their names; others count together.
const CODES: [(ResponseCode, &str); 6] = [
    (ResponseCode::NoError, "noerror"),
    (ResponseCode::FormErr, "formerr"),
    (ResponseCode::ServFail, "servfail"),
    (ResponseCode::NXDomain, "nxdomain"),
    (ResponseCode::NotImp, "notimp"),
    (ResponseCode::Refused, "refused"),
];
const OTHER: &str = "other";

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Stats {
    udp: AtomicU64,
    tcp: AtomicU64,
    codes: [AtomicU64; CODES.len() + 1],
    /// Answers that did not fit.
    pub(super) truncated: AtomicU64,
    /// Questions that nobody answers: no question at all, or too many of one source.
    pub(super) unread: AtomicU64,
    pub(super) over_rate: AtomicU64,
    /// Answers that the system did not take.
    pub(super) unsent: AtomicU64,
    /// TCP connections now, and those that were closed because there were too many.
    pub(super) open: AtomicUsize,
    pub(super) refused: AtomicU64,
    /// Answers that failed by a bug of ours.
    pub(super) panics: AtomicU64,
}

impl Stats {
    pub(super) fn question(&self, way: Way) {
        match way {
            Way::Udp => self.udp.fetch_add(1, Relaxed),
            Way::Tcp => self.tcp.fetch_add(1, Relaxed),
        };
    }

    pub(super) fn answer(&self, code: ResponseCode) {
        let at = CODES.iter().position(|(known, _)| *known == code).unwrap_or(CODES.len());
        self.codes[at].fetch_add(1, Relaxed);
    }
}

impl MetricSource for DnsFront {
    fn metrics(&self) -> Vec<Metric> {
        let stats = &self.stats;
        let questions = [("udp", &stats.udp), ("tcp", &stats.tcp)]
            .map(|(way, count)| (vec![("transport", way.into())], count.load(Relaxed)));
        let names = CODES.iter().map(|(_, name)| *name).chain([OTHER]);
        let answers = names
            .zip(&stats.codes)
            .map(|(name, count)| (vec![("code", name.into())], count.load(Relaxed)));
        let dropped = [
            ("unreadable", &stats.unread),
            ("rate", &stats.over_rate),
            ("unsent", &stats.unsent),
            ("panic", &stats.panics),
        ]
        .map(|(reason, count)| (vec![("reason", reason.into())], count.load(Relaxed)));
        let truncated = stats.truncated.load(Relaxed);
        let open = stats.open.load(Relaxed) as f64;
        let refused = stats.refused.load(Relaxed);
        vec![
            Metric::counters("naming_dns_questions", "DNS questions by transport.", questions),
            Metric::counters("naming_dns_answers", "DNS answers by code.", answers),
            Metric::counters("naming_dns_dropped", "DNS questions without answer.", dropped),
            Metric::counter("naming_dns_truncated", "DNS answers that did not fit.", truncated),
            Metric::gauge("naming_dns_connections", "DNS connections by TCP now.", open),
            Metric::counter(
                "naming_dns_connections_refused",
                "DNS connections closed at once because there were too many.",
                refused,
            ),
        ]
    }
}
