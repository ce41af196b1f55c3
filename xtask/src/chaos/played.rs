//! Rows that passed before, so that a run of more than an hour may be interrupted.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::report::{Outcome, Verdict};
use super::rows::Row;

/// What was played with other clients does not count: raise this when they change.
const LOAD: u32 = 2;

/// The outcomes of one build of the server.
pub(super) struct Played {
    directory: PathBuf,
}

impl Played {
    /// Those that `server` has passed; they are kept below `logs`.
    ///
    /// # Errors
    ///
    /// If the server cannot be read or the directory not be made.
    pub(super) fn by(server: &Path, logs: &Path) -> Result<Self> {
        let program = fs::read(server).with_context(|| format!("read {}", server.display()))?;
        let mut hasher = DefaultHasher::new();
        program.hash(&mut hasher);
        let directory = logs.join(format!("passed-{LOAD}-{:016x}", hasher.finish()));
        fs::create_dir_all(&directory).context("make the directory of the outcomes")?;
        Ok(Self { directory })
    }

    /// How the row went, if the same server has passed it as it is today.
    pub(super) fn find(&self, row: Row) -> Option<Outcome> {
        let text = fs::read_to_string(self.file(row)).ok()?;
        let outcome: Outcome = serde_json::from_str(&text).ok()?;
        (outcome.title == row.title(false) && outcome.verdict() == Verdict::Passed)
            .then_some(outcome)
    }

    /// Keeps how the row went.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn keep(&self, row: Row, outcome: &Outcome) -> Result<()> {
        let text = serde_json::to_string(outcome).context("write an outcome as JSON")?;
        fs::write(self.file(row), text).context("keep an outcome")
    }

    fn file(&self, row: Row) -> PathBuf {
        self.directory.join(format!("{}.json", row.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chaos::judge::Tally;
    use crate::chaos::report::Agreement;

    fn outcome(row: Row) -> Outcome {
        Outcome {
            title: row.title(false).to_owned(),
            tally: Tally { reads: 1, calls: 1, streamed: 1, ..Tally::default() },
            agreement: Agreement::After(Duration::from_secs(1)),
            agreement_limit: Duration::from_secs(10),
            worst_lag: Duration::ZERO,
            durable: None,
            notes: Vec::new(),
            problem: None,
        }
    }

    #[test]
    fn what_one_server_has_passed_another_has_not() {
        let place = tempfile::tempdir().unwrap();
        let server = |text: &str| {
            let path = place.path().join("server");
            fs::write(&path, text).unwrap();
            Played::by(&path, place.path()).unwrap()
        };
        let first = server("first");
        assert!(first.find(Row::Kill).is_none());
        first.keep(Row::Kill, &outcome(Row::Kill)).unwrap();
        assert!(first.find(Row::Kill).is_some() && first.find(Row::Pause).is_none());
        assert!(server("second").find(Row::Kill).is_none());
        assert!(server("first").find(Row::Kill).is_some());
    }

    #[test]
    fn a_row_that_was_missed_is_played_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("server");
        fs::write(&path, "server").unwrap();
        let played = Played::by(&path, place.path()).unwrap();
        let problem = Some("it ended by itself".to_owned());
        played.keep(Row::Kill, &Outcome { problem, ..outcome(Row::Kill) }).unwrap();
        assert!(played.find(Row::Kill).is_none());
    }
}
