//! `/metrics`: what is counted, by name.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use super::{Api, Route};
use crate::checks::Barrier;
use crate::http::{ApiError, Reply};
use crate::metrics::{Histogram, Metric, render};
use crate::push::{DELAY_BOUNDS_MS, DelayHistogram, StreamStats};
use crate::registry::{CLASS_INSTANCE, EventKind};

impl Api {
    pub(super) fn metrics_page(&self) -> Result<Reply, ApiError> {
        let mut metrics = self.process_metrics();
        metrics.extend(self.registry_metrics());
        metrics.extend(self.check_metrics());
        metrics.extend(self.push_metrics());
        metrics.extend(self.http_metrics());
        let refused = self.naming.refused_calls();
        let refused = refused.map(|(kind, count)| (vec![("kind", kind.into())], count));
        let refused_help = "Calls refused since their address called too often.";
        metrics.push(Metric::counters("naming_calls_over_rate", refused_help, refused));
        metrics.extend(self.durable_metrics());
        metrics.extend(self.cache_metrics());
        metrics.extend(self.audit_metrics());
        metrics.extend(self.cluster_metrics());
        metrics.extend(self.other_front.metrics());
        metrics.extend(self.tls.metrics());
        metrics.extend(self.more_metrics.get().iter().flat_map(|more| more.metrics()));
        let text = render(metrics);
        text.map(Reply::metrics).map_err(|_| ApiError::internal("metrics cannot be written"))
    }

    fn process_metrics(&self) -> Vec<Metric> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").into())];
        let started = self.started.wall_ms as f64 / 1_000.0;
        let help = "Start of the process, in seconds since the epoch.";
        vec![
            Metric::labelled_gauge("naming_build", "Always 1; tells the version.", version, 1.0),
            Metric::gauge("naming_start_time_seconds", help, started),
        ]
    }

    fn registry_metrics(&self) -> Vec<Metric> {
        let registry = &self.registry;
        let (store, events) = (&registry.store, &registry.events);
        let beats = registry.beats.all();
        let beats = beats.map(|(result, count)| (vec![("result", result.into())], count));
        let labelled = |label: &'static str| {
            move |kind: EventKind| (vec![(label, kind.name().into())], events.count(kind))
        };
        let removals = EventKind::ALL.into_iter().filter(|kind| kind.is_removal());
        let instances = store.visible_count(CLASS_INSTANCE) as f64;
        let carried_help = "Bytes that instances, services and other records carry.";
        let tombstones = store.tombstone_count() as f64;
        let tombstone_bytes = store.tombstone_bytes() as f64;
        let rendered = registry.views.bytes() as f64;
        let rendered_help = "Lists rendered; other reads shared one.";
        vec![
            Metric::gauge("naming_services", "Services now.", self.registry.service_count() as f64),
            Metric::gauge("naming_instances", "Instances now.", instances),
            Metric::gauge("naming_carried_bytes", carried_help, store.carried_bytes() as f64),
            Metric::gauge("naming_tombstones", "Removed instances remembered.", tombstones),
            Metric::gauge("naming_tombstone_bytes", "Bytes that takes, about.", tombstone_bytes),
            Metric::gauge("naming_rendered_bytes", "Bytes of rendered lists kept.", rendered),
            Metric::counter(
                "naming_lists_rendered",
                rendered_help,
                registry.views.rendered_count(),
            ),
            Metric::counters("naming_beats", "Beats by what became of them.", beats),
            Metric::counters(
                "naming_events",
                "What happened to instances.",
                EventKind::ALL.map(labelled("event")),
            ),
            Metric::counters(
                "naming_removals",
                "Instances removed, by reason.",
                removals.map(labelled("reason")),
            ),
        ]
    }

    fn check_metrics(&self) -> [Metric; 4] {
        let checks = &self.checks;
        let found = checks.counts().map(|(result, count)| (vec![("result", result.into())], count));
        let (scheduled, running) = (checks.scheduled() as f64, checks.running() as f64);
        let scheduled_help = "Persistent instances that this member has to check.";
        let barred = Barrier::KINDS.into_iter().zip(checks.barred());
        let barred = barred.map(|(reason, count)| (vec![("reason", reason.into())], count as f64));
        let barred_help = "Of these, those it cannot or may not check, by reason.";
        [
            Metric::counters("naming_checks", "Health checks by what they found.", found),
            Metric::gauge("naming_checks_scheduled", scheduled_help, scheduled),
            Metric::gauge("naming_checks_running", "Health checks under way.", running),
            Metric::gauges("naming_checks_barred", barred_help, barred),
        ]
    }

    fn push_metrics(&self) -> Vec<Metric> {
        let stats = &*self.push_stats;
        let counters = [
            ("naming_pushes_sent", "Push packets sent for the first time.", &stats.sent),
            ("naming_pushes_acked", "Push packets whose ack arrived.", &stats.acked),
            ("naming_pushes_resent", "Push packets sent a second time.", &stats.resent),
            ("naming_pushes_failed", "Push packets given up without ack.", &stats.failed),
            ("naming_push_probes", "Packets to learn whether anybody acks.", &stats.probes),
            ("naming_push_over_budget", "Packets an address got later.", &stats.over_budget),
            ("naming_pushes_too_large", "Lists not pushed, too long to read.", &stats.too_large),
            ("naming_push_send_errors", "Sends that the system refused.", &stats.send_errors),
            ("naming_push_blocked", "Sends put off by a full buffer.", &stats.blocked),
            ("naming_push_refused", "Subscriptions refused.", &stats.refused),
            ("naming_push_garbage", "Datagrams that are no ack.", &stats.garbage),
            ("naming_push_unknown_acks", "Acks nobody waited for.", &stats.unknown_acks),
        ];
        let mut metrics: Vec<_> = counters
            .into_iter()
            .map(|(name, help, counter)| Metric::counter(name, help, counter.value()))
            .collect();
        let (known, parked) = (stats.subscribers.value(), stats.parked.value());
        let parked_help = "Subscribers without push since they never ack.";
        metrics.push(Metric::gauge("naming_subscribers", "Subscribers now.", known as f64));
        let (bytes_help, bytes) = ("Bytes of their texts.", stats.subscriber_bytes.value());
        metrics.push(Metric::gauge("naming_subscriber_bytes", bytes_help, bytes as f64));
        metrics.push(Metric::gauge("naming_subscribers_parked", parked_help, parked as f64));
        let help = "Seconds from a change to its first push packet.";
        metrics.push(Metric::histogram("naming_push_delay_seconds", help, delays(&stats.delay)));
        metrics.extend(stream_metrics(&stats.streams));
        metrics
    }

    fn audit_metrics(&self) -> [Metric; 3] {
        let counts = self.audit.counts();
        let lost_help = "Administrative writes that are not in the audit file.";
        let left_out_help = "Refused administrative writes that have no line.";
        let (recorded, left_out) = (counts.recorded.load(Relaxed), counts.left_out.load(Relaxed));
        [
            Metric::counter("naming_audit_lines", "Administrative writes.", recorded),
            Metric::counter("naming_audit_lines_lost", lost_help, counts.lost.load(Relaxed)),
            Metric::counter("naming_audit_refusals_left_out", left_out_help, left_out),
        ]
    }

    /// The name of a row of the counts.
    fn label(&self, row: usize) -> Cow<'static, str> {
        match (Route::ALL.get(row), self.other_row(row)) {
            (Some(route), _) => route.label().into(),
            (None, Some((method, path))) => format!("{method} {path}").into(),
            (None, None) => "none".into(),
        }
    }

    fn http_metrics(&self) -> Vec<Metric> {
        let requests = self.requests.all().map(|(row, status, count)| {
            let route = self.label(row);
            let status = if status == 0 { "other".into() } else { status.to_string().into() };
            (vec![("route", route), ("status", status)], count)
        });
        let connections = &self.connections;
        let open = connections.open.load(Relaxed) as f64;
        let accepted = connections.accepted_total.load(Relaxed);
        let refused = connections.refused_total.load(Relaxed);
        let members = connections.members.load(Relaxed) as f64;
        let member_help = "Connections of members open now, which are not among the others.";
        let refused_help = "Connections closed at once since there were too many.";
        vec![
            Metric::counters("naming_requests", "Requests by route and status.", requests),
            Metric::gauge("naming_connections", "Connections open now.", open),
            Metric::gauge("naming_member_connections", member_help, members),
            Metric::counter("naming_connections_accepted", "Connections served.", accepted),
            Metric::counter("naming_connections_refused", refused_help, refused),
        ]
    }
}

fn stream_metrics(stats: &StreamStats) -> Vec<Metric> {
    let counters = [
        ("naming_stream_pushes_sent", "Lists sent on streams for the first time.", &stats.sent),
        ("naming_stream_pushes_acked", "Lists on streams whose ack arrived.", &stats.acked),
        ("naming_stream_pushes_resent", "Lists sent on streams once more.", &stats.resent),
        ("naming_stream_pushes_failed", "Lists that a client could not take.", &stats.failed),
        ("naming_streams_closed_unacked", "Streams closed for want of acks.", &stats.closed),
    ];
    let counters = counters.map(|(name, help, count)| Metric::counter(name, help, count.value()));
    let delay_help = "Seconds from a change to the list about it, on each stream.";
    let ack_help = "Seconds from a list on a stream to its ack.";
    let histograms = [
        ("naming_stream_push_delay_seconds", delay_help, &stats.delay),
        ("naming_stream_ack_seconds", ack_help, &stats.ack_delay),
    ];
    let histograms =
        histograms.map(|(name, help, found)| Metric::histogram(name, help, delays(found)));
    counters.into_iter().chain(histograms).collect()
}

fn delays(found: &DelayHistogram) -> Histogram {
    let bounds = DELAY_BOUNDS_MS.iter().map(|bound_ms| *bound_ms as f64 / 1_000.0);
    Histogram {
        sum: found.sum().as_secs_f64(),
        buckets: bounds.chain([f64::INFINITY]).zip(found.buckets()).collect(),
    }
}
