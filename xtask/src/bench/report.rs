//! The results: a table for people, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::machine::Machine;
use super::sample::Sample;

/// All that one run of the benchmark found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) figures: Vec<Figure>,
}

/// A scenario measured against the static server.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) scenario: &'static str,
    pub(super) server: Side,
    pub(super) fixed: Side,
    /// Processor time per request, server over static server: the median of the pairs of windows,
    /// the lowest and the highest.
    pub(super) ratio: f64,
    pub(super) ratio_low: f64,
    pub(super) ratio_high: f64,
    pub(super) bar: Option<f64>,
    pub(super) verdict: &'static str,
}

/// One server in one scenario: medians over its windows, the worst for what is unanswered.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) user_us_per_request: f64,
    pub(super) resident_mib: f64,
    pub(super) unanswered: u64,
}

/// A number that stands by itself.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) scenario: &'static str,
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) bar: Option<f64>,
    pub(super) verdict: &'static str,
}

impl Figure {
    pub(super) fn new(
        scenario: &'static str,
        name: &'static str,
        (value, unit): (f64, &'static str),
        bar: Option<f64>,
    ) -> Self {
        Self { scenario, name, value, unit, bar, verdict: verdict(value, bar) }
    }
}

/// Server and static server in alternating windows, one pair after the other.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) server: Vec<Sample>,
    pub(super) fixed: Vec<Sample>,
}

impl Pairs {
    pub(super) fn compare(&self, scenario: &'static str, bar: Option<f64>) -> Comparison {
        let pairs = self.server.iter().zip(&self.fixed);
        let mut ratios: Vec<f64> = pairs
            .map(|(server, fixed)| server.cpu_per_request_us() / fixed.cpu_per_request_us())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = median(ratios.clone());
        Comparison {
            scenario,
            server: side(&self.server),
            fixed: side(&self.fixed),
            ratio,
            ratio_low: ratios.first().copied().unwrap_or(f64::NAN),
            ratio_high: ratios.last().copied().unwrap_or(f64::NAN),
            bar,
            verdict: verdict(ratio, bar),
        }
    }
}

fn side(samples: &[Sample]) -> Side {
    let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
    Side {
        requests_per_second: of(Sample::requests_per_second),
        p50_us: of(|sample| sample.latencies.value_at_quantile(0.5) as f64 / 1e3),
        p99_us: of(|sample| sample.latencies.value_at_quantile(0.99) as f64 / 1e3),
        cpu_us_per_request: of(Sample::cpu_per_request_us),
        user_us_per_request: of(Sample::user_per_request_us),
        resident_mib: of(|sample| sample.resident_bytes as f64 / f64::from(1 << 20)),
        unanswered: samples.iter().map(|sample| sample.unanswered).max().unwrap_or(0),
    }
}

/// The middle one; the mean of the middle two of an even number.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn verdict(value: f64, bar: Option<f64>) -> &'static str {
    match bar {
        None => "",
        Some(bar) if value <= bar => "ok",
        Some(_) => "over",
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = String::new();
        self.write_comparisons(&mut table)?;
        self.write_figures(&mut table)?;
        write!(formatter, "{}\n{}\n\n{table}", self.machine, self.command)
    }
}

impl Report {
    fn write_comparisons(&self, table: &mut String) -> std::fmt::Result {
        if self.comparisons.is_empty() {
            return Ok(());
        }
        writeln!(
            table,
            "{:<13} {:<7} {:>9} {:>9} {:>9} {:>10} {:>7} {:>8} {:>6} {:>13} {:>5}",
            "scenario",
            "side",
            "req/s",
            "p50 us",
            "p99 us",
            "cpu us/req",
            "in user",
            "rss MiB",
            "ratio",
            "[low..high]",
            "bar"
        )?;
        for found in &self.comparisons {
            let bar = found.bar.map(|bar| format!("{bar}")).unwrap_or_default();
            let spread = format!("[{:.2}..{:.2}]", found.ratio_low, found.ratio_high);
            write_side(table, found.scenario, "server", &found.server)?;
            writeln!(table, " {:>6.2} {spread:>13} {bar:>5} {}", found.ratio, found.verdict)?;
            write_side(table, "", "static", &found.fixed)?;
            writeln!(table)?;
        }
        writeln!(table)
    }

    fn write_figures(&self, table: &mut String) -> std::fmt::Result {
        for figure in &self.figures {
            let bar = figure.bar.map(|bar| format!("bar {bar}")).unwrap_or_default();
            let Figure { scenario, name, value, unit, verdict, .. } = figure;
            writeln!(table, "{scenario:<13} {name:<34} {value:>12.2} {unit:<6} {bar} {verdict}")?;
        }
        Ok(())
    }
}

fn write_side(table: &mut String, scenario: &str, name: &str, side: &Side) -> std::fmt::Result {
    write!(
        table,
        "{scenario:<13} {name:<7} {:>9.0} {:>9.0} {:>9.0} {:>10.2} {:>7.2} {:>8.1}",
        side.requests_per_second,
        side.p50_us,
        side.p99_us,
        side.cpu_us_per_request,
        side.user_us_per_request,
        side.resident_mib
    )?;
    if side.unanswered > 0 {
        write!(table, " ({} unanswered)", side.unanswered)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sample::latencies;
    use super::*;

    fn sample(cpu_us: u64) -> Sample {
        Sample {
            requests: 1,
            elapsed: Duration::from_secs(1),
            cpu: Duration::from_micros(cpu_us),
            cpu_in_user: Duration::ZERO,
            latencies: latencies(),
            resident_bytes: 1 << 20,
            unanswered: 0,
        }
    }

    #[test]
    fn the_ratio_is_the_median_over_the_pairs() {
        let pairs = Pairs {
            server: [15, 90, 20].map(sample).to_vec(),
            fixed: [10, 10, 10].map(sample).to_vec(),
        };
        let found = pairs.compare("some", Some(1.9));
        assert_eq!((found.ratio, found.ratio_low, found.ratio_high), (2.0, 1.5, 9.0));
        assert_eq!(found.verdict, "over");
        assert_eq!(pairs.compare("some", Some(2.0)).verdict, "ok");
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
