//! Child processes that never outlive what they were started for.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::interrupt;

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A child process that is killed when this is dropped.
pub(super) struct Running(Child);

impl Running {
    /// Starts `command` with this process's own input and output.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self(child))
    }

    /// Starts `command` without input; what it prints is added to the two files, which may be one.
    pub(super) fn start_logged(
        command: &mut Command,
        output: &Path,
        errors: &Path,
    ) -> Result<Self> {
        Self::start(command.stdin(Stdio::null()).stdout(append(output)?).stderr(append(errors)?))
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The status the process ended with, `None` while it runs.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("wait for a child process")
    }

    /// Waits until the process ends, for at most `limit`; fails unless its status is success.
    pub(super) fn succeed(mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("ended with {status}"),
                None if Instant::now() >= deadline => {
                    bail!("stopped after {} s", limit.as_secs_f32())
                }
                None => thread::sleep(LOOK_INTERVAL),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `command` as [`Running::start_logged`] does and waits as [`Running::succeed`] does.
pub(super) fn run_logged(
    command: &mut Command,
    output: &Path,
    errors: &Path,
    limit: Duration,
) -> Result<()> {
    Running::start_logged(command, output, errors)?
        .succeed(limit)
        .with_context(|| format!("{:?}, see {}", command.get_program(), errors.display()))
}

fn append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.open(path).with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_of_several_commands_is_gathered_in_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        for script in ["echo one", "echo two >&2"] {
            run_logged(&mut shell(script), &log, &log, Duration::from_secs(10)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn failing_command_is_an_error_that_names_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = run_logged(&mut shell("exit 3"), &log, &log, Duration::from_secs(10));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("exit status: 3") && error.contains("log"), "{error}");
    }

    #[test]
    fn command_is_killed_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let start = Instant::now();
        let limit = Duration::from_millis(300);
        let error = run_logged(&mut shell("exec sleep 60"), &log, &log, limit).unwrap_err();
        assert!(format!("{error:#}").contains("stopped after 0.3 s"), "{error:#}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
