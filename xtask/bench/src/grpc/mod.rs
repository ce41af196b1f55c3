//! The same over gRPC: connections and requests as the SDKs of 2.x and 3.x make them.
//!
//! The yardstick is bare h2: the crate under this server, with the same bytes for an answer and
//! nothing else. It stands for what HTTP/2 and the kernel cost.

mod fan_out;
pub mod fixed;
mod fleet;
mod idle;
mod loops;
mod push;
mod requests;

pub(super) use fan_out::run as fan_out;
pub(super) use idle::run as idle;
pub(super) use loops::{Plan, churn, closed};
pub(super) use push::run as push;
pub(super) use requests::Kind;

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};

use super::Bench;
use super::contender::{Contender, own};

/// Where SDKs look for gRPC, from the main port.
const OFFSET: u16 = 1_000;
const TRIES: usize = 50;
/// The application that the clients say they are.
const APP: &str = "bench";

/// This server on a port that has its port for gRPC free.
async fn start_own(bench: &Bench, settings: &[&str]) -> Result<Contender> {
    let port = format!("port={}", free_port()?);
    let mut all = vec![&*port];
    all.extend_from_slice(settings);
    own(bench, &all).await
}

/// The port for gRPC of a server that speaks HTTP at `main`.
fn beside(main: SocketAddr) -> SocketAddr {
    SocketAddr::new(main.ip(), main.port().saturating_add(OFFSET))
}

/// A port that nobody listens on, nor on the one for gRPC.
pub(super) fn free_port() -> Result<u16> {
    for _ in 0..TRIES {
        let main = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let above = main.port().checked_add(OFFSET);
        if above.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(main.port());
        }
    }
    None.context("no free port with a free one 1,000 above it")
}
