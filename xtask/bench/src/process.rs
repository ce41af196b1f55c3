//! The two servers under measurement: started, watched through `/proc`, stopped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it says where it listens.
const START: Duration = Duration::from_secs(20);

/// Processor time, exact in all and in hundredths of a second for the part outside of the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuTime {
    pub(super) total: Duration,
    pub(super) user: Duration,
}

/// A server to measure. One that was started ends with this handle, a foreign one does not.
pub(super) struct Server {
    /// `None` of a foreign one.
    child: Option<Child>,
    id: u32,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts a server that is told `input` and prints its address in a line that `find` knows.
    pub(super) async fn start(
        command: &mut Command,
        input: &str,
        find: fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        // From here on the child ends with the handle, whatever fails.
        let mut server = Self::adopt(child, SocketAddr::from(([127, 0, 0, 1], 0)));
        let child = server.child.as_mut().context("it was started here")?;
        let output = child.stdout.take().context("its output was asked for")?;
        let found = tokio::task::spawn_blocking(move || {
            BufReader::new(output).lines().map_while(Result::ok).find_map(|line| find(&line))
        });
        let target = child.stdin.as_mut().context("its input was asked for")?;
        // A server that takes no input may be gone or not listening: its output tells.
        let _ = target.write_all(input.as_bytes());
        let found = tokio::time::timeout(START, found).await;
        let found = found.context("a server does not say where it listens")??;
        server.address = found.context("a server ended without saying where it listens")?;
        Ok(server)
    }

    /// Takes over a child that is already running.
    pub(super) fn adopt(child: Child, address: SocketAddr) -> Self {
        let id = child.id();
        Self { child: Some(child), id, address }
    }

    /// Watches a process that somebody else started.
    pub(super) fn foreign(id: u32, address: SocketAddr) -> Result<Self> {
        let server = Self { child: None, id, address };
        server.cpu_time().with_context(|| format!("watching process {id}"))?;
        Ok(server)
    }

    /// Fails once the process has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        let status = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        if let Some(status) = status {
            bail!("the server ended by itself: {status}");
        }
        self.resident_bytes().map(|_| ())
    }

    /// Asks a server that was started here to end, as an operator does, and waits for it.
    pub(super) fn stop(mut self) -> Result<()> {
        let child = self.child.as_mut().context("it was started here")?;
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let status = child.wait()?;
        ensure!(status.success(), "the server did not end well: {status}");
        Ok(())
    }

    /// Ends a server that was started here, at once.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill and only to reap.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Processor time used so far by all threads.
    pub(super) fn cpu_time(&self) -> Result<CpuTime> {
        let folder = format!("/proc/{}", self.id);
        let mut total = 0;
        for task in fs::read_dir(format!("{folder}/task"))? {
            // A thread may end between the listing and the reading.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                total += nanoseconds_on_cpu(&text).context("schedstat starts with nanoseconds")?;
            }
        }
        let user = user_time_in(&fs::read_to_string(format!("{folder}/stat"))?);
        let user = user.context("the stat of a process states its user time")?;
        Ok(CpuTime { total: Duration::from_nanos(total), user })
    }

    /// Memory that is resident now, in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        bytes_in(&text, "VmRSS:").context("the status of a process states VmRSS")
    }

    /// The most memory that was ever resident, in bytes.
    pub(super) fn peak_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        bytes_in(&text, "VmHWM:").context("the status of a process states VmHWM")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn nanoseconds_on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The name of a process may hold anything, so the fields are counted from its closing bracket.
fn user_time_in(stat: &str) -> Option<Duration> {
    const TICK_MS: u64 = 10;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(11)?.parse().ok()?;
    Some(Duration::from_millis(ticks * TICK_MS))
}

fn bytes_in(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_texts_are_understood() {
        assert_eq!(nanoseconds_on_cpu("123456 789 10\n"), Some(123_456));
        assert_eq!(nanoseconds_on_cpu(""), None);
        let stat = "1 (a) b) S 2 3 4 5 6 7 8 9 10 11 123 14 15";
        assert_eq!(user_time_in(stat), Some(Duration::from_millis(1_230)));
        assert_eq!(bytes_in("Name:\tx\nVmRSS:\t     20 kB\n", "VmRSS:"), Some(20_480));
        assert_eq!(bytes_in("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn a_child_is_watched_and_ends_with_its_handle() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut server = Server::adopt(child, address);
        server.check_alive().unwrap();
        assert!(server.resident_bytes().unwrap() > 0);
        server.cpu_time().unwrap();
        let path = format!("/proc/{}", server.id);
        drop(server);
        assert!(!std::path::Path::new(&path).exists());
    }

    fn parse(line: &str) -> Option<SocketAddr> {
        line.parse().ok()
    }

    #[tokio::test]
    async fn the_address_is_taken_from_what_the_server_prints() {
        // It prints what it is told, as a server prints its banner.
        let start = Server::start(&mut Command::new("cat"), "banner\n127.0.0.1:7\n", parse).await;
        assert_eq!(start.unwrap().address, SocketAddr::from(([127, 0, 0, 1], 7)));
        assert!(Server::start(&mut Command::new("true"), "", parse).await.is_err());
    }
}
