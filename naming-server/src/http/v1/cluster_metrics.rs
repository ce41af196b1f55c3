//! The part of `/metrics` that tells of the cluster. A server alone has none.

use distro_core::MemberState;
use distro_net::{MemberStatus, PeerStats, Refusal, Status};

use super::{Api, ApiCluster};
use crate::metrics::Metric;

impl Api {
    pub(super) fn cluster_metrics(&self) -> Vec<Metric> {
        let Some(cluster) = &self.cluster else { return Vec::new() };
        let status = self.control.status();
        let mut metrics = self.own_metrics(cluster, &status);
        metrics.extend(member_metrics(&status.members));
        metrics.extend(call_metrics(cluster.peers.stats()));
        metrics
    }

    fn own_metrics(&self, cluster: &ApiCluster, status: &Status) -> Vec<Metric> {
        let store = &self.registry.store;
        let ready = if self.why_not_ready().is_none() { 1.0 } else { 0.0 };
        let owned = store.share() as f64;
        let digest = vec![("value", format!("{:016x}", store.root()).into())];
        vec![
            Metric::gauge("distro_ready", "1 if this member answers reads.", ready),
            Metric::labelled_gauge(
                "distro_digest",
                "Always 1; the label is the same on members that hold the same.",
                digest,
                1.0,
            ),
            Metric::gauge("distro_owned_slots", "Slots of 1,024 that this member owns.", owned),
            Metric::gauge(
                "distro_load_left",
                "Thirty-seconds of the first load that are left.",
                status.load_left as f64,
            ),
            Metric::counter(
                "distro_owner_changes",
                "Times that another set of members came to own slots.",
                status.owner_changes,
            ),
            Metric::counter(
                "distro_moved_slots",
                "Slots that have changed their owner in this member's view.",
                status.moved_slots,
            ),
            Metric::counter(
                "distro_dropped_records",
                "Records that a member could not take; each is in the log once.",
                status.dropped_records,
            ),
            Metric::counter(
                "distro_unread_records",
                "Records of other members that meant nothing here; each is in the log once.",
                cluster.peers.stats().unread_records(),
            ),
            Metric::counter(
                "distro_forwarded",
                "Writes, and beats of unknown instances, for services of other members.",
                cluster.writes.forwarded(),
            ),
        ]
    }
}

fn member_metrics(members: &[MemberStatus]) -> Vec<Metric> {
    let label = |other: &MemberStatus| ("member", other.address.to_string().into());
    let gauges = |name, help, value: fn(&MemberStatus) -> f64| {
        Metric::gauges(name, help, members.iter().map(|other| (vec![label(other)], value(other))))
    };
    let states = members.iter().map(|other| {
        let state = match other.view.state {
            MemberState::Joining => "joining",
            MemberState::Up => "up",
            MemberState::Suspicious => "suspicious",
            MemberState::Down => "down",
            MemberState::Leaving => "leaving",
        };
        (vec![label(other), ("state", state.into())], 1.0)
    });
    vec![
        Metric::gauges("distro_member", "Always 1; tells the state of a member.", states),
        gauges("distro_queued_records", "Changes that a member was not told of.", |other| {
            other.view.queued_keys as f64
        }),
        gauges("distro_lag_seconds", "Age of the oldest change a member was not told.", |other| {
            other.view.lag.as_secs_f64()
        }),
        gauges("distro_members_agree", "1 if a member has the same list of members.", |other| {
            f64::from(u8::from(other.view.agrees_on_members))
        }),
        gauges("distro_queued_beats", "Beats that wait for a member.", |other| {
            other.view.queued_beats as f64
        }),
        gauges("distro_clock_ahead_seconds", "How far a member's clock is ahead.", |other| {
            other.clock_ahead_ms as f64 / 1_000.0
        }),
        Metric::counters(
            "distro_differences",
            "Slots in which a member was found to differ.",
            members.iter().map(|other| (vec![label(other)], other.view.differences)),
        ),
    ]
}

fn call_metrics(stats: &PeerStats) -> Vec<Metric> {
    let calls = stats.calls();
    let outcomes = [
        ("answered", calls.answered),
        ("unanswered", calls.unanswered),
        ("refused", calls.refused),
        ("rejected", calls.rejected),
        ("not_taken", calls.not_taken),
    ];
    let directions = [("sent", calls.sent_bytes), ("received", calls.received_bytes)];
    let labelled = |label: &'static str| {
        move |(value, count): (&'static str, u64)| (vec![(label, value.into())], count)
    };
    let refusals = Refusal::ALL.iter().map(|reason| (reason.name(), stats.refused(*reason)));
    vec![
        Metric::counters(
            "distro_calls",
            "Calls to other members by outcome.",
            outcomes.map(labelled("outcome")),
        ),
        Metric::counters(
            "distro_call_bytes",
            "Bytes of messages in this member's own calls.",
            directions.map(labelled("direction")),
        ),
        Metric::counter("distro_answered", "Requests of other members answered.", stats.answered()),
        Metric::counter("distro_sessions", "Sessions that members began here.", stats.sessions()),
        Metric::counters(
            "distro_refusals",
            "Requests between members refused, by reason.",
            refusals.map(labelled("reason")),
        ),
    ]
}
