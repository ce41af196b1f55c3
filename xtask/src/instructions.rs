//! `cargo xtask instructions`: what hot paths cost in instructions, held against what they did.
//!
//! Times vary by a tenth from run to run, counts of instructions by less than a hundredth, on a
//! busy machine too. Each bench target named `instructions` is run under callgrind twice for each
//! of its names, to do the thing a few times and many times; the difference, divided by how many
//! times more it was done, leaves out start, preparation and end. Instructions of the kernel are
//! not seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const BASELINE: &str = "xtask/instructions.json";
/// More than this over the baseline is a failure.
const MOST_PERCENT: u64 = 5;
const PACKAGES: [&str; 2] = ["distro-core", "naming-server"];
const FEW: u64 = 100;
const MANY: u64 = 600;

/// What to do with the counts.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Write the counts down as what is expected from now on.
    #[arg(long)]
    accept: bool,
}

/// Instructions per operation, by package and name.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    /// The compiler they were taken with: another one makes other code.
    rustc: String,
    instructions: BTreeMap<String, u64>,
}

/// Counts everything and compares it with the baseline of the repository at `repository`.
///
/// # Errors
///
/// If valgrind is missing, or a bench target does not build or run.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    let found = Counts { rustc: rustc()?, instructions: count_all(repository)? };
    let path = repository.join(BASELINE);
    if arguments.accept {
        let mut text = serde_json::to_string_pretty(&found)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("writing {BASELINE}"))?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {BASELINE}"))?;
    let expected: Counts =
        serde_json::from_str(&text).with_context(|| format!("reading {BASELINE}"))?;
    if expected.rustc != found.rustc {
        println!("the baseline was taken with {}, this is {}", expected.rustc, found.rustc);
    }
    let (table, holds) = compare(&expected.instructions, &found.instructions);
    print!("{table}");
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A table of both, and whether nothing grew too much.
fn compare(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> (String, bool) {
    let mut table = format!("{:<42} {:>10} {:>10} {:>8}\n", "name", "expected", "found", "change");
    let mut holds = true;
    for (name, found) in found {
        let Some(expected) = expected.get(name) else {
            table.push_str(&format!("{name:<42} {:>10} {found:>10}      new: --accept it\n", "-"));
            holds = false;
            continue;
        };
        let (more, less) = (expected * (100 + MOST_PERCENT), expected * (100 - MOST_PERCENT));
        let verdict = match found * 100 {
            hundredfold if hundredfold > more => "  MORE",
            hundredfold if hundredfold < less => "  less: --accept it",
            _ => "",
        };
        holds &= found * 100 <= more;
        let change = (*found as f64 / (*expected).max(1) as f64 - 1.0) * 100.0;
        table
            .push_str(&format!("{name:<42} {expected:>10} {found:>10} {change:>+7.1}%{verdict}\n"));
    }
    for name in expected.keys().filter(|name| !found.contains_key(*name)) {
        table.push_str(&format!("{name:<42} is in the baseline, but nothing counts it\n"));
        holds = false;
    }
    (table, holds)
}

fn count_all(repository: &Path) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for (package, program) in build(repository)? {
        let names = names(&program)?;
        ensure!(!names.is_empty(), "{package} names nothing to count");
        for name in names {
            let (few, many) = (count(&program, &name, FEW)?, count(&program, &name, MANY)?);
            let each = many.saturating_sub(few) / (MANY - FEW);
            eprintln!("  {package}/{name}: {each}");
            counts.insert(format!("{package}/{name}"), each);
        }
    }
    Ok(counts)
}

/// The bench programs, by package.
fn build(repository: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--no-run", "--bench", "instructions", "--message-format=json"])
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .current_dir(repository)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "the benches do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let programs: Vec<_> = text.lines().filter_map(program_in).collect();
    ensure!(programs.len() == PACKAGES.len(), "a bench target is missing: {programs:?}");
    Ok(programs)
}

/// The package and the bench program that a message of cargo tells of.
fn program_in(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let program = message["executable"].as_str()?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.file_name()?.to_str()?;
    let is_bench = message["target"]["kind"] == serde_json::json!(["bench"]);
    is_bench.then(|| (package.to_owned(), program.into()))
}

/// What a program can do: without arguments it says so.
fn names(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).output().context("running a bench")?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn count(program: &Path, name: &str, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        .output()
        .context("running valgrind, which must be installed")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} does not run: {text}");
    }
    instructions_in(&text).with_context(|| format!("callgrind tells no count: {text}"))
}

fn instructions_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn rustc() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("running rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_growth_of_more_than_a_twentieth_fails() {
        let expected = counts(&[("a", 1_000), ("b", 1_000)]);
        assert!(compare(&expected, &counts(&[("a", 1_050), ("b", 500)])).1);
        let (table, holds) = compare(&expected, &counts(&[("a", 1_051), ("b", 1_000)]));
        assert!(!holds && table.contains("MORE"), "{table}");
    }

    #[test]
    fn what_is_new_or_gone_must_be_accepted() {
        let expected = counts(&[("a", 1_000)]);
        assert!(!compare(&expected, &counts(&[("a", 1_000), ("b", 1)])).1);
        assert!(!compare(&expected, &counts(&[])).1);
    }

    #[test]
    fn messages_of_cargo_and_callgrind_are_understood() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/x/some/Cargo.toml",
            "target":{"kind":["bench"]},"executable":"/x/target/some-1"}"#;
        let expected = ("some".to_owned(), PathBuf::from("/x/target/some-1"));
        assert_eq!(program_in(line), Some(expected));
        assert_eq!(program_in(&line.replace("bench", "bin")), None);
        assert_eq!(instructions_in("==1== Events    : Ir\n==1== Collected : 42\n"), Some(42));
    }
}
