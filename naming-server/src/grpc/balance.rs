//! Sharing out connections among the members: a member that holds many more than the others asks some
//! of its clients, a few each second, to go elsewhere.
//!
//! Members tell each other how many connections they hold. Each looks at its own share alone, so two
//! may send clients away at the same time; both stop as soon as they are near the mean. A client that
//! is sent away keeps the leases of what it has registered until it has registered it elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use distro_core::Tick;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::connections::Connection;

/// How often the shares are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Clients that are sent away have so long to go by themselves. Some do not know how: those of Python
/// and Rust ignore what they are asked.
const GO_WITHIN: Duration = Duration::from_secs(3);
/// A member that has joined since is given time to be found by clients.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// A smaller difference is no reason to disturb anybody.
const LEAST_DIFFERENCE: u32 = 20;

impl Front {
    /// Keeps the share of this member near that of the others until `shutdown`.
    pub(super) async fn balance(self: &Arc<Self>, shutdown: &CancellationToken) {
        if !self.settings.listens() {
            // Nobody may be sent here, so the others are not to count with this member.
            return;
        }
        let (began, mut campaign) = (self.now(), Campaign::default());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(LOOK_PERIOD) => {}
            }
            let mine = self.settled_connections();
            let own = u32::try_from(mine.len()).unwrap_or(u32::MAX);
            self.holder.shared_status().set_connections(own);
            let most = self.settings.rebalance_per_second;
            if most == 0 || self.draining.is_cancelled() {
                continue;
            }
            let now = self.now();
            let others = self.holder.shared_status().loads(now);
            if others.iter().map(|(_, since)| *since).chain([began]).any(|at| is_young(at, now)) {
                continue;
            }
            let others: Vec<u32> = others.into_iter().map(|(connections, _)| connections).collect();
            let away = campaign.bounds(excess(own, &others).min(most), own, now);
            for connection in mine.into_iter().take(away as usize) {
                self.move_away(connection, "others have fewer clients");
            }
        }
    }

    /// The connections that nobody has sent away, those that were set up first in front: a client
    /// that has just come is not sent on.
    fn settled_connections(&self) -> Vec<Arc<Connection>> {
        let mut mine = self.connections.all();
        mine.retain(|connection| !connection.is_sent_away());
        mine
    }

    /// Asks a client to go elsewhere, and closes its connection if it does not.
    pub(super) fn move_away(self: &Arc<Self>, connection: Arc<Connection>, why: &str) {
        tracing::debug!(id = connection.id(), why, "a client is asked to go to another member");
        self.stats.moved.fetch_add(1, Relaxed);
        self.send_away_to(&connection, None);
        tokio::spawn(async move {
            sleep(GO_WITHIN).await;
            connection.cut();
        });
    }
}

/// A stretch of sending clients away. If they come back all the same, they know no other member, or do
/// not reach one: then they are left in peace for a while.
#[derive(Debug, Default)]
struct Campaign {
    /// Since when, how many there were, and how many have been sent away since.
    under_way: Option<(Tick, u32, u32)>,
    rests_until: Tick,
}

/// So long a campaign may take to have an effect.
const WORKS_WITHIN: Duration = Duration::from_secs(60);
/// So long clients that come back are left in peace.
const REST: Duration = Duration::from_secs(600);

impl Campaign {
    /// How many of `away` clients are sent away now, with `own` here.
    fn bounds(&mut self, away: u32, own: u32, now: Tick) -> u32 {
        if now < self.rests_until {
            return 0;
        }
        if away == 0 {
            self.under_way = None;
            return 0;
        }
        let (since, had, sent) = *self.under_way.get_or_insert((now, own, 0));
        if now.since(since) < WORKS_WITHIN {
            self.under_way = Some((since, had, sent + away));
            return away;
        }
        self.under_way = None;
        // Most have gone to another member, or else it is in vain.
        if had.saturating_sub(own) < sent / 4 {
            self.rests_until = now.after(REST);
            tracing::warn!(
                sent,
                "clients sent to other members come back: they may not know or reach another"
            );
            return 0;
        }
        away
    }
}

fn is_young(since: Tick, now: Tick) -> bool {
    now.since(since) < SETTLED_AFTER
}

/// How many connections a member has too many: above 1.25 times the mean of all, if the difference to
/// the one that has least is worth it.
fn excess(own: u32, others: &[u32]) -> u32 {
    let Some(least) = others.iter().min() else { return 0 };
    if own.saturating_sub(*least) < LEAST_DIFFERENCE {
        return 0;
    }
    let total: u64 = others.iter().copied().map(u64::from).sum::<u64>() + u64::from(own);
    let members = others.len() as u64 + 1;
    let most = (total * 5).div_ceil(members * 4);
    u32::try_from(u64::from(own).saturating_sub(most)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_five_fourths_of_the_mean_is_too_much() {
        for (own, others, away) in [
            (100, &[][..], 0),
            (100, &[100, 100], 0),
            (125, &[100, 75], 0),
            (130, &[100, 70], 5),
            (10_000, &[0, 0], 5_833),
            (21, &[1, 1], 11),
            (20, &[1, 1], 0),
            (19, &[0, 0], 0),
            (40, &[30, 20], 2),
            (u32::MAX, &[u32::MAX, 0], 715_827_882),
        ] {
            assert_eq!(excess(own, others), away, "{own} beside {others:?}");
        }
    }

    #[test]
    fn clients_that_come_back_are_left_in_peace_for_a_while() {
        let at = |second: u64| Tick::from_ms(1_000 * second);
        let mut campaign = Campaign::default();
        let sent: u32 = (1..=60).map(|second| campaign.bounds(20, 1_000, at(second))).sum();
        assert_eq!(sent, 1_200);
        assert!((61..=660).all(|second| campaign.bounds(20, 1_000, at(second)) == 0));
        assert_eq!(campaign.bounds(20, 1_000, at(661)), 20);
        // Those that go are gone: it goes on.
        let mut campaign = Campaign::default();
        let all = (0..200)
            .all(|second| campaign.bounds(20, 5_000 - 20 * second as u32, at(second)) == 20);
        assert!(all);
    }

    #[test]
    fn sending_away_what_is_too_much_ends_and_does_not_swing() {
        let mut loads = [9_000_u32, 10, 500, 3_000];
        for round in 0.. {
            assert!(round < 1_000, "{loads:?}");
            let others = |at: usize| {
                loads
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| *n != at)
                    .map(|(_, l)| *l)
                    .collect::<Vec<_>>()
            };
            let away: Vec<u32> = (0..4).map(|at| excess(loads[at], &others(at)).min(20)).collect();
            if away.iter().all(|away| *away == 0) {
                break;
            }
            for (at, away) in away.into_iter().enumerate() {
                // Wherever they go, they do not know who has few.
                loads[at] -= away;
                loads[(at + 1 + round % 3) % 4] += away;
            }
        }
        let total = loads.iter().sum::<u32>();
        assert!(loads.iter().all(|load| *load * 16 < total * 5 + 16), "{loads:?}");
    }
}
