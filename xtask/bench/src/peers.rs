//! Servers of others that the benchmark can install and start by itself.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::grpc;
use super::process::Server;
use super::wire::Connection;

const RNACOS_VERSION: &str = "0.8.8";
/// Some of its first starts never get ready; then another one is tried.
const ATTEMPTS: usize = 5;
const START: Duration = Duration::from_secs(15);
/// So that nothing expires during a run: it does not read the time-outs of the instances.
const NEVER_S: &str = "86400";

/// Builds r-nacos below `target/peers`, or finds it there.
pub(super) fn install_rnacos(repository: &Path) -> Result<PathBuf> {
    let root = repository.join("target/peers");
    let program = root.join("bin/rnacos");
    if program.exists() {
        return Ok(program);
    }
    eprintln!("installing r-nacos {RNACOS_VERSION}: this takes some minutes, once");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["install", "rnacos", "--version", RNACOS_VERSION, "--locked", "--root"])
        .arg(&root)
        // Settings of this repository's build are not meant for it.
        .current_dir(std::env::temp_dir())
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "r-nacos does not build");
    Ok(program)
}

/// Starts one node with empty data and waits until it takes a registration.
pub(super) async fn start_rnacos(program: &Path) -> Result<(Server, tempfile::TempDir)> {
    for _ in 0..ATTEMPTS {
        let data = tempfile::tempdir()?;
        let mut server = spawn(program, data.path())?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline && server.check_alive().is_ok() {
            if is_ready(server.address).await.unwrap_or(false) {
                return Ok((server, data));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    bail!("r-nacos does not get ready")
}

fn spawn(program: &Path, data: &Path) -> Result<Server> {
    // It cannot be told to take any free port, so three are looked for and let go again.
    let main = grpc::free_port()?;
    let console = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let ports = [main, main + 1_000, console];
    let child = Command::new(program)
        .current_dir(data)
        .env("RNACOS_DATA_DIR", data)
        .env("RNACOS_SDK_HOST", "127.0.0.1")
        .env("RNACOS_HTTP_PORT", ports[0].to_string())
        .env("RNACOS_GRPC_PORT", ports[1].to_string())
        .env("RNACOS_HTTP_CONSOLE_PORT", ports[2].to_string())
        .env("RNACOS_NAMING_HEALTH_TIMEOUT_SECOND", NEVER_S)
        .env("RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND", NEVER_S)
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    Ok(Server::adopt(child, SocketAddr::from(([127, 0, 0, 1], ports[0]))))
}

async fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut connection = Connection::open(address).await?;
    let request =
        b"POST /nacos/v1/ns/instance?serviceName=bench.ready&ip=10.255.0.1&port=1 HTTP/1.1\
                    \r\nHost: bench\r\n\r\n";
    connection.send(request).await?;
    let reply = connection.receive(|status, _, body| status == 200 && body == b"ok");
    tokio::time::timeout(Duration::from_secs(2), reply).await?
}
