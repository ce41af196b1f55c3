//! Counts of requests, and metrics as OpenMetrics text.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// Something else that has metrics.
pub(crate) trait MetricSource: Send + Sync {
    /// As they are now.
    fn metrics(&self) -> Vec<Metric>;
}

/// Statuses with a column of their own; others count together.
const STATUSES: [u16; 11] = [200, 400, 403, 404, 408, 409, 413, 415, 500, 501, 503];
const COLUMNS: usize = STATUSES.len() + 1;

/// Copies of each counter: more threads than this share them.
const COPIES: usize = 8;
/// Counters on one line of memory. Processors fetch lines in pairs, hence two of 64 bytes.
const LINE: usize = 16;

/// Counters that all threads add to at each request. Memory that two processors write to in turns
/// travels between them every time, so threads add to copies of their own.
#[derive(Debug)]
pub(crate) struct Counters {
    lines: Box<[Line]>,
    lines_per_copy: usize,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

thread_local! {
    static COPY: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % COPIES
    };
}

impl Counters {
    /// This many counters, all 0.
    pub(crate) fn new(count: usize) -> Self {
        let lines_per_copy = count.div_ceil(LINE);
        let lines = (0..lines_per_copy * COPIES).map(|_| Line::default()).collect();
        Self { lines, lines_per_copy }
    }

    /// Adds 1 to a counter. One that does not exist counts nowhere.
    pub(crate) fn add(&self, index: usize) {
        if let Some(cell) = COPY.with(|copy| self.cell(*copy, index)) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// The value of a counter; 0 if it does not exist.
    pub(crate) fn value(&self, index: usize) -> u64 {
        let cells = (0..COPIES).filter_map(|copy| self.cell(copy, index));
        cells.map(|cell| cell.load(Relaxed)).sum()
    }

    fn cell(&self, copy: usize, index: usize) -> Option<&AtomicU64> {
        let line = index / LINE;
        let lines = self.lines.get(copy * self.lines_per_copy..)?.get(..self.lines_per_copy)?;
        lines.get(line)?.0.get(index % LINE)
    }
}

/// Requests since the start, by row (a route) and status. Counting one is a single addition.
#[derive(Debug)]
pub(crate) struct RequestCounts {
    rows: usize,
    counters: Counters,
}

impl RequestCounts {
    /// Counts for this many rows.
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, counters: Counters::new(rows * COLUMNS) }
    }

    /// Counts a request. A row that does not exist counts nowhere.
    pub(crate) fn count(&self, row: usize, status: u16) {
        if row < self.rows {
            let column = STATUSES.iter().position(|known| *known == status);
            self.counters.add(row * COLUMNS + column.unwrap_or(STATUSES.len()));
        }
    }

    /// All counts above 0 with their row and status; 0 is any other status.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, u16, u64)> {
        (0..self.rows * COLUMNS).filter_map(|index| {
            let count = self.counters.value(index);
            let status = STATUSES.get(index % COLUMNS).copied().unwrap_or(0);
            (count > 0).then_some((index / COLUMNS, status, count))
        })
    }
}

/// How long requests take, by row. Only some of them are timed: reading the clock twice for each
/// would cost more than counting it.
#[derive(Debug)]
pub(crate) struct RequestTimes(Box<[Timed]>);

#[derive(Debug, Default)]
struct Timed {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// Of so many requests on a thread one is timed.
const SAMPLE: u32 = 16;

thread_local! {
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

impl RequestTimes {
    /// Times for this many rows.
    pub(crate) fn new(rows: usize) -> Self {
        Self((0..rows).map(|_| Timed::default()).collect())
    }

    /// When a request began, if it is to be timed.
    pub(crate) fn sample() -> Option<Instant> {
        let seen = SEEN.get();
        SEEN.set(seen.wrapping_add(1));
        seen.is_multiple_of(SAMPLE).then(Instant::now)
    }

    /// A request that began then is done. A row that does not exist is timed nowhere.
    pub(crate) fn note(&self, row: usize, started: Instant) {
        let Some(timed) = self.0.get(row) else { return };
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        timed.count.fetch_add(1, Relaxed);
        timed.nanos.fetch_add(nanos, Relaxed);
    }

    /// The mean of those that were timed, in seconds, if any was.
    pub(crate) fn mean(&self, row: usize) -> Option<f64> {
        let timed = self.0.get(row)?;
        let count = timed.count.load(Relaxed);
        (count > 0).then(|| timed.nanos.load(Relaxed) as f64 / 1e9 / count as f64)
    }
}

/// One metric with all its samples, to be written down.
#[derive(Debug)]
pub(crate) struct Metric {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

#[derive(Debug)]
enum Samples {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histogram(Histogram),
}

/// What a histogram has counted.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Sum of everything observed.
    pub(crate) sum: f64,
    /// Upper bound and count (not cumulative) of each bucket; the last bound is infinite.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Metric {
    /// A counter without labels. `name` is without the `_total` at its end.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, samples: Samples::Counters(vec![(Labels::new(), value)]) }
    }

    /// A counter for each value of labels.
    pub(crate) fn counters(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Self {
        Self { name, help, samples: Samples::Counters(samples.into_iter().collect()) }
    }

    /// A gauge.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::labelled_gauge(name, help, Labels::new(), value)
    }

    /// A gauge with labels.
    pub(crate) fn labelled_gauge(
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: f64,
    ) -> Self {
        Self { name, help, samples: Samples::Gauges(vec![(labels, value)]) }
    }

    /// A gauge for each value of labels.
    pub(crate) fn gauges(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> Self {
        Self { name, help, samples: Samples::Gauges(samples.into_iter().collect()) }
    }

    /// A histogram without labels.
    pub(crate) fn histogram(name: &'static str, help: &'static str, histogram: Histogram) -> Self {
        Self { name, help, samples: Samples::Histogram(histogram) }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.samples {
            Samples::Counters(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Histogram(_) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match &self.samples {
            Samples::Counters(samples) => samples.iter().try_for_each(|(labels, value)| {
                with_labels(&mut metric, labels, |metric| {
                    metric.encode_counter::<NoLabelSet, _, u64>(value, None)
                })
            }),
            Samples::Gauges(samples) => samples.iter().try_for_each(|(labels, value)| {
                with_labels(&mut metric, labels, |metric| metric.encode_gauge(value))
            }),
            Samples::Histogram(Histogram { sum, buckets }) => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
            }
        }
    }
}

fn with_labels(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

/// Metrics on their way into a page.
#[derive(Debug)]
struct Page(Vec<Metric>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

/// The OpenMetrics text of these metrics.
///
/// # Errors
/// None that is known: writing to a string does not fail.
pub(crate) fn render(metrics: Vec<Metric>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(metrics)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_by_row_and_status() {
        let counts = RequestCounts::new(2);
        for (row, status) in [(0, 200), (1, 503), (1, 503), (1, 418), (2, 200), (99, 200)] {
            counts.count(row, status);
        }
        let all: Vec<_> = counts.all().collect();
        assert_eq!(all, [(0, 200, 1), (1, 503, 2), (1, 0, 1)]);
    }

    #[test]
    fn what_many_threads_count_adds_up() {
        let counters = Counters::new(LINE + 1);
        std::thread::scope(|scope| {
            for _ in 0..2 * COPIES {
                scope.spawn(|| (0..100).for_each(|n| counters.add(n % 2 * LINE)));
            }
        });
        let values: Vec<u64> = (0..LINE + 2).map(|index| counters.value(index)).collect();
        assert_eq!((values[0], values[LINE]), (800, 800));
        assert_eq!(values.iter().sum::<u64>(), 1_600);
        counters.add(1_000);
        assert_eq!(counters.value(1_000), 0);
    }

    #[test]
    fn metrics_are_written_as_text() {
        let text = render(vec![
            Metric::counters("beats", "Beats.", [(vec![("result", "known".into())], 3)]),
            Metric::counter("pushes", "Pushes.", 0),
            Metric::gauge("instances", "Instances.", 2.0),
            Metric::histogram(
                "delay",
                "Delay.",
                Histogram { sum: 2.5, buckets: vec![(1.0, 1), (f64::INFINITY, 2)] },
            ),
        ]);
        let lines = "# HELP beats Beats.\n# TYPE beats counter\nbeats_total{result=\"known\"} 3\n\
                     # HELP pushes Pushes.\n# TYPE pushes counter\npushes_total 0\n\
                     # HELP instances Instances.\n# TYPE instances gauge\ninstances 2.0\n\
                     # HELP delay Delay.\n# TYPE delay histogram\ndelay_sum 2.5\ndelay_count 3\n\
                     delay_bucket{le=\"1.0\"} 1\ndelay_bucket{le=\"+Inf\"} 3\n# EOF\n";
        assert_eq!(text.unwrap(), lines);
    }
}
