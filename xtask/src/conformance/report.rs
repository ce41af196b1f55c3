//! What the programs said, as a table.

use std::fmt;

use serde::Deserialize;

use super::own::OwnReport;
use super::sdk::{RESTART_CHECK, Sdk};
use super::tools::ToolReport;

/// How many characters of a reason are shown; `checks.jsonl` has it all.
const REASON_LIMIT: usize = 400;

/// One line of a program's output.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CheckLine {
    pub(super) check: String,
    pub(super) ok: bool,
    pub(super) millis: u64,
    pub(super) detail: String,
}

impl CheckLine {
    /// `None` for a line that is not about a check: SDKs print things of their own too.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// How it went with one SDK.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Its program was run; `reason` is why a check that is in no line may be missing.
    Ran { lines: Vec<CheckLine>, reason: String },
    /// It could not be installed.
    Broken(String),
    /// A tool it needs is missing.
    Skipped(String),
}

/// The outcome of every SDK, in the order of the columns.
pub(super) struct Report {
    pub(super) columns: Vec<(&'static Sdk, Outcome)>,
    /// The client of this repository, if it was run.
    pub(super) own: Option<OwnReport>,
    /// Programs beside the SDKs.
    pub(super) tools: Vec<ToolReport>,
    /// Whether a missing tool is a failure.
    pub(super) skip_is_failure: bool,
    /// Whether the server can be started again for the check that needs a restart.
    pub(super) restarts: bool,
}

/// One place of the table.
#[derive(Debug, PartialEq)]
enum Cell {
    Passed {
        millis: u64,
        detail: String,
    },
    Failed(String),
    Skipped,
    /// The SDK has no such call.
    Absent,
}

impl Report {
    /// Whether nothing failed.
    pub(super) fn passed(&self) -> bool {
        self.sums().1 == 0
    }

    /// Numbers of checks that passed and failed.
    fn sums(&self) -> (usize, usize) {
        let own = self.own.iter().map(OwnReport::sums);
        let tools = self.tools.iter().map(|tool| tool.sums(self.skip_is_failure));
        let (passed, failed) = own
            .chain(tools)
            .fold((0, 0), |(passed, failed), (more, worse)| (passed + more, failed + worse));
        (
            passed + self.count(|cell| matches!(cell, Cell::Passed { .. })),
            failed + self.count(|cell| matches!(cell, Cell::Failed(_))),
        )
    }

    fn count(&self, wanted: impl Fn(&Cell) -> bool) -> usize {
        self.cells().filter(|(_, _, cell)| wanted(cell)).count()
    }

    fn cells(&self) -> impl Iterator<Item = (&'static Sdk, &'static str, Cell)> {
        self.columns.iter().flat_map(move |(sdk, outcome)| {
            sdk.checks().iter().map(move |check| (*sdk, *check, self.cell(sdk, outcome, check)))
        })
    }

    fn cell(&self, sdk: &Sdk, outcome: &Outcome, check: &str) -> Cell {
        if sdk.absent.contains(&check) {
            return Cell::Absent;
        }
        if check == RESTART_CHECK && !self.restarts {
            return Cell::Skipped;
        }
        match outcome {
            Outcome::Broken(reason) => Cell::Failed(reason.clone()),
            Outcome::Skipped(reason) if self.skip_is_failure => Cell::Failed(reason.clone()),
            Outcome::Skipped(_) => Cell::Skipped,
            Outcome::Ran { lines, reason } => match lines.iter().find(|line| line.check == check) {
                None => Cell::Failed(reason.clone()),
                Some(CheckLine { ok: false, detail, .. }) => Cell::Failed(detail.clone()),
                Some(CheckLine { millis, detail, .. }) => {
                    Cell::Passed { millis: *millis, detail: detail.clone() }
                }
            },
        }
    }

    /// The table of the SDKs of 1.x or of those that speak gRPC, which are asked other things.
    fn write_table(&self, grpc: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().filter(|(sdk, _)| sdk.speaks_grpc() == grpc);
        let columns: Vec<_> = columns.collect();
        let Some((first, _)) = columns.first() else { return Ok(()) };
        write!(f, "\n{:<17}", "")?;
        for (sdk, _) in &columns {
            write!(f, "{:>12}", sdk.name)?;
        }
        for check in first.checks() {
            write!(f, "\n{check:<17}")?;
            for (sdk, outcome) in &columns {
                match self.cell(sdk, outcome, check) {
                    Cell::Passed { millis, .. } => write!(f, "{:>12}", format!("{millis} ms"))?,
                    Cell::Failed(_) => write!(f, "{:>12}", "FAILED")?,
                    Cell::Skipped => write!(f, "{:>12}", "skipped")?,
                    Cell::Absent => write!(f, "{:>12}", "-")?,
                }
            }
        }
        writeln!(f, "\n")
    }

    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sdk, outcome) in &self.columns {
            if let Outcome::Skipped(reason) = outcome {
                writeln!(f, "{}: skipped, {reason}", sdk.name)?;
            }
        }
        for (sdk, check, cell) in self.cells() {
            match cell {
                Cell::Passed { detail, .. } if !detail.is_empty() => {
                    writeln!(f, "{} {check}: {detail}", sdk.name)?;
                }
                // A program tells all it saw; the start of it is enough here.
                Cell::Failed(reason) => {
                    writeln!(f, "{} {check}: FAILED, {reason:.REASON_LIMIT$}", sdk.name)?;
                }
                Cell::Passed { .. } | Cell::Skipped | Cell::Absent => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    /// The versions, the table, what is to be said of single checks, and the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for (sdk, _) in &self.columns {
            writeln!(f, "{:<12}{} {}", sdk.name, sdk.package, sdk.version)?;
        }
        self.write_table(false, f)?;
        self.write_table(true, f)?;
        self.write_details(f)?;
        if let Some(own) = &self.own {
            write!(f, "{own}")?;
        }
        self.tools.iter().try_for_each(|tool| write!(f, "{tool}"))?;
        let (passed, failed) = self.sums();
        write!(f, "\n{passed} passed, {failed} failed")?;
        match self.count(|cell| *cell == Cell::Skipped) {
            0 => writeln!(f),
            skipped => writeln!(f, ", {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sdk::{GRPC_CHECKS, HTTP_CHECKS, select};
    use super::*;

    fn report(sdk: &str, outcome: Outcome, skip_is_failure: bool) -> Report {
        let sdk = select(&[sdk.to_owned()]).unwrap()[0];
        Report {
            columns: vec![(sdk, outcome)],
            own: None,
            tools: vec![],
            skip_is_failure,
            restarts: true,
        }
    }

    fn ran(output: &str) -> Outcome {
        let lines = output.lines().filter_map(CheckLine::parse).collect();
        Outcome::Ran { lines, reason: "not reported".to_owned() }
    }

    fn line(check: &str, ok: bool) -> String {
        format!("{{\"check\": \"{check}\", \"ok\": {ok}, \"millis\": 7, \"detail\": \"why\"}}\n")
    }

    #[test]
    fn all_checks_reported_good_is_a_pass() {
        let output: String = HTTP_CHECKS.iter().map(|check| line(check, true)).collect();
        let report = report("java", ran(&output), true);
        assert!(report.passed());
        assert!(report.to_string().ends_with("\n13 passed, 0 failed\n"));
    }

    #[test]
    fn failed_and_missing_checks_fail_and_other_output_is_ignored() {
        let output = line("list", true) + "SDK: hello\n{\"check\": 1}\n" + &line("beats", false);
        let report = report("java", ran(&output), false);
        assert!(!report.passed());
        let text = report.to_string();
        assert!(text.contains("java beats: FAILED, why\n"), "{text}");
        assert!(text.contains("java register: FAILED, not reported\n"), "{text}");
        assert!(text.ends_with("\n1 passed, 12 failed\n"), "{text}");
    }

    #[test]
    fn calls_an_sdk_does_not_have_count_neither_way() {
        let output: String = HTTP_CHECKS.iter().map(|check| line(check, true)).collect();
        let text = report("python-0.1", ran(&output), false).to_string();
        assert!(text.ends_with("\n11 passed, 0 failed\n"), "{text}");
    }

    #[test]
    fn missing_toolchain_is_a_skip_but_a_failure_where_that_is_asked() {
        let missing = || Outcome::Skipped("`go` is not installed".to_owned());
        let lenient = report("go", missing(), false);
        assert!(lenient.passed());
        assert!(lenient.to_string().ends_with("\n0 passed, 0 failed, 12 skipped\n"));
        let strict = report("go", missing(), true);
        assert!(!strict.passed());
        assert!(strict.to_string().ends_with("\n0 passed, 12 failed\n"));
    }

    #[test]
    fn sdk_that_speaks_grpc_has_a_table_and_checks_of_its_own() {
        let output: String = GRPC_CHECKS.iter().map(|check| line(check, true)).collect();
        let mut both = report("java-2.5", ran(&output), true);
        let text = both.to_string();
        assert!(text.ends_with("\n15 passed, 0 failed\n"), "{text}");
        both.columns.extend(report("go", ran(""), true).columns);
        let text = both.to_string();
        let header = |sdk: &str| text.lines().position(|line| line.trim() == sdk);
        assert!(header("go").expect("a table") < header("java-2.5").expect("a table"), "{text}");
    }

    #[test]
    fn server_of_someone_else_is_not_restarted_and_the_check_is_skipped() {
        let output: String = GRPC_CHECKS[..14].iter().map(|check| line(check, true)).collect();
        let mut report = report("java-2.5", ran(&output), true);
        assert!(!report.passed());
        report.restarts = false;
        assert!(report.to_string().ends_with("\n14 passed, 0 failed, 1 skipped\n"));
    }
}
