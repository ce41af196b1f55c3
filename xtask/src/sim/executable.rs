//! The program that simulates: a test of `distro-core`, built with the profile `sim`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Builds it and says where it is.
pub(super) fn build(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["test", "--no-run", "--profile", "sim"]);
    command.args(["--package", "distro-core", "--test", "sim", "--message-format", "json"]);
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "the simulation does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    messages.lines().find_map(named).context("cargo does not name what it built")
}

/// What is read of one message of cargo.
#[derive(Deserialize)]
struct Message {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The program, if the message is about it.
fn named(message: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(message).ok()?;
    message.executable.filter(|_| message.target.name == "sim")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_message_about_the_simulation_names_it() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"name":"sim"},"executable":"/x/sim-1"}"#;
        assert_eq!(named(message), Some(PathBuf::from("/x/sim-1")));
        let other = r#"{"target":{"name":"distro_core"},"executable":null}"#;
        assert_eq!(named(other), None);
        assert_eq!(named(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(named("no json"), None);
    }
}
