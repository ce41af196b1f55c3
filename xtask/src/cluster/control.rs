//! The way from another terminal to the running cluster: a socket in its private directory, and a
//! file below `target/` that says where.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::UnixListener;

/// Restarting a node that drains takes the longest.
const LIMIT: Duration = Duration::from_secs(60);
/// Put before the reply.
const DONE: &str = "done";
const FAILED: &str = "failed";

/// Where the running cluster can be found.
#[derive(Debug)]
pub(super) struct Control {
    file: PathBuf,
}

impl Control {
    pub(super) fn new(directory: &Path) -> Self {
        Self { file: directory.join("socket") }
    }

    /// Listens at `socket` and writes down where that is.
    ///
    /// # Errors
    ///
    /// If either cannot be done.
    pub(super) fn listen(&self, socket: &Path) -> Result<UnixListener> {
        let listener = UnixListener::bind(socket).context("listen for orders")?;
        std::fs::write(&self.file, socket.to_string_lossy().as_bytes())
            .with_context(|| format!("write {}", self.file.display()))?;
        Ok(listener)
    }

    pub(super) fn forget(&self) {
        // One that stays behind leads nowhere and is taken for none.
        let _ = std::fs::remove_file(&self.file);
    }

    /// Whether a cluster runs.
    pub(super) fn is_served(&self) -> bool {
        self.connect().is_ok()
    }

    /// Has the running cluster carry out an order and returns what it says.
    ///
    /// # Errors
    ///
    /// If none runs, or the order fails.
    pub(super) fn tell(&self, order: &str) -> Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(order.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut reply = BufReader::new(stream);
        let (mut first, mut rest) = (String::new(), String::new());
        reply.read_line(&mut first).context("the cluster does not answer")?;
        reply.read_to_string(&mut rest).context("the cluster does not answer")?;
        match first.trim() {
            DONE => Ok(rest),
            FAILED => bail!("{}", rest.trim()),
            _ => bail!("the cluster ended before it answered"),
        }
    }

    fn connect(&self) -> Result<UnixStream> {
        let none = "no cluster runs; `cargo xtask cluster` starts one";
        let socket = std::fs::read_to_string(&self.file).context(none)?;
        UnixStream::connect(socket.trim()).context(none)
    }
}

/// The reply to an order, as it goes over the socket.
pub(super) fn reply(result: &Result<String>) -> String {
    match result {
        Ok(text) => format!("{DONE}\n{text}"),
        Err(error) => format!("{FAILED}\n{error:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_order_goes_there_and_its_reply_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::new(directory.path());
        assert!(!control.is_served());
        assert!(control.tell("status").unwrap_err().to_string().contains("no cluster runs"));
        let listener = control.listen(&directory.path().join("control")).unwrap();
        let server = tokio::spawn(async move {
            for result in [Ok("all is well\n".to_owned()), Err(anyhow::anyhow!("no node 7"))] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut order = String::new();
                stream.read_to_string(&mut order).await.unwrap();
                assert_eq!(order, "status");
                stream.write_all(reply(&result).as_bytes()).await.unwrap();
            }
        });
        let replies = tokio::task::spawn_blocking(move || {
            let replies = (control.tell("status"), control.tell("status"));
            control.forget();
            (replies, control.is_served())
        });
        let ((good, bad), is_served) = replies.await.unwrap();
        assert_eq!(good.unwrap(), "all is well\n");
        assert_eq!(bad.unwrap_err().to_string(), "no node 7");
        assert!(!is_served);
        server.await.unwrap();
    }
}
