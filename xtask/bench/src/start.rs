//! Building and starting the two servers, and the one conversation that makes them answer alike.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::process::Server;
use super::request::{Kind, Load};
use super::static_server::FixedReply;
use super::wire::{Connection, headers, is_expected, unexpected};

/// How long the server may take from listening to its first good answer.
const START: Duration = Duration::from_secs(60);

/// Lists that a yardstick keeps apart, at most: more than a cache holds.
const MOST_COPIES: u64 = 1_000;

/// Builds the server for release.
pub(super) fn build(repository: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "naming-server"])
        .current_dir(repository)
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "the server does not build");
    Ok(())
}

/// The release build of the server lies beside this program, itself a release build by now.
pub(super) fn built_server() -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking where this program lies")?;
    Ok(own.with_file_name("naming-server"))
}

/// Starts the registry on a free port of the loopback interface and waits until it serves
/// reads. `settings` are `KEY=VALUE`.
pub(super) async fn start_server(program: &Path, settings: &[&str]) -> Result<Server> {
    let mut command = Command::new(program);
    command.arg("--in-memory").args(settings.iter().flat_map(|setting| ["--set", setting]));
    start_with(command).await
}

/// The same with its data in a folder.
pub(super) async fn start_server_on_disk(program: &Path, folder: &Path) -> Result<Server> {
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(folder);
    start_with(command).await
}

async fn start_with(mut command: Command) -> Result<Server> {
    command.args(["--bind", "127.0.0.1", "--port", "0", "--set", "log.level=warn"]);
    let mut server = Server::start(&mut command, "", address_in_banner).await?;
    wait_until_ready(&mut server).await?;
    Ok(server)
}

/// Waits until a server answers reads.
pub(super) async fn wait_until_ready(server: &mut Server) -> Result<()> {
    let deadline = Instant::now() + START;
    while let Err(error) = ask_for_nothing(server.address).await {
        server.check_alive()?;
        ensure!(Instant::now() < deadline, "the server does not get ready: {error:#}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The banner names the address with the port that was free.
pub(super) fn address_in_banner(line: &str) -> Option<SocketAddr> {
    line.split_once("listening on ")?.1.trim_end_matches(')').parse().ok()
}

/// A service that nobody registered is an empty list once the server serves reads.
async fn ask_for_nothing(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let request = b"GET /nacos/v1/ns/instance/list?serviceName=bench.nothing HTTP/1.1\r\n\
                    Host: bench\r\n\r\n";
    connection.send(request).await?;
    let judge =
        |status, _: &[u8], body: &[u8]| (status, is_expected(status, body, b"\"hosts\":[]"));
    match connection.receive(judge).await? {
        (_, true) => Ok(()),
        (status, false) => bail!("answers {status} when asked for an empty list"),
    }
}

/// What `server` answers to the first request of each kind in `loads`.
pub(super) async fn probe_all(server: SocketAddr, loads: &[Load]) -> Result<Vec<FixedReply>> {
    let mut replies = Vec::new();
    for load in loads {
        for number in load.first_of_each_kind() {
            replies.push(probe(server, load, number).await?);
        }
    }
    Ok(replies)
}

/// Starts a yardstick that answers `replies`, whatever is asked.
pub(super) async fn start_fixed(replies: &[FixedReply], epoll: bool) -> Result<Server> {
    let own = std::env::current_exe().context("asking where this program lies")?;
    let mut line = serde_json::to_string(&replies)?;
    line.push('\n');
    let mut command = Command::new(own);
    command.arg("static-server").args(epoll.then_some("--epoll"));
    // The handle keeps its input open; when this program ends, however, the child ends too.
    Server::start(&mut command, &line, |line| line.parse().ok()).await
}

/// Asks one request and keeps the reply, without the headers that hyper adds by itself.
async fn probe(address: SocketAddr, load: &Load, number: u64) -> Result<FixedReply> {
    let kind = load.kind(number);
    const ADDED_BY_HYPER: [&str; 3] = ["content-length", "date", "connection"];
    let mut request = Vec::new();
    load.write(number, &mut request);
    let mut connection = Connection::open(address).await?;
    connection.send(&request).await?;
    let keep = |status, head: &[u8], body: &[u8]| {
        ensure!(is_expected(status, body, kind.expected()), unexpected(status, body));
        let own = headers(head)
            .filter(|(name, _)| !ADDED_BY_HYPER.contains(&name.to_ascii_lowercase().as_str()));
        Ok(FixedReply {
            method: kind.method().to_owned(),
            path: kind.path().to_owned(),
            headers: own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: String::from_utf8_lossy(body).into_owned(),
            copies: match kind {
                Kind::List => load.population.services.min(MOST_COPIES) as usize,
                _ => 1,
            },
        })
    };
    connection.receive(keep).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_the_address() {
        let line = "serving  http://127.0.0.1:4/nacos  (listening on 127.0.0.1:4)";
        assert_eq!(address_in_banner(line), Some(SocketAddr::from(([127, 0, 0, 1], 4))));
        assert_eq!(address_in_banner("data     in memory only"), None);
    }
}
