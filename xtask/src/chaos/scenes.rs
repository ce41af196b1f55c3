//! The longer faults, step by step.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::judge::Sides;
use super::load::Crowd;
use super::network::PORT;
use super::rotation::Whose;
use super::rows::NODES;
use super::stage::Stage;

/// The node that is cut off.
const ALONE: usize = 0;
/// How often a node is frozen.
const PAUSES: usize = 20;

/// Seven minutes: longer than expired instances can be revived, and than empty services are listed.
/// The clients of the first `services` services are on the side of the node that is cut off.
pub(super) async fn long_cut(stage: &mut Stage<'_>, services: usize) -> Result<()> {
    stage.split(Sides { alone: ALONE, services }).await?;
    stage.wait(420).await;
    stage.mend().await
}

/// What is replaced while a node is cut off must not come back from it.
pub(super) async fn crowded_slot(stage: &mut Stage<'_>) -> Result<()> {
    const WATCHED: Duration = Duration::from_secs(33);
    let crowd = Crowd::gather(&stage.load, stage.nodes()).await?;
    stage.split(Sides { alone: ALONE, services: 0 }).await?;
    stage.wait(5).await;
    crowd.replace().await?;
    // So long that nothing is remembered that counts for a moment only.
    stage.wait(20).await;
    stage.mend().await?;
    // Beside everything else that is watched after the heal.
    let nodes = stage.nodes().to_vec();
    tokio::task::spawn_local(async move { crowd.watch(&nodes, WATCHED).await });
    Ok(())
}

pub(super) async fn short_cut(stage: &mut Stage<'_>) -> Result<()> {
    let size = stage.load.size();
    let count = size.services * size.per_service;
    // Of each ten instances number 3 dies, and some with number 5 or 7 deregister.
    let leaving = |number: usize| (number..count).step_by(count / 15).map(|id| id - id % 10);
    stage.isolate(ALONE).await?;
    stage.wait(5).await;
    stage.load.deregister(leaving(0).map(|id| id + 5)).await;
    stage.wait(13).await;
    stage.load.let_die((3..count).step_by(10));
    stage.wait(7).await;
    stage.load.deregister(leaving(0).map(|id| id + 7)).await;
    stage.wait(8).await;
    stage.mend().await
}

/// To this release, and back: each time with members of both for a while.
pub(super) async fn rolling_upgrade(stage: &mut Stage<'_>) -> Result<()> {
    for is_old in [false, true] {
        for node in 0..NODES {
            stage.wait(8).await;
            stage.leave(node).await?;
            stage.set_old(node, is_old);
            stage.start(node).await?;
            stage.wait_until_ready(node).await?;
        }
    }
    Ok(())
}

/// By the steps of `docs/operations.md` and `docs/tls.md`.
pub(super) async fn rotation(stage: &mut Stage<'_>) -> Result<()> {
    // Files are looked at each second, and believed at second sight.
    const READ: u64 = 4;
    let keys = stage.keys()?;
    let clients = |generation| keys.check_clients(generation, PORT);
    clients(1).await?;
    stage.say("a new secret on each node, one after the other");
    for node in keys.nodes() {
        keys.change_secret(node, 2)?;
        stage.wait(2).await;
    }
    stage.wait(READ).await;
    stage.say("the previous secret is gone");
    keys.nodes().try_for_each(|node| keys.forget_previous(node))?;
    stage.wait(READ).await;
    stage.say("members trust another authority, too");
    keys.make_authority(Whose::Members, 2).await?;
    keys.trust(&[1, 2])?;
    stage.wait(READ).await;
    stage.say("members have certificates of that");
    keys.certify(Whose::Members, 2).await?;
    stage.wait(READ).await;
    stage.say("members trust the first authority no more");
    keys.trust(&[2])?;
    stage.wait(READ).await;
    stage.say("another authority and certificate for clients");
    keys.make_authority(Whose::Clients, 2).await?;
    keys.certify(Whose::Clients, 2).await?;
    stage.wait(READ).await;
    clients(2).await?;
    ensure!(clients(1).await.is_err(), "the first certificate is still shown");
    stage.check_handshakes().await
}

pub(super) async fn pause_many(stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..PAUSES {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(3_000..12_000))).await;
        let node = fastrand::usize(..NODES);
        stage.pause(node).await?;
        stage.wait(60).await;
        stage.resume(node).await?;
    }
    Ok(())
}
