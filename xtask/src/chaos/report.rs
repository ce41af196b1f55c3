//! What the rows came to.

mod table;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::table::Table;
use super::judge::Tally;
use super::load::DurableTally;

/// A load generator that was later than this proves nothing.
const LAG: Duration = Duration::from_secs(1);

/// How the nodes came to agree again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Agreement {
    /// So long after the heal.
    After(Duration),
    /// Not while it was watched.
    Never,
}

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The fault, as it stands in the table.
    pub(super) title: String,
    pub(super) tally: Tally,
    pub(super) agreement: Agreement,
    pub(super) agreement_limit: Duration,
    pub(super) worst_lag: Duration,
    /// What came of many durable writes, where there were some.
    pub(super) durable: Option<DurableTally>,
    /// What the row measured besides.
    #[serde(default)]
    pub(super) notes: Vec<String>,
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
        let agrees =
            matches!(self.agreement, Agreement::After(time) if time <= self.agreement_limit);
        let is_kept = self.durable.is_none_or(|durable| durable.is_clean());
        // Nothing wrong where nobody looked is no proof.
        let tally = &self.tally;
        let was_watched = tally.reads > 0 && tally.calls > 0 && tally.streamed > 0;
        match agrees && was_watched && is_kept && self.problem.is_none() && self.tally.is_clean() {
            true => Verdict::Passed,
            false => Verdict::Missed,
        }
    }

    /// The cells, in the order of [`COLUMNS`].
    fn cells(&self) -> [String; 10] {
        let tally = &self.tally;
        [
            self.title.clone(),
            tally.failed_calls.to_string(),
            tally.hurt().to_string(),
            tally.resurrected.len().to_string(),
            tally.left_dead.len().to_string(),
            tally.empty_lists.to_string(),
            self.agreement(),
            format!("{} of {}", tally.failed_early + tally.failed_elsewhere, tally.calls),
            format!("{:.0} ms", self.worst_lag.as_secs_f64() * 1000.0),
            self.word().to_owned(),
        ]
    }

    /// The cells, in the order of [`DURABLE_COLUMNS`].
    fn durable_cells(&self) -> Option<[String; 8]> {
        let durable = self.durable?;
        Some([
            self.title.clone(),
            durable.acknowledged.to_string(),
            durable.unsure.to_string(),
            durable.lost.to_string(),
            durable.undone.to_string(),
            durable.alone.to_string(),
            self.agreement(),
            self.word().to_owned(),
        ])
    }

    fn agreement(&self) -> String {
        match self.agreement {
            Agreement::After(time) => format!("{:.1}", time.as_secs_f64()),
            Agreement::Never => "never".to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        match self.verdict() {
            Verdict::Passed => "",
            Verdict::Void => "VOID",
            Verdict::Missed => "MISSED",
        }
    }
}

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

const DURABLE_COLUMNS: [&str; 8] =
    ["fault", "acknowledged", "unsure", "lost", "undone", "by a node alone", "agree after, s", ""];

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) outcomes: Vec<Outcome>,
    /// Rows that were left out, and why.
    pub(super) skipped: Vec<String>,
}

impl Report {
    pub(super) fn passed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict() == Verdict::Passed)
    }

    /// What clients noticed, as it stands in the documentation.
    pub(super) fn markdown(&self) -> String {
        self.table().markdown()
    }

    /// What became of durable writes, as it stands in the documentation.
    pub(super) fn durable_markdown(&self) -> String {
        self.durable_table().markdown()
    }

    /// What rows measured besides, each on a line of its own; nothing if there is nothing.
    pub(super) fn notes_markdown(&self) -> String {
        let notes = self.outcomes.iter().flat_map(|outcome| {
            outcome.notes.iter().map(|note| format!("* {}: {note}\n", outcome.title))
        });
        let skipped = self.skipped.iter().map(|skipped| format!("* not played: {skipped}\n"));
        let notes: String = notes.chain(skipped).collect();
        if notes.is_empty() { notes } else { format!("\nMeasured besides:\n\n{notes}") }
    }

    fn table(&self) -> Table<10> {
        Table { heads: COLUMNS, rows: self.outcomes.iter().map(Outcome::cells).collect() }
    }

    fn durable_table(&self) -> Table<8> {
        let rows = self.outcomes.iter().filter_map(Outcome::durable_cells).collect();
        Table { heads: DURABLE_COLUMNS, rows }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = self.durable_table();
        self.table().fmt(formatter)?;
        for skipped in &self.skipped {
            writeln!(formatter, "not played: {skipped}")?;
        }
        match durable.rows.is_empty() {
            true => Ok(()),
            false => write!(formatter, "\n{durable}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Row;
    use super::*;

    fn of(outcomes: Vec<Outcome>) -> Report {
        Report { outcomes, ..Report::default() }
    }

    fn good() -> Outcome {
        Outcome {
            title: Row::Kill.title(false).to_owned(),
            tally: Tally {
                calls: 1000,
                reads: 900,
                streamed: 300,
                failed_early: 2,
                ..Tally::default()
            },
            agreement: Agreement::After(Duration::from_millis(1234)),
            agreement_limit: Duration::from_secs(10),
            worst_lag: Duration::from_millis(30),
            durable: None,
            notes: Vec::new(),
            problem: None,
        }
    }

    #[test]
    fn a_clean_row_passes_and_each_bar_counts() {
        assert_eq!(good().verdict(), Verdict::Passed);
        let missed: [fn(&mut Outcome); 10] = [
            |one| one.tally.failed_calls = 1,
            |one| one.tally.empty_lists = 1,
            |one| one.tally.missing.extend([1]),
            |one| one.tally.unhealthy.extend([1]),
            |one| one.tally.left_dead.extend([1]),
            |one| one.tally.resurrected.extend([1]),
            |one| one.agreement = Agreement::After(Duration::from_millis(10_001)),
            |one| one.problem = Some("node 2 ended".to_owned()),
            |one| one.tally.reads = 0,
            |one| one.tally.streamed = 0,
        ];
        for spoil in missed {
            let mut outcome = good();
            spoil(&mut outcome);
            assert_eq!(outcome.verdict(), Verdict::Missed, "{outcome:?}");
        }
    }

    #[test]
    fn durable_writes_count_where_there_are_any() {
        let durable = DurableTally { acknowledged: 100, unsure: 3, ..DurableTally::default() };
        let outcome = |durable| Outcome { durable: Some(durable), ..good() };
        assert_eq!(outcome(durable).verdict(), Verdict::Passed);
        let wrong = [
            DurableTally { lost: 1, ..durable },
            DurableTally { undone: 1, ..durable },
            DurableTally { alone: 1, ..durable },
            DurableTally { acknowledged: 0, ..durable },
        ];
        for wrong in wrong {
            assert_eq!(outcome(wrong).verdict(), Verdict::Missed, "{wrong:?}");
        }
        let strict = Outcome { agreement_limit: Duration::from_secs(1), ..outcome(durable) };
        assert_eq!(strict.verdict(), Verdict::Missed);
        let report = of(vec![good(), outcome(durable)]);
        let row = "| kill -9, 40 s, restart | 100 | 3 | 0 | 0 | 0 | 1.2 | |\n";
        assert_eq!(report.durable_markdown().matches("kill -9").count(), 1);
        assert!(report.durable_markdown().ends_with(row), "{}", report.durable_markdown());
        assert!(report.to_string().contains("acknowledged"));
        assert!(!of(vec![good()]).to_string().contains("acknowledged"));
    }

    #[test]
    fn a_starved_generator_proves_nothing() {
        let outcome = Outcome { worst_lag: Duration::from_millis(1001), ..good() };
        assert_eq!(outcome.verdict(), Verdict::Void);
        assert!(!of(vec![good(), outcome]).passed());
        assert!(of(vec![good()]).passed());
    }

    #[test]
    fn both_tables_hold_the_cells() {
        let report = of(vec![good()]);
        assert_eq!(report.notes_markdown(), "");
        let noted = Outcome { notes: vec!["200 back".to_owned()], ..good() };
        let noted = of(vec![noted]).notes_markdown();
        assert!(noted.ends_with("\n* kill -9, 40 s, restart: 200 back\n"), "{noted}");
        let skipped = Report { skipped: vec!["a: none".to_owned()], ..Report::default() };
        assert!(skipped.notes_markdown().contains("* not played: a: none\n"));
        assert!(skipped.to_string().contains("not played: a: none"));
        let plain = report.to_string();
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        let row = "| kill -9, 40 s, restart | 0 | 0 | 0 | 0 | 0 | 1.2 | 2 of 1000 | 30 ms | |";
        assert!(report.markdown().contains(row), "{}", report.markdown());
    }
}
