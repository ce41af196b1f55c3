//! The results: a table for people, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::contender::Role;
use super::machine::Machine;

/// All that one run of the benchmark found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) figures: Vec<Figure>,
    pub(super) bars: Vec<Bar>,
}

/// What a comparison must not exceed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Limits {
    pub(super) over_static: Option<f64>,
    /// Over r-nacos, where it takes part.
    pub(super) over_peer: Option<f64>,
}

/// One scenario in which several servers took turns.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) scenario: String,
    /// Requests per second at which the latencies were taken; `None` if that was as fast as each
    /// server could.
    pub(super) latency_rate: Option<u64>,
    pub(super) sides: Vec<Side>,
}

/// One server in one scenario: medians over its windows, sums of what went wrong.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) requests_per_second: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) user_us_per_request: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) resident_mib: f64,
    pub(super) errors: u64,
    pub(super) unanswered: u64,
    /// Processor time per request over that of the static server: the median of the rounds, the
    /// lowest and the highest.
    pub(super) ratio: f64,
    pub(super) ratio_low: f64,
    pub(super) ratio_high: f64,
    pub(super) failure: Option<String>,
}

/// A number that stands by itself.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) scenario: &'static str,
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

/// A number that must not exceed a limit.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    scenario: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    limit: f64,
    holds: bool,
}

impl Report {
    pub(super) fn new(command: String) -> Self {
        let (comparisons, figures, bars) = Default::default();
        Self { machine: Machine::look(), command, comparisons, figures, bars }
    }

    pub(super) fn figure(
        &mut self,
        scenario: &'static str,
        name: impl Into<String>,
        (value, unit): (f64, &'static str),
    ) {
        let name = name.into();
        eprintln!("  {name}: {value:.2} {unit}");
        self.figures.push(Figure { scenario, name, value, unit });
    }

    /// A figure with the limit that it must keep.
    pub(super) fn judge(
        &mut self,
        scenario: &'static str,
        what: impl Into<String>,
        (value, unit): (f64, &'static str),
        limit: f64,
    ) {
        // Whatever could not be measured does not hold.
        let holds = value <= limit;
        let what = what.into();
        let verdict = if holds { "pass" } else { "MISS" };
        eprintln!("  {verdict}: {what}: {value:.2} {unit}, bar {limit}");
        self.bars.push(Bar { scenario, what, value, unit, limit, holds });
    }

    fn write_comparisons(&self, table: &mut String) -> std::fmt::Result {
        if self.comparisons.is_empty() {
            return Ok(());
        }
        writeln!(
            table,
            "{:<13} {:<9} {:>8} {:>8} {:>7} {:>7} {:>14} {:>8} {:>8} {:>8} {:>8} {:>6}",
            "scenario",
            "server",
            "req/s",
            "cpu us",
            "in user",
            "ratio",
            "[low..high]",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "rss MiB",
            "errors"
        )?;
        for found in &self.comparisons {
            for (index, side) in found.sides.iter().enumerate() {
                write_side(table, if index == 0 { &found.scenario } else { "" }, side)?;
            }
        }
        let mut rates: Vec<u64> = self.comparisons.iter().filter_map(|c| c.latency_rate).collect();
        rates.dedup();
        writeln!(table, "latencies at a fixed rate of {rates:?} requests/s, else in closed loop\n")
    }

    fn write_figures(&self, table: &mut String) -> std::fmt::Result {
        for Figure { scenario, name, value, unit } in &self.figures {
            writeln!(table, "{scenario:<13} {name:<52} {value:>12.2} {unit}")?;
        }
        if self.figures.is_empty() { Ok(()) } else { writeln!(table) }
    }

    fn write_bars(&self, table: &mut String) -> std::fmt::Result {
        for Bar { scenario, what, value, unit, limit, holds } in &self.bars {
            let verdict = if *holds { "pass" } else { "MISS" };
            writeln!(
                table,
                "{verdict}  {scenario:<13} {what:<58} {value:>10.2} {unit:<5} bar {limit}"
            )?;
        }
        let held = self.bars.iter().filter(|bar| bar.holds).count();
        writeln!(table, "{held} of {} bars hold", self.bars.len())
    }
}

fn write_side(table: &mut String, scenario: &str, side: &Side) -> std::fmt::Result {
    if let Some(failure) = &side.failure {
        return writeln!(table, "{scenario:<13} {:<9} failed: {failure}", side.name);
    }
    let spread = format!("[{:.2}..{:.2}]", side.ratio_low, side.ratio_high);
    let errors = side.errors + side.unanswered;
    writeln!(
        table,
        "{scenario:<13} {:<9} {:>8.0} {:>8.2} {:>7.2} {:>7.2} {spread:>14} {:>8.0} {:>8.0} {:>8.0} \
         {:>8.1} {errors:>6}",
        side.name,
        side.requests_per_second,
        side.cpu_us_per_request,
        side.user_us_per_request,
        side.ratio,
        side.p50_us,
        side.p99_us,
        side.p999_us,
        side.resident_mib,
    )
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = String::new();
        self.write_comparisons(&mut table)?;
        self.write_figures(&mut table)?;
        self.write_bars(&mut table)?;
        write!(formatter, "{}\n{}\n\n{table}", self.machine, self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let mut report = Report::new("test".to_owned());
        report.judge("some", "low enough", (1.0, "x"), 1.0);
        report.judge("some", "too high", (1.1, "x"), 1.0);
        report.judge("some", "unknown", (f64::NAN, "x"), 1.0);
        let holds: Vec<bool> = report.bars.iter().map(|bar| bar.holds).collect();
        assert_eq!(holds, [true, false, false]);
        assert!(report.to_string().contains("1 of 3 bars hold"));
    }
}
