//! The small process between `cargo xtask` and each server: it ends the server when its own input
//! ends, and that happens whatever becomes of the process at the other end, SIGKILL included.
//!
//! ```text
//! cargo xtask ──orders──► supervisor ──signals──► server
//!             ◄─ pid N, ended STATUS ─           its output: the supervisor's standard error
//! ```

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, Command};

/// What `cargo xtask supervise` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The program to run and what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// What a supervisor is told, one word a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// SIGTERM.
    Stop,
}

impl Order {
    const ALL: [Self; 4] = [Self::Kill, Self::Pause, Self::Resume, Self::Stop];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word.trim())
    }

    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Pause => Signal::STOP,
            Self::Resume => Signal::CONT,
            Self::Stop => Signal::TERM,
        }
    }
}

/// Runs the program until it ends or standard input does.
///
/// # Errors
///
/// If the program cannot be started or waited for.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(supervise(&arguments.command));
    // A thread may still be reading the input; nobody needs what comes now.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

async fn supervise(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no program to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .stderr(std::io::stderr())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let pid = pid.context("a process that has just been started has a number")?;
    println!("pid {}", pid.as_raw_nonzero());
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let status = obey(&mut child, pid, &mut orders).await?;
    println!("ended {status}");
    Ok(())
}

async fn obey<R>(
    child: &mut Child,
    pid: Pid,
    orders: &mut Lines<R>,
) -> Result<std::process::ExitStatus>
where
    R: AsyncBufReadExt + Unpin,
{
    loop {
        tokio::select! {
            status = child.wait() => return status.context("wait for the program"),
            line = orders.next_line() => match line {
                Ok(Some(line)) => {
                    // The child has not been waited for, so the number is still its own.
                    if let Some(order) = Order::parse(&line) {
                        let _ = kill_process(pid, order.signal());
                    }
                }
                Ok(None) | Err(_) => {
                    child.kill().await.context("end the program")?;
                    return child.wait().await.context("wait for the program");
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_understood_by_their_words() {
        for order in Order::ALL {
            assert_eq!(Order::parse(&format!("{}\n", order.word())), Some(order));
        }
        assert_eq!(Order::parse("dance"), None);
    }

    #[tokio::test]
    async fn the_program_ends_with_the_input() {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let mut orders = BufReader::new(&b"pause\nresume\n"[..]).lines();
        let status = obey(&mut child, pid, &mut orders).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[tokio::test]
    async fn the_program_ends_when_told_so() {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let (mut orders, input) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut orders, b"stop\n").await.unwrap();
        let status = obey(&mut child, pid, &mut BufReader::new(input).lines()).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    }
}
