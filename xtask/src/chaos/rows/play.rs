//! What is done in each row.

use anyhow::Result;

use super::{MOST_NODES, NODES, Row};
use crate::chaos::stage::Stage;
use crate::chaos::{scenes, streams};

impl Row {
    /// Plays the fault and ends with its heal: how long the nodes take to agree is measured from
    /// there, and whoever waited here would look too late. `is_quick` shortens rows that have a short
    /// form.
    pub(in crate::chaos) async fn play(self, stage: &mut Stage<'_>, is_quick: bool) -> Result<()> {
        match self {
            Self::Quiet => stage.wait(30).await,
            Self::Kill => {
                if !is_quick {
                    stage.grow_old().await;
                }
                stage.kill(1).await?;
                stage.wait(if is_quick { 20 } else { 40 }).await;
                restart(stage, &[1]).await?;
            }
            Self::Pause => {
                stage.grow_old().await;
                stage.pause(1).await?;
                stage.wait(60).await;
                stage.resume(1).await?;
            }
            Self::Cut => {
                stage.grow_old().await;
                cut_for_a_minute(stage, &[(0, 1), (1, 0), (0, 2), (2, 0)]).await?;
            }
            Self::OneWay => cut_for_a_minute(stage, &[(0, 1), (0, 2)]).await?,
            Self::Chain => cut_for_a_minute(stage, &[(0, 2), (2, 0)]).await?,
            Self::KillTwo => {
                stage.kill(1).await?;
                stage.kill(2).await?;
                stage.wait(40).await;
                restart(stage, &[1, 2]).await?;
            }
            Self::Rolling => rolling(stage).await?,
            Self::Flap => {
                for _ in 0..6 {
                    stage.wait(3).await;
                    stage.kill(1).await?;
                    stage.wait(2).await;
                    restart(stage, &[1]).await?;
                }
            }
            Self::Scale | Self::DnsScaling => scale(stage).await?,
            Self::RestartAll => {
                for node in 0..NODES {
                    stage.kill(node).await?;
                }
                restart(stage, &[0, 1, 2]).await?;
            }
            Self::DeathsInCut => {
                stage.cut(&[(0, 1), (1, 0), (0, 2), (2, 0)]).await?;
                stage.wait(10).await;
                let size = stage.load.size();
                stage.load.let_die((0..size.services * size.per_service).step_by(3));
                stage.wait(50).await;
                stage.mend().await?;
            }
            Self::FreezeDeregister => {
                stage.pause(1).await?;
                stage.wait(2).await;
                let size = stage.load.size();
                let step = size.services * size.per_service / 15;
                let ids = (0..15).map(|number| number * step + number % size.per_service);
                stage.load.deregister(ids).await;
                stage.wait(20).await;
                stage.resume(1).await?;
            }
            Self::OwnerKilled => {
                stage.kill(1).await?;
                let size = stage.load.size();
                stage.load.let_die(
                    (0..size.services)
                        .map(|service| service * size.per_service + service % size.per_service),
                );
                stage.wait(60).await;
                restart(stage, &[1]).await?;
            }
            Self::MajorityDiskLost => {
                stage.wait(10).await;
                hurry(stage).await;
                stage.lose(1).await?;
                stage.load.hurry(false);
                stage.wait(30).await;
                restart(stage, &[1]).await?;
            }
            Self::MajorityGone => {
                stage.wait(10).await;
                hurry(stage).await;
                // As when a machine dies bit by bit: what it takes now, nobody else has.
                stage.isolate(1).await?;
                stage.wait(1).await;
                stage.lose(1).await?;
                stage.load.hurry(false);
                stage.mend().await?;
                stage.wait(30).await;
                stage.give_up(1);
            }
            Self::MajorityEach => {
                for node in 0..NODES {
                    stage.wait(5).await;
                    hurry(stage).await;
                    stage.kill(node).await?;
                    stage.wait(1).await;
                    stage.load.hurry(false);
                    stage.wait(7).await;
                    restart(stage, &[node]).await?;
                }
            }
            Self::MajorityCut => {
                stage.isolate(0).await?;
                stage.wait(60).await;
                stage.mend().await?;
            }
            Self::LongCutMajority => scenes::long_cut(stage, 0).await?,
            Self::LongCutBoth => {
                scenes::long_cut(stage, stage.load.size().services / 2).await?;
            }
            Self::JoinOmitted => {
                stage.wait(5).await;
                stage.add_amid_omissions().await?;
            }
            Self::CrowdedSlot => scenes::crowded_slot(stage).await?,
            Self::ShortCut => scenes::short_cut(stage).await?,
            Self::PauseMany => scenes::pause_many(stage).await?,
            Self::HalfOpen => streams::half_open(stage).await?,
            Self::ResetBetween => streams::reset_between(stage).await?,
            Self::MassReconnect => streams::mass_reconnect(stage, is_quick).await?,
            Self::Rebalance => {
                rolling(stage).await?;
                streams::watch_shares(stage);
            }
            Self::RollingUpgrade => scenes::rolling_upgrade(stage).await?,
            Self::Rotation => {
                scenes::rotation(stage).await?;
                stage.kill(1).await?;
                stage.wait(5).await;
                restart(stage, &[1]).await?;
            }
            Self::SlowReader => streams::slow_reader(stage).await?,
        }
        Ok(())
    }
}

/// Has durable records written as fast as can be, for a second and until told otherwise.
async fn hurry(stage: &Stage<'_>) {
    stage.load.hurry(true);
    stage.wait(1).await;
}

async fn rolling(stage: &mut Stage<'_>) -> Result<()> {
    for node in 0..NODES {
        stage.wait(5).await;
        stage.leave(node).await?;
        restart(stage, &[node]).await?;
    }
    Ok(())
}

async fn restart(stage: &mut Stage<'_>, nodes: &[usize]) -> Result<()> {
    for &node in nodes {
        stage.start(node).await?;
    }
    for &node in nodes {
        stage.wait_until_ready(node).await?;
    }
    Ok(())
}

async fn cut_for_a_minute(stage: &mut Stage<'_>, pairs: &[(usize, usize)]) -> Result<()> {
    stage.cut(pairs).await?;
    stage.wait(60).await;
    stage.mend().await
}

async fn scale(stage: &mut Stage<'_>) -> Result<()> {
    for _ in NODES..MOST_NODES {
        stage.wait(10).await;
        stage.add().await?;
    }
    stage.wait(10).await;
    for node in (NODES..MOST_NODES).rev() {
        stage.wait(10).await;
        stage.remove(node).await?;
    }
    Ok(())
}
