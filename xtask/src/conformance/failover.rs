//! A Java application with the addresses of three servers, while each of them is killed in turn.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::process::{self, Running};
use super::report::CheckLine;
use super::{Places, install, interrupt, sdk};

/// Long enough for beats, polls and the take-over of what the dead one owned.
const DEAD_FOR: Duration = Duration::from_secs(9);
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Starting and changing a cluster, the build included.
const ORDER_LIMIT: Duration = Duration::from_secs(1_200);
const END_LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What the program says at its end.
const CHECKS: [&str; 3] = ["no-exception", "no-short-list", "no-short-event"];

/// Runs it; the exit code is 1 if a check failed, or nobody could be asked and `CI=true`.
pub(super) fn run(places: &Places) -> Result<ExitCode> {
    let sdks = sdk::select(&["java".to_owned()])?;
    let java = *sdks.first().context("there is no SDK called java")?;
    if let Some(tool) = java.missing_tool() {
        println!("skipped: `{tool}` is not installed");
        return Ok(ExitCode::from(u8::from(super::skip_is_failure())));
    }
    if install(java, places).is_err() {
        bail!("cannot install {}, see {}", java.package, places.directory(java).display());
    }
    let ports = free_ports()?;
    let _cluster = Cluster::start(places, &ports)?;
    let directory = places.work.join("failover");
    // Of the run before.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let (checks, stop) = (directory.join("checks.jsonl"), directory.join("stop"));
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut command = Command::new("java");
    command.arg("-Dfile.encoding=UTF-8");
    command.arg(format!("-Duser.home={}", directory.join("run").display()));
    command.arg("-cp").arg(places.directory(java).join("lib/*"));
    command.arg(places.sources("java/Failover.java"));
    command.arg(addresses.join(",")).arg("failover-").arg(&stop);
    let program = Running::start_logged(&mut command, &checks, &directory.join("run.log"))?;
    wait_until_ready(&checks)?;
    for node in 1..=ports.len() {
        println!("node {node} is killed, and started again after {} s", DEAD_FOR.as_secs());
        order(places, &["kill", &node.to_string()])?;
        pause(DEAD_FOR)?;
        order(places, &["restart", &node.to_string()])?;
        pause(DEAD_FOR / 3)?;
    }
    fs::write(&stop, "")?;
    program.succeed(END_LIMIT).context("the Java program")?;
    report(&checks)
}

fn wait_until_ready(checks: &Path) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !lines(checks).iter().any(|line| line.check == "ready") {
        interrupt::check()?;
        ensure!(
            Instant::now() < deadline,
            "the Java program is not ready, see {}",
            checks.display()
        );
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

fn report(checks: &Path) -> Result<ExitCode> {
    let lines = lines(checks);
    let mut failed = 0;
    for check in CHECKS {
        match lines.iter().find(|line| line.check == check) {
            Some(line) if line.ok => println!("java through kill -9: {check}: {}", line.detail),
            Some(line) => println!("java through kill -9: {check}: FAILED, {}", line.detail),
            None => println!("java through kill -9: {check}: FAILED, not reported"),
        }
        failed += usize::from(!lines.iter().any(|line| line.check == check && line.ok));
    }
    println!("{} passed, {failed} failed", CHECKS.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(checks: &Path) -> Vec<CheckLine> {
    let text = fs::read_to_string(checks).unwrap_or_default();
    text.lines().filter_map(CheckLine::parse).collect()
}

fn pause(length: Duration) -> Result<()> {
    let deadline = Instant::now() + length;
    while Instant::now() < deadline {
        interrupt::check()?;
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// Three ports that are free now. They are fixed, since clients must find a node again.
fn free_ports() -> Result<[u16; 3]> {
    let mut listeners = Vec::new();
    let mut ports = [0; 3];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// A detached `cargo xtask cluster`; stopped on drop.
struct Cluster<'a>(&'a Places);

impl<'a> Cluster<'a> {
    fn start(places: &'a Places, ports: &[u16]) -> Result<Self> {
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let count = ports.len().to_string();
        order(places, &["--nodes", &count, "--ports", &ports.join(","), "--detach"])?;
        Ok(Self(places))
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if let Err(error) = order(self.0, &["stop"]) {
            println!("the cluster could not be stopped: {error:#}");
        }
    }
}

fn order(places: &Places, words: &[&str]) -> Result<()> {
    let own = std::env::current_exe().context("find this program")?;
    let log = places.work.join("cluster.log");
    let mut command = Command::new(own);
    command.arg("cluster").args(words).current_dir(&places.root);
    process::run_logged(&mut command, &log, &log, ORDER_LIMIT)
        .with_context(|| format!("cargo xtask cluster {}", words.join(" ")))
}
