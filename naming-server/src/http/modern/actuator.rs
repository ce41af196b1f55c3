//! `/actuator/prometheus`: what is counted, under the names that Nacos gives it, so that its boards
//! and alerts work here. Our own names are those of `/metrics`.
//!
//! Series that boards ask for and that have no meaning here are 0: those of the configuration, of
//! empty pushes and of the leader, since there is none.

use std::fmt::Write;

use crate::http::v1::{Api, Route};
use crate::http::{Answer, Call, Reply};
use crate::registry::CLASS_INSTANCE;

/// All series as Prometheus reads them.
pub(super) fn page(api: &Api, _: &Call<'_>) -> Result<Answer, super::Fault> {
    let mut text = Text::default();
    monitor(api, &mut text);
    clients(api, &mut text);
    tasks(&mut text);
    requests(api, &mut text);
    system(api, &mut text);
    Ok(Reply::text(text.0).into())
}

/// Series as text.
#[derive(Default)]
struct Text(String);

impl Text {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// The labels are written by this server, but for the uris, which are those of its rows: none
    /// needs an escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels = labels.iter().map(|(name, value)| format!("{name}=\"{value}\","));
            let _ = write!(self.0, "{{{}}}", labels.collect::<String>());
        }
        let _ = writeln!(self.0, " {value:?}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.begin(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

fn monitor(api: &Api, text: &mut Text) {
    const NAME: &str = "nacos_monitor";
    text.begin(NAME, "gauge", "What Nacos counts, by module.");
    let (stats, connections) = (api.push_stats(), api.connected().len() as f64);
    let delays = stats.delay.buckets();
    let pushes: u64 = delays.iter().sum();
    let sum_ms = stats.delay.sum().as_secs_f64() * 1_000.0;
    let bounds = crate::push::DELAY_BOUNDS_MS.iter().map(|bound| *bound as f64);
    let slowest = bounds.chain([f64::INFINITY]).zip(delays).filter(|(_, count)| *count > 0).last();
    let (average, most) = match slowest {
        None => (-1.0, -1.0),
        Some((bound, _)) => {
            (sum_ms / pushes as f64, if bound.is_finite() { bound } else { sum_ms })
        }
    };
    let pending = api.pusher.pending() as f64;
    let instances = api.registry.store.visible_count(CLASS_INSTANCE) as f64;
    let naming = [
        ("serviceCount", api.registry.service_count() as f64),
        ("ipCount", instances),
        ("subscriberCount", api.subscriber_count() as f64),
        ("totalPush", stats.sent.value() as f64),
        ("failedPush", stats.failed.value() as f64),
        ("emptyPush", 0.0),
        ("avgPushCost", average),
        ("maxPushCost", most),
        ("totalPushCountForAvg", pushes as f64),
        ("totalPushCostForAvg", sum_ms),
        ("leaderStatus", 0.0),
        ("pushPendingTaskCount", pending),
        ("serviceSubscribedEventQueueSize", 0.0),
        ("serviceChangedEventQueueSize", pending),
    ];
    for (name, value) in naming {
        text.sample(NAME, &[("module", "naming"), ("name", name)], value);
    }
    text.sample(NAME, &[("module", "core"), ("name", "longConnection")], connections);
    for name in ["configCount", "longPolling", "getConfig", "publish"] {
        text.sample(NAME, &[("module", "config"), ("name", name)], 0.0);
    }
}

fn clients(api: &Api, text: &mut Text) {
    let counts = api.client_counts();
    let connected = counts.connected;
    let on_connections = connected.subscriptions;
    let subscribers = [api.subscriber_count().saturating_sub(on_connections), on_connections];
    let publishers = [counts.ephemeral + counts.persistent, connected.publications];
    let both = [("nacos_naming_subscriber", subscribers), ("nacos_naming_publisher", publishers)];
    for (name, [v1, v2]) in both {
        text.begin(name, "gauge", "Clients without (v1) and with (v2) a connection.");
        text.sample(name, &[("version", "v1")], v1 as f64);
        text.sample(name, &[("version", "v2")], v2 as f64);
    }
}

/// Connections and requests share the threads of this process.
fn tasks(text: &mut Text) {
    const NAME: &str = "grpc_server_executor";
    text.begin(NAME, "gauge", "Threads that serve, tasks on them, and tasks that wait for one.");
    let metrics = tokio::runtime::Handle::try_current().map(|handle| handle.metrics());
    let (threads, tasks, waiting) = metrics.map_or((0, 0, 0), |metrics| {
        (metrics.num_workers(), metrics.num_alive_tasks(), metrics.global_queue_depth())
    });
    let rows = [
        ("activeCount", tasks),
        ("corePoolSize", threads),
        ("poolSize", threads),
        ("maximumPoolSize", threads),
        ("inQueueTaskCount", waiting),
    ];
    for (name, value) in rows {
        let labels = [("module", "core"), ("name", name), ("type", "grpcSdkServer")];
        text.sample(NAME, &labels, value as f64);
    }
}

/// Requests by method, path and status. Not every request is timed: the sum follows from the mean
/// of those that were.
fn requests(api: &Api, text: &mut Text) {
    const NAME: &str = "http_server_requests_seconds";
    text.begin(NAME, "summary", "Requests; the sum is estimated from those that were timed.");
    for (row, status, count) in api.request_counts() {
        let Some((method, uri)) = name_of(api, row) else { continue };
        let Some(mean) = api.mean_seconds(row) else { continue };
        let shown = if status == 0 { "other".to_owned() } else { status.to_string() };
        let outcome = match status {
            200..300 => "SUCCESS",
            400..500 => "CLIENT_ERROR",
            500.. => "SERVER_ERROR",
            _ => "UNKNOWN",
        };
        let labels = [
            ("error", "none"),
            ("exception", "none"),
            ("method", method),
            ("outcome", outcome),
            ("status", &*shown),
            ("uri", uri),
        ];
        text.sample(&format!("{NAME}_count"), &labels, count as f64);
        text.sample(&format!("{NAME}_sum"), &labels, mean * count as f64);
    }
}

/// The method and path of a row of the counts.
fn name_of(api: &Api, row: usize) -> Option<(&'static str, &'static str)> {
    match Route::ALL.get(row) {
        Some(route) => Some(route.method_and_path().unwrap_or_else(|| ("", route.label()))),
        None => api.other_row(row),
    }
}

fn system(api: &Api, text: &mut Text) {
    let usage = api.usage();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    text.gauge("system_cpu_usage", "Share of the processors that is busy.", usage.cpu);
    text.gauge("system_cpu_count", "Processors that this process may use.", processors as f64);
    text.gauge("system_load_average_1m", "Load average of the last minute.", usage.load);
    let (up, started) = api.up_and_started();
    text.gauge("process_uptime_seconds", "How long this process runs.", up);
    text.gauge("process_start_time_seconds", "Start, in seconds since the epoch.", started);
}
