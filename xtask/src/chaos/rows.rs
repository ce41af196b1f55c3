//! The faults. Each row begins with a fresh cluster that lists everything everywhere, and ends
//! when the nodes agree and whoever is dead should be gone.

mod play;

use std::time::Duration;

use clap::ValueEnum;

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
    /// Half of the connections over gRPC stay open and carry nothing any more.
    HalfOpen,
    /// Something between clients and nodes resets all connections over gRPC, three times.
    ResetBetween,
    /// 10,000 connections over gRPC lose their node at once.
    MassReconnect,
    /// Each node in turn is asked to leave and started again, and then connections are shared out.
    Rebalance,
    /// 60 subscribers over gRPC never acknowledge a list; half of them do not even read it.
    SlowReader,
    /// Members of an earlier release are replaced one by one by members of this one, and these by
    /// members of that one again.
    RollingUpgrade,
    /// The secret of the cluster, the authority and the certificates of members, and those for clients
    /// are changed while all serve; then a node is killed and started again.
    Rotation,
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
            Self::HalfOpen => "half-open",
            Self::ResetBetween => "reset-between",
            Self::MassReconnect => "mass-reconnect",
            Self::Rebalance => "rebalance",
            Self::SlowReader => "slow-reader",
            Self::RollingUpgrade => "rolling-upgrade",
            Self::Rotation => "rotation",
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
            Self::HalfOpen => "gRPC: half of the connections carry nothing more, some clients die",
            Self::ResetBetween => "gRPC: all connections reset by something between, three times",
            Self::MassReconnect => "gRPC: kill -9 under 10,000 connections, 40 s, restart",
            Self::Rebalance => "gRPC: rolling restart, connections are shared out",
            Self::SlowReader => "gRPC: 60 subscribers never acknowledge, 60 s",
            Self::RollingUpgrade => "rolling upgrade from an earlier release, and back",
            Self::Rotation => "secret and certificates changed, then kill -9, 5 s, restart",
        }
    }

    pub(super) fn needs_cut(self) -> bool {
        use Row::{Chain, Cut, DeathsInCut, MajorityCut, MajorityGone, OneWay};
        use Row::{CrowdedSlot, JoinOmitted, LongCutBoth, LongCutMajority, ShortCut};
        matches!(self, Cut | OneWay | Chain | DeathsInCut | MajorityGone | MajorityCut)
            || matches!(self, LongCutMajority | LongCutBoth | JoinOmitted | CrowdedSlot | ShortCut)
            // Members have a port of their own, the same on all.
            || self == Self::Rotation
    }

    /// Whether 100,000 services are there besides.
    pub(super) fn has_many_services(self) -> bool {
        self == Self::PauseMany
    }

    /// Whether the machine has to carry much else, so that there are few of the usual clients.
    pub(super) fn is_crowded(self) -> bool {
        matches!(self, Self::PauseMany | Self::MassReconnect)
    }

    /// Whether something stands between the nodes and their clients over gRPC.
    pub(super) fn has_between(self) -> bool {
        matches!(self, Self::HalfOpen | Self::ResetBetween)
    }

    /// Whether the nodes speak TLS to each other, and to clients that want it.
    pub(super) fn has_keys(self) -> bool {
        self == Self::Rotation
    }

    /// Whether the nodes are those of an earlier release at first.
    pub(super) fn begins_old(self) -> bool {
        self == Self::RollingUpgrade
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
        match self {
            // The writers give up after 3 s: the refusal is to come before.
            _ if self.has_many_durable_writes() => {
                &["durable.acks=majority", "durable.ack_timeout_ms=2000"]
            }
            // All clients have one address here, and nobody is to move before the fault.
            Self::MassReconnect => &[
                "grpc.max_connections_per_source=0",
                "grpc.max_setups_per_second_per_source=0",
                "grpc.rebalance_per_second=0",
            ],
            _ => &[],
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
            Self::DeathsInCut | Self::OwnerKilled | Self::ShortCut | Self::HalfOpen => 52,
            Self::Quiet => 5,
            // Connections are not shared out before a node has been a member for 30 s.
            Self::Rebalance => 90,
            // A beat that got lost shows when its time-out is over.
            _ => 35,
        }
    }

    /// About how many seconds the row takes on two cores.
    pub(super) fn seconds(self) -> u64 {
        // From nothing to all lists complete, and to the end of all processes.
        const AROUND: u64 = 17;
        let fault = match self {
            Self::RestartAll | Self::JoinOmitted => 15,
            Self::Quiet | Self::Rolling | Self::FreezeDeregister => 30,
            Self::MajorityDiskLost | Self::MajorityGone | Self::MajorityEach => 45,
            Self::KillTwo | Self::Flap | Self::ShortCut | Self::ResetBetween => 45,
            Self::Rebalance => 30,
            // After those in which the nodes grow old.
            Self::Kill => 45 + 65,
            Self::Pause | Self::Cut => 62 + 65,
            Self::CrowdedSlot | Self::MassReconnect | Self::RollingUpgrade => 100,
            Self::LongCutMajority | Self::LongCutBoth => 420,
            Self::PauseMany => 1_500,
            _ => 62,
        };
        AROUND + fault + self.tail()
    }
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

    #[test]
    fn the_whole_table_takes_less_than_a_hundred_minutes() {
        let seconds: u64 = Row::value_variants().iter().map(|row| row.seconds()).sum();
        assert!(seconds < 6_000, "{seconds} s");
    }
}
