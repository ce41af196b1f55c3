//! The longer faults, step by step.

use std::time::Duration;

use anyhow::Result;

use super::judge::Sides;
use super::load::Crowd;
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
