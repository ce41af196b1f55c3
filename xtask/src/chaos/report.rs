//! What the rows came to.

use std::fmt;
use std::time::Duration;

use super::judge::Tally;

/// From heal to equal digests.
const AGREEMENT: Duration = Duration::from_secs(10);
/// A load generator that was later than this proves nothing.
const LAG: Duration = Duration::from_secs(1);

/// How the nodes came to agree again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// So long after the heal.
    After(Duration),
    /// Not while it was watched.
    Never,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// The fault, as it stands in the table.
    pub(super) title: &'static str,
    pub(super) tally: Tally,
    pub(super) agreement: Agreement,
    pub(super) worst_lag: Duration,
    /// What kept the row from its end.
    pub(super) problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// The load generator did not get the processor: the row says nothing.
    Void,
    Missed,
}

impl Outcome {
    pub(super) fn verdict(&self) -> Verdict {
        if self.worst_lag > LAG {
            return Verdict::Void;
        }
        let agrees = matches!(self.agreement, Agreement::After(time) if time <= AGREEMENT);
        // Nothing wrong where nobody looked is no proof.
        let was_watched = self.tally.reads > 0 && self.tally.calls > 0;
        match agrees && was_watched && self.problem.is_none() && self.tally.is_clean() {
            true => Verdict::Passed,
            false => Verdict::Missed,
        }
    }

    /// The cells, in the order of [`COLUMNS`].
    fn cells(&self) -> [String; 10] {
        let tally = &self.tally;
        let agreement = match self.agreement {
            Agreement::After(time) => format!("{:.1}", time.as_secs_f64()),
            Agreement::Never => "never".to_owned(),
        };
        let verdict = match self.verdict() {
            Verdict::Passed => "",
            Verdict::Void => "VOID",
            Verdict::Missed => "MISSED",
        };
        [
            self.title.to_owned(),
            tally.failed_calls.to_string(),
            tally.hurt().to_string(),
            tally.resurrected.len().to_string(),
            tally.left_dead.len().to_string(),
            tally.empty_lists.to_string(),
            agreement,
            format!("{} of {}", tally.failed_early + tally.failed_elsewhere, tally.calls),
            format!("{:.0} ms", self.worst_lag.as_secs_f64() * 1000.0),
            verdict.to_owned(),
        ]
    }
}

/// Their heads.
const COLUMNS: [&str; 10] = [
    "fault",
    "failed calls",
    "hurt",
    "resurrected",
    "dead left",
    "empty lists",
    "agree after, s",
    "calls that may fail",
    "lag",
    "",
];

/// All rows.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn passed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict() == Verdict::Passed)
    }

    /// The table as it stands in the documentation.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: [String; 10]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(COLUMNS.map(str::to_owned)).replace("|  |", "| |");
        text += &line(["---"; 10].map(str::to_owned)).replace(' ', "");
        for outcome in &self.outcomes {
            text += &line(outcome.cells()).replace("|  |", "| |");
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![COLUMNS.map(str::to_owned)];
        rows.extend(self.outcomes.iter().map(Outcome::cells));
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match index {
                    0 => write!(formatter, "{cell:<width$}")?,
                    _ => write!(formatter, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Row;
    use super::*;

    fn good() -> Outcome {
        Outcome {
            title: Row::Kill.title(false),
            tally: Tally { calls: 1000, reads: 900, failed_early: 2, ..Tally::default() },
            agreement: Agreement::After(Duration::from_millis(1234)),
            worst_lag: Duration::from_millis(30),
            problem: None,
        }
    }

    #[test]
    fn a_clean_row_passes_and_each_bar_counts() {
        assert_eq!(good().verdict(), Verdict::Passed);
        let missed: [fn(&mut Outcome); 9] = [
            |one| one.tally.failed_calls = 1,
            |one| one.tally.empty_lists = 1,
            |one| one.tally.missing.extend([1]),
            |one| one.tally.unhealthy.extend([1]),
            |one| one.tally.left_dead.extend([1]),
            |one| one.tally.resurrected.extend([1]),
            |one| one.agreement = Agreement::After(Duration::from_millis(10_001)),
            |one| one.problem = Some("node 2 ended".to_owned()),
            |one| one.tally.reads = 0,
        ];
        for spoil in missed {
            let mut outcome = good();
            spoil(&mut outcome);
            assert_eq!(outcome.verdict(), Verdict::Missed, "{outcome:?}");
        }
    }

    #[test]
    fn a_starved_generator_proves_nothing() {
        let outcome = Outcome { worst_lag: Duration::from_millis(1001), ..good() };
        assert_eq!(outcome.verdict(), Verdict::Void);
        assert!(!Report { outcomes: vec![good(), outcome] }.passed());
        assert!(Report { outcomes: vec![good()] }.passed());
    }

    #[test]
    fn both_tables_hold_the_cells() {
        let report = Report { outcomes: vec![good()] };
        let plain = report.to_string();
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        let row = "| kill -9, 40 s, restart | 0 | 0 | 0 | 0 | 0 | 1.2 | 2 of 1000 | 30 ms | |";
        assert!(report.markdown().contains(row), "{}", report.markdown());
    }
}
