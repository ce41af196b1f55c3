//! Who takes part: this server, the two yardsticks, and any Nacos-compatible server besides.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Bench;
use super::compare::fill;
use super::peers;
use super::process::Server;
use super::request::{Load, Population};
use super::start::{self, start_server};
use super::tally::Tally;

/// What a contender is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// The server of this repository. A wrong reply ends the run.
    Own,
    /// Plain hyper with the same bytes: what all ratios are to.
    Static,
    /// A bare epoll loop with the same bytes.
    Epoll,
    /// Somebody else's server. Wrong replies are counted.
    Peer,
}

/// One of the servers that take turns.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) server: Server,
    /// Why it takes no further part.
    pub(super) failure: Option<String>,
    /// Goes away with it.
    _data: Option<tempfile::TempDir>,
}

impl Contender {
    pub(super) fn new(name: &str, role: Role, server: Server) -> Self {
        Self { name: name.to_owned(), role, server, failure: None, _data: None }
    }

    /// Whether it holds instances, unlike the yardsticks.
    pub(super) fn is_registry(&self) -> bool {
        matches!(self.role, Role::Own | Role::Peer)
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::new(if self.role == Role::Peer { Tally::tolerant() } else { Tally::default() })
    }

    /// Keeps what it did; a peer that failed is out, any other ends the run.
    pub(super) fn judge<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.role == Role::Peer => {
                eprintln!("  {} is out: {error:#}", self.name);
                self.failure = Some(format!("{error:#}"));
                // What it is still busy with would be charged to the others.
                self.server.kill();
                Ok(None)
            }
            Err(error) => Err(error.context(format!("measuring {}", self.name))),
        }
    }
}

/// Starts all of them and fills those that hold instances with `population`. The yardsticks answer
/// each kind of request of `loads` as this server does.
pub(super) async fn line_up(
    bench: &Bench,
    population: Population,
    loads: &[Load],
) -> Result<Vec<Contender>> {
    line_up_with(bench, population, loads, &[Role::Static, Role::Epoll, Role::Peer]).await
}

/// This server alone.
pub(super) async fn own(bench: &Bench, settings: &[&str]) -> Result<Contender> {
    Ok(Contender::new("own", Role::Own, start_server(&bench.program, settings).await?))
}

/// The same with its data in a folder.
pub(super) async fn own_on_disk(bench: &Bench, folder: &Path) -> Result<Contender> {
    let server = start::start_server_on_disk(&bench.program, folder).await?;
    Ok(Contender::new("own", Role::Own, server))
}

/// This server first, then those of the `others`.
pub(super) async fn line_up_with(
    bench: &Bench,
    population: Population,
    loads: &[Load],
    others: &[Role],
) -> Result<Vec<Contender>> {
    let mut own = own(bench, &[]).await?;
    fill(&mut own, population, &bench.arguments).await?;
    let replies = start::probe_all(own.server.address, loads).await?;
    let mut all = vec![own];
    if others.contains(&Role::Static) {
        let server = start::start_fixed(&replies, false).await?;
        all.push(Contender::new("static", Role::Static, server));
    }
    if others.contains(&Role::Epoll) {
        let server = start::start_fixed(&replies, true).await?;
        all.push(Contender::new("epoll", Role::Epoll, server));
    }
    if others.contains(&Role::Peer) {
        all.extend(start_peers(bench).await?);
    }
    for peer in all.iter_mut().filter(|contender| contender.role == Role::Peer) {
        let filled = fill(peer, population, &bench.arguments).await;
        peer.judge(filled)?;
    }
    Ok(all)
}

pub(super) async fn start_peers(bench: &Bench) -> Result<Vec<Contender>> {
    let mut peers = Vec::new();
    for foreign in &bench.arguments.server {
        let server = Server::foreign(foreign.process, foreign.address)?;
        peers.push(Contender::new(&foreign.name, Role::Peer, server));
    }
    if let Some(program) = &bench.rnacos {
        let (server, data) = peers::start_rnacos(program).await?;
        let contender = Contender::new("r-nacos", Role::Peer, server);
        peers.push(Contender { _data: Some(data), ..contender });
    }
    Ok(peers)
}

/// A server that somebody else started: `name=URL@PID`.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    name: String,
    address: SocketAddr,
    process: u32,
}

impl std::str::FromStr for Foreign {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once('=').context("name=URL@PID")?;
        let (url, process) = rest.rsplit_once('@').context("name=URL@PID")?;
        let authority = url.strip_prefix("http://").context("the URL begins with http://")?;
        let (authority, path) = authority.split_once('/').unwrap_or((authority, ""));
        if !matches!(path.trim_end_matches('/'), "" | "nacos") {
            bail!("servers are asked below /nacos, not /{path}");
        }
        let address = authority.parse().context("the URL names an IP address and a port")?;
        let process = process.parse().context("a process id comes last")?;
        Ok(Self { name: name.to_owned(), address, process })
    }
}

/// The program to measure instead of the release build, if one is named.
pub(super) fn program(named: Option<&PathBuf>) -> Result<PathBuf> {
    named.map_or_else(start::built_server, |program| Ok(program.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_servers_are_a_name_an_address_and_a_process() {
        let foreign: Foreign = "java=http://127.0.0.1:8848/nacos@77".parse().unwrap();
        assert_eq!((foreign.name.as_str(), foreign.process), ("java", 77));
        assert_eq!(foreign.address, SocketAddr::from(([127, 0, 0, 1], 8848)));
        for wrong in
            ["http://127.0.0.1:1@7", "a=127.0.0.1:1@7", "a=http://127.0.0.1:1/x@7", "a=b@c"]
        {
            assert!(wrong.parse::<Foreign>().is_err(), "{wrong}");
        }
    }
}
