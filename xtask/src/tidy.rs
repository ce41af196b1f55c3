//! `cargo xtask tidy`: rules of the repository that the compiler does not know.
//!
//! Each rule is a pure function of text, in a file of its own; this file only gathers the text.
//! It reads tracked files, `cargo metadata` and `cargo tree`, all without the network.

mod arrows;
mod config_keys;
mod layout;
mod modules;
mod private_text;
mod rooms;
mod size;
mod struct_fields;

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One broken rule, in words that say what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: a path relative to the root, or the name of a crate.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl Violation {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.problem)
    }
}

/// A tracked file: its path relative to the root and, if it is text, what it says.
#[derive(Debug, Clone)]
struct TrackedFile {
    path: String,
    text: Option<String>,
}

/// Checks the repository at `root` against every rule.
///
/// # Errors
///
/// If git or cargo cannot be run there, or a tracked file cannot be read: then nothing was decided.
pub fn check(root: &Path) -> Result<Vec<Violation>> {
    let files = tracked_files(root)?;
    // Without `--no-deps` it would want the sources of crates that only other systems build with.
    let metadata =
        output(root, "cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata is JSON")?;
    let tree_of_core = output(
        root,
        "cargo",
        &["tree", "-p", "distro-core", "-e", "normal", "--prefix", "none", "--offline"],
    )?;
    let mut violations = Vec::new();
    violations.extend(arrows::check_arrows(&metadata));
    violations.extend(arrows::check_tree_of_core(&tree_of_core));
    violations.extend(size::check(&files));
    violations.extend(private_text::check(&files));
    violations.extend(layout::check(&files));
    violations.extend(config_keys::check(&files));
    violations.extend(rooms::check(&files));
    Ok(violations)
}

fn tracked_files(root: &Path) -> Result<Vec<TrackedFile>> {
    let listed = output(root, "git", &["ls-files", "-z"])?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // A file deleted but not yet committed is still listed: it has nothing to check.
    let present = paths.filter(|path| root.join(path).is_file());
    present.map(|path| tracked_file(root, path)).collect()
}

fn tracked_file(root: &Path, path: &str) -> Result<TrackedFile> {
    let bytes = std::fs::read(root.join(path)).with_context(|| format!("reading {path}"))?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    Ok(TrackedFile { path: path.to_owned(), text })
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let finished = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .with_context(|| format!("running {program}"))?;
    let complaint = String::from_utf8_lossy(&finished.stderr);
    ensure!(finished.status.success(), "{program} {}: {complaint}", arguments.join(" "));
    String::from_utf8(finished.stdout).with_context(|| format!("{program} prints UTF-8"))
}

#[cfg(test)]
fn file(path: &str, text: &str) -> TrackedFile {
    TrackedFile { path: path.to_owned(), text: Some(text.to_owned()) }
}
