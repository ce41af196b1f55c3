//! Running in namespaces of one's own, which the kernel removes with the last process in them:
//! nothing has to be tidied up, whatever ends the run.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::cluster::interrupts::Interrupts;

/// Given to the process that runs inside.
pub(super) const FLAG: &str = "--inside";
/// A private table of named namespaces, so that no name collides with one of the machine.
const PREPARE: &str = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec \"$@\"";

/// Whether namespaces with named namespaces in them can be made here.
pub(super) async fn is_possible() -> bool {
    let try_all = "ip netns add try && ip link add try type bridge && ip netns del try";
    let mut command = unshare(&["sh", "-c", try_all].map(str::to_owned));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// Runs this program once more, inside, and returns its exit code. It ends when this process does.
/// There is no way to build anything inside, so it is told of the earlier server that was built.
pub(super) async fn run(old: Option<PathBuf>) -> Result<ExitCode> {
    let program = std::env::current_exe().context("find this program")?;
    let mut words = vec![text(&program)];
    words.extend(std::env::args().skip(1));
    words.push(FLAG.to_owned());
    words.extend(old.iter().flat_map(|old| ["--old-binary".to_owned(), text(old)]));
    let mut interrupts = Interrupts::listen()?;
    let mut command = unshare(&words);
    let mut child = command.stdin(Stdio::piped()).process_group(0).spawn()?;
    // It ends with its input, and that ends with this process.
    let input = child.stdin.take();
    let status = tokio::select! {
        status = child.wait() => status?,
        () = interrupts.wait() => {
            drop(input);
            child.wait().await?
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Waits for the end of the process outside, or for a signal.
pub(super) async fn outside_ended() {
    let mut buffer = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

fn unshare(words: &[String]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", PREPARE, "sh"]).args(words);
    command
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
