//! What the contenders did, round after round, and the ratios of it.

use super::contender::{Contender, Role};
use super::report::{Comparison, Limits, Report, Side};
use super::sample::Sample;

/// Windows of all contenders in one scenario.
pub(super) struct Rounds {
    scenario: &'static str,
    samples: Vec<Vec<Option<Sample>>>,
    paced: Vec<Option<Sample>>,
    names: Vec<String>,
}

impl Rounds {
    pub(super) fn new<'a>(
        scenario: &'static str,
        contenders: impl IntoIterator<Item = &'a Contender>,
    ) -> Self {
        let names: Vec<_> =
            contenders.into_iter().map(|contender| contender.name.clone()).collect();
        let count = names.len();
        Self { scenario, samples: vec![Vec::new(); count], paced: vec![None; count], names }
    }

    /// Notes the window of one contender; `None` if it failed.
    pub(super) fn keep(&mut self, contender: usize, sample: Option<Sample>) {
        if let Some(sample) = &sample {
            eprintln!(
                "  {} {}: {:.0} requests/s, {:.2} us of processor each",
                self.scenario,
                self.names[contender],
                sample.requests_per_second(),
                sample.cpu_per_request_us()
            );
        }
        self.samples[contender].push(sample);
    }

    /// Notes the window at a fixed rate.
    pub(super) fn keep_paced(&mut self, contender: usize, sample: Option<Sample>) {
        self.paced[contender] = sample;
    }

    /// Writes rows and verdicts into the report. Without a window at a fixed rate the latencies
    /// are those of the closed loop.
    pub(super) fn finish(
        &self,
        contenders: &[Contender],
        limits: &Limits,
        latency_rate: Option<u64>,
        report: &mut Report,
    ) {
        let is_static = |contender: &Contender| contender.role == Role::Static;
        let fixed = contenders.iter().position(is_static);
        let sides: Vec<Side> = contenders
            .iter()
            .enumerate()
            .map(|(index, contender)| {
                let ratios = fixed.map(|fixed| self.ratios(index, fixed)).unwrap_or_default();
                self.side(index, contender, ratios)
            })
            .collect();
        self.judge(contenders, limits, &sides, report);
        let scenario = self.scenario.to_owned();
        report.comparisons.push(Comparison { scenario, latency_rate, sides });
    }

    fn judge(
        &self,
        contenders: &[Contender],
        limits: &Limits,
        sides: &[Side],
        report: &mut Report,
    ) {
        let Some(own) = contenders.iter().position(|contender| contender.role == Role::Own) else {
            return;
        };
        if let Some(limit) = limits.over_static {
            let what = "processor time per request, times the static server";
            report.judge(self.scenario, what, (sides[own].ratio, "x"), limit);
        }
        let peer = contenders.iter().position(|contender| contender.name == "r-nacos");
        if let (Some(limit), Some(peer)) = (limits.over_peer, peer) {
            let ratio = median(self.ratios(own, peer));
            let what = "processor time per request, times r-nacos";
            report.judge(self.scenario, what, (ratio, "x"), limit);
        }
    }

    /// Of one contender over another, for each round in which both took part.
    fn ratios(&self, one: usize, other: usize) -> Vec<f64> {
        let pairs = self.samples[one].iter().zip(&self.samples[other]);
        let mut ratios: Vec<f64> = pairs
            .filter_map(|(one, other)| Some((one.as_ref()?, other.as_ref()?)))
            .map(|(one, other)| one.cpu_per_request_us() / other.cpu_per_request_us())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn side(&self, index: usize, contender: &Contender, ratios: Vec<f64>) -> Side {
        let samples: Vec<&Sample> = self.samples[index].iter().flatten().collect();
        let paced: Vec<&Sample> = self.paced[index].iter().collect();
        let timed = if paced.is_empty() { &samples } else { &paced };
        let of = |value: fn(&Sample) -> f64| median(samples.iter().map(|s| value(s)).collect());
        let quantile = |quantile: f64| {
            let value = |sample: &&Sample| sample.latencies.value_at_quantile(quantile) as f64;
            median(timed.iter().map(value).collect()) / 1e3
        };
        let all = || samples.iter().chain(&paced);
        Side {
            name: contender.name.clone(),
            role: contender.role,
            requests_per_second: of(Sample::requests_per_second),
            cpu_us_per_request: of(Sample::cpu_per_request_us),
            user_us_per_request: of(Sample::user_per_request_us),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            resident_mib: of(|sample| sample.resident_bytes as f64 / f64::from(1 << 20)),
            errors: all().map(|sample| sample.errors).sum(),
            unanswered: all().map(|sample| sample.unanswered).sum(),
            ratio_low: ratios.first().copied().unwrap_or(f64::NAN),
            ratio_high: ratios.last().copied().unwrap_or(f64::NAN),
            ratio: median(ratios),
            failure: contender.failure.clone(),
        }
    }
}

/// The middle one; the mean of the middle two of an even number.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::latencies;

    fn sample(cpu_us: u64) -> Option<Sample> {
        Some(Sample {
            requests: 1,
            elapsed: Duration::from_secs(1),
            cpu: Duration::from_micros(cpu_us),
            cpu_in_user: Duration::ZERO,
            latencies: latencies(),
            resident_bytes: 1 << 20,
            unanswered: 0,
            errors: 0,
        })
    }

    #[test]
    fn ratios_are_taken_round_by_round_where_both_took_part() {
        let samples = vec![
            vec![sample(15), sample(90), None, sample(20)],
            vec![sample(10), sample(10), sample(10), sample(10)],
        ];
        let names = vec!["own".to_owned(), "static".to_owned()];
        let rounds = Rounds { scenario: "some", samples, paced: vec![None, None], names };
        assert_eq!(rounds.ratios(0, 1), [1.5, 2.0, 9.0]);
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
