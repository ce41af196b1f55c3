//! `/metrics`: what is counted, by name.

use std::sync::atomic::Ordering::Relaxed;

use super::{Api, Route};
use crate::http::{ApiError, Reply};
use crate::metrics::{Histogram, Metric, render};
use crate::push::DELAY_BOUNDS_MS;
use crate::registry::{CLASS_INSTANCE, EventKind};

impl Api {
    pub(super) fn metrics_page(&self) -> Result<Reply, ApiError> {
        let mut metrics = self.process_metrics();
        metrics.extend(self.registry_metrics());
        metrics.extend(self.push_metrics());
        metrics.extend(self.http_metrics());
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
        let tombstones = store.tombstone_count() as f64;
        let rendered = registry.views.bytes() as f64;
        vec![
            Metric::gauge("naming_services", "Services now.", self.registry.index.len() as f64),
            Metric::gauge("naming_instances", "Instances now.", instances),
            Metric::gauge("naming_tombstones", "Removed instances remembered.", tombstones),
            Metric::gauge("naming_rendered_bytes", "Bytes of rendered lists kept.", rendered),
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

    fn push_metrics(&self) -> Vec<Metric> {
        let stats = &*self.push_stats;
        let packets = [
            ("sent", &stats.sent),
            ("resent", &stats.resent),
            ("acked", &stats.acked),
            ("failed", &stats.failed),
            ("send_error", &stats.send_errors),
            ("blocked", &stats.blocked),
            ("too_large", &stats.too_large),
            ("garbage", &stats.garbage),
            ("unknown_ack", &stats.unknown_acks),
        ];
        let packets =
            packets.map(|(name, counter)| (vec![("event", name.into())], counter.value()));
        let seconds = DELAY_BOUNDS_MS.iter().map(|ms| *ms as f64 / 1_000.0);
        let bounds = seconds.chain([f64::INFINITY]);
        let delay = Histogram {
            sum: stats.delay.sum().as_secs_f64(),
            buckets: bounds.zip(stats.delay.buckets()).collect(),
        };
        let subscribers = stats.subscribers.value() as f64;
        let parked = stats.parked.value() as f64;
        let refused = stats.refused.value();
        let refused_help = "Subscriptions refused, whose callers poll.";
        let parked_help = "Subscribers now that get no packets since they never acked.";
        let delay_help = "From a change to the first packet about it.";
        vec![
            Metric::gauge("naming_push_subscribers", "Subscribers now.", subscribers),
            Metric::gauge("naming_push_parked", parked_help, parked),
            Metric::counter("naming_push_refused", refused_help, refused),
            Metric::counters("naming_push_packets", "Packets by what became of them.", packets),
            Metric::histogram("naming_push_delay_seconds", delay_help, delay),
        ]
    }

    fn http_metrics(&self) -> Vec<Metric> {
        let requests = self.requests.all().map(|(row, status, count)| {
            let route = Route::ALL.get(row).map_or("none", |route| route.label());
            let status = if status == 0 { "other".into() } else { status.to_string().into() };
            (vec![("route", route.into()), ("status", status)], count)
        });
        let connections = &self.connections;
        let open = connections.open.load(Relaxed) as f64;
        let accepted = connections.accepted_total.load(Relaxed);
        let refused = connections.refused_total.load(Relaxed);
        let refused_help = "Connections closed at once since there were too many.";
        vec![
            Metric::counters("naming_requests", "Requests by route and status.", requests),
            Metric::gauge("naming_connections", "Connections open now.", open),
            Metric::counter("naming_connections_accepted", "Connections served.", accepted),
            Metric::counter("naming_connections_refused", refused_help, refused),
        ]
    }
}
