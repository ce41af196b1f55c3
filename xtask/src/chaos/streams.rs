//! Faults of connections over gRPC, step by step.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::load::fleet::{self, Fleet};
use super::load::{deaf, fetch_text};
use super::rows::NODES;
use super::stage::Stage;

/// How often something between resets all connections.
const RESETS: usize = 3;
/// Connections that lose their node at once.
const FLEET: usize = 10_000;
const QUICK_FLEET: usize = 500;
/// So long after the loss of a node all of them have registered at another one.
const BACK: Duration = Duration::from_secs(10);
const CONNECTED: Duration = Duration::from_secs(120);
/// No node may hold more than so many times the mean.
const SHARE: f64 = 1.25;
/// Nobody is sent away for fewer than these.
const FEW: f64 = 20.0;
/// Since no node is asked to share before another has been there for 30 s, and then 20 a second go.
const SHARED: Duration = Duration::from_secs(80);
const CONNECTIONS: &str = "naming_grpc_connections ";

pub(super) async fn half_open(stage: &mut Stage<'_>) -> Result<()> {
    stage.wait(5).await;
    stage.stall_between(0.5);
    // Without a word that gets through, where their connections are among those.
    let size = stage.load.size();
    let ids =
        (0..size.services).map(|service| service * size.per_service + service % size.per_service);
    stage.load.let_die(ids);
    stage.wait(10).await;
    stage.stall_between(0.25);
    Ok(())
}

pub(super) async fn reset_between(stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..RESETS {
        stage.wait(12).await;
        stage.reset_between();
    }
    Ok(())
}

pub(super) async fn mass_reconnect(stage: &mut Stage<'_>, is_quick: bool) -> Result<()> {
    const LOST: usize = NODES - 1;
    let clients = if is_quick { QUICK_FLEET } else { FLEET };
    let fleet = Fleet::start(&stage.load, LOST, clients)?;
    let deadline = Instant::now() + CONNECTED;
    while fleet.registered(|node| node == LOST) < clients {
        ensure!(Instant::now() < deadline, "not all clients of the fleet get connected");
        sleep(Duration::from_secs(3)).await;
        stage.say(&format!("{} of {clients} registered", fleet.registered(|_| true)));
    }
    fleet.wait_until_listed(&stage.load, stage.nodes()).await?;
    stage.wait(5).await;
    let survivors: Vec<_> = stage.nodes().iter().copied().filter(|node| *node != LOST).collect();
    let watched = fleet::watch(&stage.load, &fleet, survivors);
    let begun = Instant::now();
    stage.kill(LOST).await?;
    while fleet.registered(|node| node != LOST) < clients && begun.elapsed() < BACK * 3 {
        sleep(Duration::from_millis(50)).await;
    }
    let back = fleet.registered(|node| node != LOST);
    let took = begun.elapsed();
    stage.note(format!("{back} of {clients} clients back after {:.1} s", took.as_secs_f64()));
    stage.wait(30).await;
    stage.start(LOST).await?;
    stage.wait_until_ready(LOST).await?;
    stage.keep(fleet, watched);
    ensure!(back == clients && took <= BACK, "the clients were not back within {BACK:?}");
    Ok(())
}

/// Looks on, beside what else is watched after the heal, how many connections each node has.
pub(super) fn watch_shares(stage: &mut Stage<'_>) {
    let (shared, nodes) = (stage.load.shared.clone(), stage.nodes().to_vec());
    let begun = Instant::now();
    stage.afterwards(async move {
        let mut held = Vec::new();
        while begun.elapsed() < SHARED {
            held.clear();
            for &node in &nodes {
                let page = fetch_text(&shared, node, "/metrics").await.unwrap_or_default();
                let line = page.lines().find_map(|line| line.strip_prefix(CONNECTIONS));
                held.push(line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0));
            }
            let mean = held.iter().sum::<f64>() / nodes.len() as f64;
            let (least, most) =
                held.iter().fold((f64::MAX, 0.0_f64), |(a, b), n| (a.min(*n), b.max(*n)));
            if least > 0.0 && (most <= mean * SHARE || most - least < FEW) {
                let seconds = begun.elapsed().as_secs_f64();
                return Ok(format!("connections {held:?} shared out after {seconds:.0} s"));
            }
            sleep(Duration::from_secs(1)).await;
        }
        anyhow::bail!("connections are not shared out: {held:?}")
    });
}

/// Other clients are served as ever, and those that never acknowledge are parted from.
pub(super) async fn slow_reader(stage: &mut Stage<'_>) -> Result<()> {
    let crowd = deaf::Crowd::gather(&stage.load, stage.nodes()).await?;
    stage.wait(60).await;
    let note = crowd.ended()?;
    stage.note(note);
    Ok(())
}
