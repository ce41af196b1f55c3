//! The server of an earlier release, for the row in which members are replaced one by one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::server;

/// Why the row is left out.
pub(super) const NONE: &str = "there is no --old-binary, and no tag to build one from";

/// The program that was given, or else that of the last tag, which is built; `None` without either.
///
/// # Errors
///
/// If what was given is no file, or the tag does not build.
pub(super) fn program(given: Option<&Path>, root: &Path) -> Result<Option<PathBuf>> {
    if let Some(given) = given {
        let given = given.canonicalize().with_context(|| format!("find {}", given.display()))?;
        ensure!(given.is_file(), "{} is no program", given.display());
        return Ok(Some(given));
    }
    let Some(tag) = last_tag(root) else { return Ok(None) };
    println!("building the server of {tag} (release)");
    let place = server::target(root).join("chaos");
    let source = place.join(format!("source-{}", tag.replace('/', "-")));
    if !source.join("Cargo.toml").exists() {
        unpack(root, &tag, &source)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = place.join("target-of-tags");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--package", "naming-server", "--release"]);
    let status = command.current_dir(&source).env("CARGO_TARGET_DIR", &built).status();
    ensure!(status.context("start cargo")?.success(), "the server of {tag} does not build");
    Ok(Some(built.join("release/naming-server")))
}

fn last_tag(root: &Path) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["describe", "--tags", "--abbrev=0"]).current_dir(root);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn unpack(root: &Path, tag: &str, place: &Path) -> Result<()> {
    let mut command = Command::new("git");
    let output = command.args(["archive", "--format=tar", tag]).current_dir(root).output();
    let output = output.context("start git")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git archive {tag}: {}", errors.trim());
    let unpacked = tar::Archive::new(&*output.stdout).unpack(place);
    unpacked.with_context(|| format!("unpack {tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_must_be_there_and_without_anything_there_is_none() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("old");
        assert!(program(Some(&path), place.path()).is_err());
        std::fs::write(&path, "program").unwrap();
        let found = program(Some(&path), place.path()).unwrap().unwrap();
        assert_eq!(std::fs::read(found).unwrap(), b"program");
        // No repository, so no tag.
        assert_eq!(program(None, place.path()).unwrap(), None);
    }
}
