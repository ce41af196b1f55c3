//! The client of this repository. It knows its checks itself, so they have no column in the table.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::report::CheckLine;
use super::{Places, process};

/// What `--sdk` takes.
pub(super) const NAME: &str = "naming-client";

/// Building the program takes a minute at most, its checks as long.
const LIMIT: Duration = Duration::from_secs(300);

/// How it went with the client of this repository.
pub(super) struct OwnReport {
    lines: Vec<CheckLine>,
    problem: Option<String>,
}

/// What the checks are made over, one after the other.
const TRANSPORTS: [&str; 2] = ["http", "grpc"];

/// Builds the program of checks and runs it over each transport.
pub(super) fn run(places: &Places, address: &str) -> OwnReport {
    let mut all = OwnReport { lines: Vec::new(), problem: None };
    for transport in TRANSPORTS {
        let OwnReport { lines, problem } = run_over(places, address, transport);
        all.lines.extend(lines);
        let named = || problem.map(|problem| format!("over {transport}: {problem}"));
        all.problem = all.problem.or_else(named);
    }
    all
}

fn run_over(places: &Places, address: &str, transport: &str) -> OwnReport {
    let directory = places.work.join(NAME);
    let file = |name: &str| directory.join(format!("{transport}-{name}"));
    let (checks, log) = (file("checks.jsonl"), file("run.log"));
    for file in [&checks, &log] {
        // Of the run before; what cannot be removed now is complained of when it is opened.
        let _ = fs::remove_file(file);
    }
    let mut command = Command::new("cargo");
    command.current_dir(&places.root);
    command.args(["run", "--quiet", "--package", NAME, "--example", "conformance", "--"]);
    command.args(["--server", address, "--transport", transport]);
    let ended = fs::create_dir_all(&directory)
        .map_err(anyhow::Error::from)
        .and_then(|()| process::run_logged(&mut command, &checks, &log, LIMIT));
    let text = fs::read_to_string(&checks).unwrap_or_default();
    let mut lines: Vec<_> = text.lines().filter_map(CheckLine::parse).collect();
    for line in &mut lines {
        line.check = format!("{} over {transport}", line.check);
    }
    // Checks that failed say so themselves.
    let problem = ended.err().map(|error| format!("{error:#}"));
    let problem = problem.filter(|_| lines.iter().all(|line| line.ok));
    OwnReport { lines, problem }
}

impl OwnReport {
    /// Numbers of checks that passed and failed; a program that failed as a whole counts as one.
    pub(super) fn sums(&self) -> (usize, usize) {
        let passed = self.lines.iter().filter(|line| line.ok).count();
        (passed, self.lines.len() - passed + usize::from(self.problem.is_some()))
    }
}

impl fmt::Display for OwnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CheckLine { check, ok, millis, detail } in &self.lines {
            let result = if *ok { "passed" } else { "FAILED" };
            writeln!(f, "{NAME} {check}: {result} after {millis} ms {detail}")?;
        }
        match &self.problem {
            Some(problem) => writeln!(f, "{NAME}: FAILED, {problem}"),
            None => Ok(()),
        }
    }
}
