//! Several members: what replication costs and how late it is, and how a new member loads.
//!
//! ```text
//! load ──► member ──► proxy of each other member ──► that member
//!                     (counts bytes)
//! ```
//!
//! Each member is known to the others by the address of a proxy, so that their traffic, and only
//! theirs, is counted. Members with a disk are known by their own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Bench;
use super::asking::Counts;
use super::process::Server;
use super::start::{address_in_banner, wait_until_ready};

/// Members, some of them running.
pub(super) struct Cluster {
    pub(super) members: Vec<Option<Server>>,
    ports: Vec<u16>,
    advertised: Vec<SocketAddr>,
    bytes: Arc<AtomicU64>,
    folder: tempfile::TempDir,
    /// Where the data goes; in memory without it.
    data: Option<PathBuf>,
    /// Of every member, as `KEY=VALUE`.
    settings: Vec<String>,
}

impl Cluster {
    /// So many addresses and their proxies; nobody runs yet.
    pub(super) fn prepare(members: usize) -> Result<Self> {
        let (ports, bytes) = (ports(members)?, Arc::new(AtomicU64::new(0)));
        let proxies: Result<Vec<_>> = ports.iter().map(|port| proxy(*port, &bytes)).collect();
        Self::known_as(ports, proxies?, bytes)
    }

    /// Three addresses without proxies, of members that have their data in `data`.
    pub(super) fn prepare_on_disk(data: &Path, settings: Vec<String>) -> Result<Self> {
        let ports = ports(3)?;
        let own = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        let cluster = Self::known_as(ports, own, Arc::default())?;
        Ok(Self { data: Some(data.to_owned()), settings, ..cluster })
    }

    fn known_as(
        ports: Vec<u16>,
        advertised: Vec<SocketAddr>,
        bytes: Arc<AtomicU64>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("secret"), "bench".repeat(10))?;
        let members = ports.iter().map(|_| None).collect();
        let (data, settings) = (None, Vec::new());
        Ok(Self { members, ports, advertised, bytes, folder, data, settings })
    }

    /// Starts a member; it may have to wait for others before it is ready.
    pub(super) async fn start(&mut self, bench: &Bench, member: usize) -> Result<()> {
        let secret = self.folder.path().join("secret");
        let members: Vec<String> = self.advertised.iter().map(ToString::to_string).collect();
        let mut command = command(&bench.program, &secret);
        command
            .args(["--port", &self.ports[member].to_string()])
            .args(["--members", &members.join(",")])
            .args(["--advertise", &members[member]])
            .args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        match &self.data {
            Some(data) => command.arg("--data-dir").arg(data.join(member.to_string())),
            None => command.arg("--in-memory"),
        };
        self.members[member] = Some(Server::start(&mut command, "", address_in_banner).await?);
        Ok(())
    }

    /// Waits until a member that was started serves reads.
    pub(super) async fn wait_until_ready(&mut self, member: usize) -> Result<()> {
        wait_until_ready(self.running(member)?).await
    }

    pub(super) fn running(&mut self, member: usize) -> Result<&mut Server> {
        self.members[member].as_mut().context("this member was started")
    }

    /// Processor time that all members used so far; they must all run.
    pub(super) fn cpu_time(&mut self) -> Result<Duration> {
        let all = 0..self.members.len();
        all.map(|member| Ok(self.running(member)?.cpu_time()?.total)).sum()
    }

    /// Bytes that members sent to each other so far, in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until a member holds that many instances.
    pub(super) async fn wait_for_instances(
        &mut self,
        member: usize,
        wanted: u64,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        let server = self.running(member)?;
        loop {
            server.check_alive()?;
            let held = match Counts::ask(server.address).await {
                Ok(counts) => counts.value("naming_instances")?,
                // Not ready to say.
                Err(_) => 0.0,
            };
            if held >= wanted as f64 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "holds {held} of {wanted} instances");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Ports that are free now.
fn ports(count: usize) -> Result<Vec<u16>> {
    let held: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    held?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn command(program: &Path, secret: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1"]);
    command.args(["--set", "log.level=error", "--secret-file"]);
    command.arg(secret);
    command
}

/// A thread that passes on every connection to `port` and counts the bytes.
fn proxy(port: u16, bytes: &Arc<AtomicU64>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let bytes = Arc::clone(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, port, Arc::clone(&bytes)));
            }
        });
    });
    Ok(address)
}

async fn pass_on(source: TcpStream, port: u16, bytes: Arc<AtomicU64>) {
    // Nobody listens yet: the member that tries finds its connection closed.
    let Ok(target) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (source.set_nodelay(true), target.set_nodelay(true));
    let (source_read, source_write) = source.into_split();
    let (target_read, target_write) = target.into_split();
    let there = copy(source_read, target_write, &bytes);
    let back = copy(target_read, source_write, &bytes);
    tokio::join!(there, back);
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &AtomicU64,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(read) if read > 0 => {
                bytes.fetch_add(read as u64, Ordering::Relaxed);
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            _ => {
                // The other direction may go on.
                let _ = to.shutdown().await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxy_counts_both_directions() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bytes = Arc::new(AtomicU64::new(0));
        let address = proxy(port, &bytes).unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"there").await.unwrap();
        let mut buffer = [0; 5];
        server.read_exact(&mut buffer).await.unwrap();
        server.write_all(b"back").await.unwrap();
        client.read_exact(&mut buffer[..4]).await.unwrap();
        assert_eq!((&buffer[..4], bytes.load(Ordering::Relaxed)), (&b"back"[..], 9));
    }
}
