//! A server process under its supervisor, as seen by the process that wants it to run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::supervise::Order;

/// How long a supervisor may take to start the server.
const START: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// Where the output of a server goes.
#[derive(Debug)]
pub(crate) enum Output {
    /// Appended to a file.
    File(PathBuf),
    /// Read with [`Process::take_output`].
    Piped,
}

/// A running or ended server. It is killed when this is dropped, and when this process ends in
/// whatever way.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    orders: ChildStdin,
    ended: watch::Receiver<Option<String>>,
    output: Option<ChildStderr>,
    _supervisor: Child,
}

impl Process {
    /// Starts `program` under a supervisor, which is the program `supervisor` (an xtask).
    ///
    /// # Errors
    ///
    /// If either cannot be started.
    pub(crate) async fn start(
        supervisor: &Path,
        program: &Program,
        output: Output,
    ) -> Result<Self> {
        let mut command = Command::new(supervisor);
        command.arg("supervise").arg("--").arg(&program.path).args(&program.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(match output {
            Output::File(path) => append(&path)?.into(),
            Output::Piped => Stdio::piped(),
        });
        // Of a group of its own: Ctrl-C of a terminal goes to the whole group in front.
        let mut child = command.process_group(0).spawn().context("start a supervisor")?;
        let orders = child.stdin.take().context("its input was asked for")?;
        let said = child.stdout.take().context("its output was asked for")?;
        let output = child.stderr.take();
        let mut said = BufReader::new(said).lines();
        let first = tokio::time::timeout(START, said.next_line());
        let first = first.await.context("a supervisor says nothing")??.unwrap_or_default();
        let Some(pid) = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) else {
            bail!("{} does not start", program.path.display())
        };
        let (tell_end, ended) = watch::channel(None);
        tokio::spawn(watch_end(said, pid, tell_end));
        Ok(Self { pid, orders, ended, output, _supervisor: child })
    }

    /// What the server prints, if it was started with [`Output::Piped`] and nobody has it yet.
    pub(crate) fn take_output(&mut self) -> Option<ChildStderr> {
        self.output.take()
    }

    /// Has the supervisor send a signal. A server that has ended needs none.
    pub(crate) async fn order(&mut self, order: Order) {
        let line = format!("{}\n", order.word());
        let _ = self.orders.write_all(line.as_bytes()).await;
        let _ = self.orders.flush().await;
    }

    /// How it ended, `None` while it runs.
    pub(crate) fn ending(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Waits for its end; false if that does not come within `limit`.
    pub(crate) async fn wait(&self, limit: Duration) -> bool {
        let mut ended = self.ended.clone();
        let wait = ended.wait_for(Option::is_some);
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    /// Asks it to end, and kills it if it has not within `limit`. True if it was not killed.
    pub(crate) async fn stop(&mut self, limit: Duration) -> bool {
        // A stopped process would not see SIGTERM.
        self.order(Order::Resume).await;
        self.order(Order::Stop).await;
        let was_stopped = self.wait(limit).await;
        if !was_stopped {
            self.order(Order::Kill).await;
            self.wait(limit).await;
        }
        was_stopped
    }
}

async fn watch_end(
    mut said: Lines<BufReader<ChildStdout>>,
    pid: u32,
    tell_end: watch::Sender<Option<String>>,
) {
    let mut ending = None;
    while let Ok(Some(line)) = said.next_line().await {
        ending = line.strip_prefix("ended ").map(str::to_owned).or(ending);
    }
    if ending.is_none()
        && let Some(pid) = Pid::from_raw(pid.cast_signed())
    {
        // Somebody ended the supervisor alone.
        let _ = kill_process(pid, Signal::KILL);
    }
    let ending = ending.unwrap_or_else(|| "its supervisor ended".to_owned());
    tell_end.send_replace(Some(ending));
}

fn append(path: &Path) -> Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    options.open(path).with_context(|| format!("open {}", path.display()))
}
