//! The part of `/metrics` that tells of gRPC.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Front;
use crate::metrics::{Metric, MetricSource};

/// Versions of clients with a row of their own; the clients of all others count together.
const MOST_VERSIONS: usize = 32;
/// The row of the others.
const OTHER: &str = "other";

impl MetricSource for Front {
    fn metrics(&self) -> Vec<Metric> {
        let stats = &self.stats;
        let counters: [(_, _, &AtomicU64); 13] = [
            ("naming_grpc_accepted", "gRPC connections served.", &stats.accepted),
            ("naming_grpc_refused", "gRPC connections closed: too many.", &stats.refused),
            ("naming_grpc_setups", "Connections that clients have set up.", &stats.setups),
            ("naming_grpc_setups_refused", "Setups above the rate.", &stats.setups_refused),
            ("naming_grpc_detections", "Silent clients asked if alive.", &stats.detections),
            ("naming_grpc_silent", "Connections closed for silence.", &stats.silent),
            ("naming_grpc_lapses", "Instances that ended with connections.", &stats.lapses),
            ("naming_grpc_reasserted", "Lost instances registered anew.", &stats.reasserted),
            ("naming_grpc_resets", "Clients asked to go elsewhere.", &stats.resets),
            ("naming_grpc_moved", "Clients sent to members with fewer.", &stats.moved),
            ("naming_grpc_floods", "Connections closed for floods of frames.", &stats.floods),
            ("naming_grpc_received_bytes", "Bytes received over gRPC.", &stats.bytes_in),
            ("naming_grpc_sent_bytes", "Bytes sent over gRPC.", &stats.bytes_out),
        ];
        let counters =
            counters.map(|(name, help, count)| Metric::counter(name, help, count.load(Relaxed)));
        let open = stats.open.load(Relaxed) as f64;
        let buffered = self.budget.taken() as f64;
        let requests = stats.requests().map(|(kind, code, count)| {
            let code = if code == 0 { OTHER.into() } else { code.to_string().into() };
            (vec![("type", kind.name().into()), ("code", code)], count)
        });
        let clients = self.clients_by_version().into_iter();
        let clients =
            clients.map(|(version, count)| (vec![("version", version.into())], count as f64));
        let buffered_help = "Bytes of gRPC messages being received or sent.";
        let clients_help = "Connections of clients by version.";
        let mut metrics = vec![
            Metric::gauge("naming_grpc_connections", "gRPC connections open now.", open),
            Metric::gauge("naming_grpc_buffered_bytes", buffered_help, buffered),
            Metric::gauges("naming_grpc_clients", clients_help, clients),
            Metric::counters("naming_grpc_requests", "Requests by type and code.", requests),
        ];
        metrics.extend(counters);
        metrics
    }
}

impl Front {
    fn clients_by_version(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for connection in self.connections.all() {
            let version = connection.client().map_or("", |client| &client.version);
            *counts.entry(label(version).to_owned()).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let others = counts.split_off(counts.len().min(MOST_VERSIONS));
        let others: usize = others.iter().map(|(_, count)| count).sum();
        match counts.iter_mut().find(|(version, _)| version == OTHER) {
            Some((_, count)) => *count += others,
            None if others > 0 => counts.push((OTHER.to_owned(), others)),
            None => {}
        }
        counts
    }
}

/// A version as it may stand in a label: a client may call itself anything.
fn label(version: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_good = !version.is_empty() && version.len() <= 64 && version.bytes().all(is_plain);
    if is_good { version } else { OTHER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_call_itself_anything_and_is_another_then() {
        assert_eq!(label("Nacos-Java-Client:v2.5.1"), "Nacos-Java-Client:v2.5.1");
        for version in ["", "a b", "x\"y", "ü", &"x".repeat(65)] {
            assert_eq!(label(version), OTHER);
        }
    }
}
