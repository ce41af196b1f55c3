//! The faults. Each row begins with a fresh cluster that lists everything everywhere, and ends
//! when the nodes agree and whoever is dead should be gone.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::scenes;
use super::stage::Stage;

/// One fault.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// Nothing happens.
    Quiet,
    /// One node is killed and started again 40 s later.
    Kill,
    /// One node is frozen for 60 s.
    Pause,
    /// One node is cut off from both others for 60 s.
    Cut,
    /// What one node sends to the others is lost for 60 s.
    OneWay,
    /// The first and the third node are cut off from each other for 60 s.
    Chain,
    /// Two of three nodes are killed and started again 40 s later.
    KillTwo,
    /// Each node in turn is asked to leave and started again.
    Rolling,
    /// One node is killed and started again six times.
    Flap,
    /// Two nodes join and leave again.
    Scale,
    /// The same, while the list of members comes from service records of a name server, which names
    /// nodes before they serve and forgets them before they leave.
    DnsScaling,
    /// All nodes are killed at once and started again.
    RestartAll,
    /// A third of the instances die while a node is cut off.
    DeathsInCut,
    /// 15 instances deregister while a node is frozen for 25 s.
    FreezeDeregister,
    /// A node is killed, and with it a tenth of the instances die.
    OwnerKilled,
    /// Majority acks: a node is killed, its disk is lost, and an empty one takes its place.
    MajorityDiskLost,
    /// Majority acks: a node is cut off and then killed, its disk is lost, and nobody takes its
    /// place.
    MajorityGone,
    /// Majority acks: each node in turn is killed while durable records are written.
    MajorityEach,
    /// Majority acks: a node that is written to is cut off from both others for 60 s.
    MajorityCut,
    /// One node is cut off from both others for 7 minutes, and all clients speak to those.
    LongCutMajority,
    /// One node is cut off from both others for 7 minutes; half of the services have their clients
    /// on its side, the others on the other side.
    LongCutBoth,
    /// A node joins, and the list of members omits each of the others once while it loads.
    JoinOmitted,
    /// 5,000 instances of one service are replaced within a minute while a node is cut off.
    CrowdedSlot,
    /// One node is cut off for 33 s; instances deregister at nodes chosen at random, and 15 s
    /// before the heal a tenth of all die.
    ShortCut,
    /// A node chosen at random is frozen for 60 s, twenty times, under 100,000 services.
    PauseMany,
}

/// Nodes there are at most in any row.
pub(super) const MOST_NODES: usize = 5;
/// Nodes at the start of each row.
pub(super) const NODES: usize = 3;

impl Row {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Chain => "chain",
            Self::KillTwo => "kill-two",
            Self::Rolling => "rolling",
            Self::Flap => "flap",
            Self::Scale => "scale",
            Self::DnsScaling => "dns-scaling",
            Self::RestartAll => "restart-all",
            Self::DeathsInCut => "deaths-in-cut",
            Self::FreezeDeregister => "freeze-deregister",
            Self::OwnerKilled => "owner-killed",
            Self::MajorityDiskLost => "majority-disk-lost",
            Self::MajorityGone => "majority-gone",
            Self::MajorityEach => "majority-each",
            Self::MajorityCut => "majority-cut",
            Self::LongCutMajority => "long-cut-majority",
            Self::LongCutBoth => "long-cut-both",
            Self::JoinOmitted => "join-omitted",
            Self::CrowdedSlot => "crowded-slot",
            Self::ShortCut => "short-cut",
            Self::PauseMany => "pause-many",
        }
    }

    /// As it stands in the table.
    pub(super) fn title(self, is_quick: bool) -> &'static str {
        match self {
            Self::Kill if is_quick => "kill -9, 20 s, restart, few clients",
            Self::Quiet => "nothing happens, 30 s",
            Self::Kill => "kill -9, 40 s, restart",
            Self::Pause => "SIGSTOP 60 s",
            Self::Cut => "one node cut from both peers, silently, 60 s",
            Self::OneWay => "one node cannot send to the others, 60 s",
            Self::Chain => "A-C cut, B reaches both, 60 s",
            Self::KillTwo => "kill -9 two of three, 40 s, restart",
            Self::Rolling => "rolling restart",
            Self::Flap => "one node killed and restarted six times",
            Self::Scale => "3 to 5 to 3 nodes",
            Self::DnsScaling => "3 to 5 to 3 nodes, found by their names in the DNS",
            Self::RestartAll => "all nodes killed and restarted at once",
            Self::DeathsInCut => "one node cut off 60 s, a third of the instances die",
            Self::FreezeDeregister => "SIGSTOP 25 s, 15 deregistrations meanwhile",
            Self::OwnerKilled => "kill -9, a tenth of the instances die with it, restart",
            Self::MajorityDiskLost => "majority: kill -9, disk lost, 30 s, an empty node",
            Self::MajorityGone => {
                "majority: one node cut off, 1 s, kill -9, disk lost, nobody comes back, 30 s"
            }
            Self::MajorityEach => "majority: kill -9 of each in turn, restart",
            Self::MajorityCut => "majority: one node cut from both peers, 60 s",
            Self::LongCutMajority => "one node cut off 7 min, all clients on the other side",
            Self::LongCutBoth => "one node cut off 7 min, clients on both sides",
            Self::JoinOmitted => "a node joins, its sources are off the list in turn meanwhile",
            Self::CrowdedSlot => "one node cut off, 5,000 instances of a service replaced in 60 s",
            Self::ShortCut => "one node cut off 33 s, deregistrations and deaths meanwhile",
            Self::PauseMany => "SIGSTOP 60 s, twenty times, 100,000 services more",
        }
    }

    pub(super) fn needs_cut(self) -> bool {
        use Row::{Chain, Cut, DeathsInCut, MajorityCut, MajorityGone, OneWay};
        use Row::{CrowdedSlot, JoinOmitted, LongCutBoth, LongCutMajority, ShortCut};
        matches!(self, Cut | OneWay | Chain | DeathsInCut | MajorityGone | MajorityCut)
            || matches!(self, LongCutMajority | LongCutBoth | JoinOmitted | CrowdedSlot | ShortCut)
    }

    /// Whether 100,000 services are there besides, and fewer of the others, since the machine has
    /// to carry both.
    pub(super) fn has_many_services(self) -> bool {
        self == Self::PauseMany
    }

    /// Whether the nodes find each other by names.
    pub(super) fn has_names(self) -> bool {
        self == Self::DnsScaling
    }

    /// Whether many durable records are written besides, each of which must be there in the end.
    pub(super) fn has_many_durable_writes(self) -> bool {
        use Row::{MajorityCut, MajorityDiskLost, MajorityEach, MajorityGone};
        matches!(self, MajorityDiskLost | MajorityGone | MajorityEach | MajorityCut)
    }

    /// Settings of every node in this row.
    pub(super) fn settings(self) -> &'static [&'static str] {
        match self.has_many_durable_writes() {
            // The writers give up after 3 s: the refusal is to come before.
            true => &["durable.acks=majority", "durable.ack_timeout_ms=2000"],
            false => &[],
        }
    }

    /// How long the nodes may take from heal to equal digests: two verify periods where durable
    /// records count.
    pub(super) fn agreement_limit(self) -> Duration {
        Duration::from_secs(if self.has_many_durable_writes() { 6 } else { 10 })
    }

    /// Seconds to watch after the last heal: longer if somebody has died.
    pub(super) fn tail(self) -> u64 {
        match self {
            Self::DeathsInCut | Self::OwnerKilled | Self::ShortCut => 52,
            Self::Quiet => 5,
            // A beat that got lost shows when its time-out is over.
            _ => 35,
        }
    }

    /// Plays the fault and ends with its heal: how long the nodes take to agree is measured from
    /// there, and whoever waited here would look too late. `is_quick` shortens the row that has a short form.
    pub(super) async fn play(self, stage: &mut Stage<'_>, is_quick: bool) -> Result<()> {
        match self {
            Self::Quiet => stage.wait(30).await,
            Self::Kill => {
                stage.kill(1).await?;
                stage.wait(if is_quick { 20 } else { 40 }).await;
                restart(stage, &[1]).await?;
            }
            Self::Pause => {
                stage.pause(1).await?;
                stage.wait(60).await;
                stage.resume(1).await?;
            }
            Self::Cut => cut_for_a_minute(stage, &[(0, 1), (1, 0), (0, 2), (2, 0)]).await?,
            Self::OneWay => cut_for_a_minute(stage, &[(0, 1), (0, 2)]).await?,
            Self::Chain => cut_for_a_minute(stage, &[(0, 2), (2, 0)]).await?,
            Self::KillTwo => {
                stage.kill(1).await?;
                stage.kill(2).await?;
                stage.wait(40).await;
                restart(stage, &[1, 2]).await?;
            }
            Self::Rolling => {
                for node in 0..NODES {
                    stage.wait(5).await;
                    stage.leave(node).await?;
                    restart(stage, &[node]).await?;
                }
            }
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
        }
        Ok(())
    }
}

/// Has durable records written as fast as can be, for a second and until told otherwise.
async fn hurry(stage: &Stage<'_>) {
    stage.load.hurry(true);
    stage.wait(1).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_command_line_takes() {
        for row in Row::value_variants() {
            let value = row.to_possible_value().unwrap();
            assert_eq!(value.get_name(), row.name());
        }
    }
}
