//! What is known of one query, and which news about it are believed.
//!
//! News come from polls and from pushes, which may overtake each other, be repeated, or come from
//! servers whose clocks disagree:
//!
//! ```text
//! poll   ──► always counts, unless a newer push of the same host came while it was on its way
//! push   ──► counts unless the same sender already sent a newer one
//! empty  ──► after a list with instances: only when it stays empty for a while (see EmptyPolicy)
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::instances::{Change, Instances};
use crate::names::ServiceQuery;

/// Senders of pushes remembered per query; servers come back with new ports after each restart.
const MAX_SENDERS: usize = 32;
/// How often an empty list is asked for again before it is believed.
const EMPTY_CHECKS: u32 = 4;
/// When to poll again after a poll that was overtaken by a push.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(100);

/// What to do when a service that had instances seems to have none.
///
/// A registry that has just been restarted, or lost sight of its peers, shows empty lists for
/// some seconds. Calling instances that are gone fails; having none to call fails everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmptyPolicy {
    /// Believe it at once.
    Believe,
    /// Believe it when every answer for this long has been empty; the registry is asked four
    /// times within that time, several servers in turn. The default, with 6 s: longer than the
    /// usual beat interval, after which a restarted registry has its instances back.
    Confirm(Duration),
    /// Never believe it.
    Distrust,
}

impl Default for EmptyPolicy {
    fn default() -> Self {
        Self::Confirm(Duration::from_secs(6))
    }
}

/// Where news come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Poll { server: Option<IpAddr> },
    Push { sender: SocketAddr },
}

/// What came of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is new.
    Unchanged,
    /// The list is another one now.
    Changed,
    /// Older than what is known.
    Ignored,
    /// Not to be decided before a poll, to be made after this time.
    AskAgain(Duration),
}

/// One query of a client, shared by all its subscriptions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: u64,
    pub(crate) query: ServiceQuery,
    /// Held for the first poll: the second subscriber waits for the first one's answer.
    pub(crate) first: tokio::sync::Mutex<bool>,
    empty_policy: EmptyPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Instances,
    version: u64,
    closed: bool,
    wakers: HashMap<u64, Waker>,
    /// The server time of the newest push by sender.
    newest: HashMap<SocketAddr, i64>,
    /// The newest push since the poll in flight was sent.
    during_poll: Option<(IpAddr, i64)>,
    empty_since: Option<Instant>,
    failures: u32,
}

impl Topic {
    pub(crate) fn new(id: u64, query: ServiceQuery, empty_policy: EmptyPolicy) -> Self {
        let first = tokio::sync::Mutex::new(false);
        Self { id, query, first, empty_policy, state: Mutex::default() }
    }

    pub(crate) fn current(&self) -> Instances {
        self.state.lock().current.clone()
    }

    /// Whether an empty answer is waiting to be confirmed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.state.lock().empty_since.is_some()
    }

    pub(crate) fn begin_poll(&self) {
        self.state.lock().during_poll = None;
    }

    /// Takes news: a list and the server's clock when it was made (0 if unknown).
    pub(crate) fn apply(&self, list: Vec<Instance>, made_at: i64, source: Source) -> Verdict {
        let mut state = self.state.lock();
        if state.is_overtaken(made_at, source) {
            return match source {
                Source::Poll { .. } => Verdict::AskAgain(OVERTAKEN_PAUSE),
                Source::Push { .. } => Verdict::Ignored,
            };
        }
        state.failures = 0;
        if list.is_empty()
            && !state.current.is_empty()
            && let Some(pause) = state.doubt(self.empty_policy)
        {
            return Verdict::AskAgain(pause);
        }
        state.empty_since = None;
        let changed = state.replace(Instances::new(list));
        if changed { Verdict::Changed } else { Verdict::Unchanged }
    }

    /// Takes a list from disk if nothing better is known.
    pub(crate) fn remember(&self, list: Vec<Instance>) {
        let mut state = self.state.lock();
        if state.current.age().is_none() {
            state.replace(Instances::remembered(list));
        }
    }

    /// Notes that no server could be asked; gives the number of failures in a row.
    pub(crate) fn note_failure(&self) -> u32 {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.current = state.current.clone().into_stale();
        state.failures
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.wake_all();
    }

    /// The change from `seen` to what is known now, which `seen` is set to; waits if there is
    /// none. `None` once the client was shut down.
    pub(crate) fn poll_change(
        &self,
        subscriber: u64,
        seen: &mut Instances,
        seen_version: &mut u64,
        context: &Context<'_>,
    ) -> Poll<Option<Change>> {
        let mut state = self.state.lock();
        if *seen_version != state.version {
            *seen_version = state.version;
            let current = state.current.clone();
            let change = seen.change_to(&current);
            *seen = current;
            // A list that changed there and back since it was looked at did not change.
            if !change.is_empty() {
                return Poll::Ready(Some(change));
            }
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.wakers.insert(subscriber, context.waker().clone());
        Poll::Pending
    }

    /// The list and the number of changes that led to it.
    pub(crate) fn snapshot(&self) -> (Instances, u64) {
        let state = self.state.lock();
        (state.current.clone(), state.version)
    }

    pub(crate) fn forget_waker(&self, subscriber: u64) {
        self.state.lock().wakers.remove(&subscriber);
    }
}

impl State {
    fn is_overtaken(&mut self, made_at: i64, source: Source) -> bool {
        match source {
            Source::Poll { server } => {
                let push = self.during_poll.take();
                push.is_some_and(|(host, newer)| Some(host) == server && newer > made_at)
            }
            Source::Push { sender } => {
                if self.newest.get(&sender).is_some_and(|newest| *newest > made_at) {
                    return true;
                }
                if self.newest.len() >= MAX_SENDERS && !self.newest.contains_key(&sender) {
                    self.newest.clear();
                }
                self.newest.insert(sender, made_at);
                self.during_poll = Some((sender.ip().to_canonical(), made_at));
                false
            }
        }
    }

    /// The pause until the next look at a list that seems empty; `None` to believe it now.
    fn doubt(&mut self, policy: EmptyPolicy) -> Option<Duration> {
        let now = Instant::now();
        let since = *self.empty_since.get_or_insert(now);
        match policy {
            EmptyPolicy::Believe => None,
            EmptyPolicy::Confirm(time) if now - since >= time => None,
            EmptyPolicy::Confirm(time) => Some(time / EMPTY_CHECKS),
            EmptyPolicy::Distrust => Some(Duration::from_secs(3)),
        }
    }

    fn replace(&mut self, next: Instances) -> bool {
        let changed = !self.current.same_list(&next);
        self.current = next;
        if changed {
            self.version += 1;
            self.wake_all();
        }
        changed
    }

    fn wake_all(&mut self) {
        for (_, waker) in self.wakers.drain() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 4] = [10, 0, 0, 1];

    fn topic(policy: EmptyPolicy) -> Topic {
        Topic::new(1, ServiceQuery::try_from("s").unwrap(), policy)
    }

    fn hosts(ports: &[u16]) -> Vec<Instance> {
        ports.iter().map(|port| Instance::new("10.1.1.1", *port)).collect()
    }

    fn poll_of(host: [u8; 4]) -> Source {
        Source::Poll { server: Some(host.into()) }
    }

    fn push_of(host: [u8; 4], port: u16) -> Source {
        Source::Push { sender: (host, port).into() }
    }

    #[test]
    fn an_older_push_of_the_same_sender_is_ignored() {
        let topic = topic(EmptyPolicy::default());
        assert_eq!(topic.apply(hosts(&[1]), 100, push_of(HOST, 5)), Verdict::Changed);
        assert_eq!(topic.apply(hosts(&[2]), 99, push_of(HOST, 5)), Verdict::Ignored);
        assert_eq!(topic.apply(hosts(&[2]), 100, push_of(HOST, 5)), Verdict::Changed);
        assert_eq!(topic.apply(hosts(&[2]), 101, push_of(HOST, 5)), Verdict::Unchanged);
    }

    #[test]
    fn a_server_with_a_clock_behind_is_not_shut_out() {
        let topic = topic(EmptyPolicy::default());
        topic.apply(hosts(&[1]), 1_000_000, push_of(HOST, 5));
        let behind = [10, 0, 0, 2];
        assert_eq!(topic.apply(hosts(&[2]), 10, push_of(behind, 5)), Verdict::Changed);
        topic.begin_poll();
        assert_eq!(topic.apply(hosts(&[3]), 5, poll_of(behind)), Verdict::Changed);
        topic.begin_poll();
        assert_eq!(topic.apply(hosts(&[4]), 5, poll_of(HOST)), Verdict::Changed);
    }

    #[test]
    fn a_poll_that_a_push_of_its_server_overtook_is_made_again_and_then_counts() {
        let topic = topic(EmptyPolicy::default());
        topic.begin_poll();
        topic.apply(hosts(&[1, 2]), 200, push_of(HOST, 5));
        let verdict = topic.apply(hosts(&[1]), 150, poll_of(HOST));
        assert_eq!(verdict, Verdict::AskAgain(OVERTAKEN_PAUSE));
        assert_eq!(topic.current().len(), 2);
        topic.begin_poll();
        assert_eq!(topic.apply(hosts(&[1]), 150, poll_of(HOST)), Verdict::Changed);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_is_believed_only_when_it_stays_empty() {
        let topic = topic(EmptyPolicy::Confirm(Duration::from_secs(6)));
        topic.apply(hosts(&[1]), 1, poll_of(HOST));
        assert!(matches!(topic.apply(hosts(&[]), 2, poll_of(HOST)), Verdict::AskAgain(_)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(topic.apply(hosts(&[1]), 3, poll_of(HOST)), Verdict::Unchanged);
        assert!(matches!(topic.apply(hosts(&[]), 4, poll_of(HOST)), Verdict::AskAgain(_)));
        assert_eq!(topic.current().len(), 1);
        assert!(topic.is_in_doubt());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(topic.apply(hosts(&[]), 5, poll_of(HOST)), Verdict::Changed);
        assert!(topic.current().is_empty() && !topic.is_in_doubt());
        assert_eq!(topic.apply(hosts(&[]), 6, poll_of(HOST)), Verdict::Unchanged);
    }

    #[test]
    fn the_other_policies_believe_at_once_or_never() {
        let quick = topic(EmptyPolicy::Believe);
        quick.apply(hosts(&[1]), 1, poll_of(HOST));
        assert_eq!(quick.apply(hosts(&[]), 2, poll_of(HOST)), Verdict::Changed);
        let never = topic(EmptyPolicy::Distrust);
        never.apply(hosts(&[1]), 1, poll_of(HOST));
        assert!(matches!(never.apply(hosts(&[]), 2, push_of(HOST, 1)), Verdict::AskAgain(_)));
        assert_eq!(never.current().len(), 1);
    }

    #[test]
    fn a_list_from_disk_is_stale_and_does_not_replace_a_servers() {
        let topic = topic(EmptyPolicy::default());
        topic.remember(hosts(&[1]));
        assert!(topic.current().is_stale());
        topic.apply(hosts(&[2]), 1, poll_of(HOST));
        assert!(!topic.current().is_stale());
        topic.remember(hosts(&[3]));
        assert_eq!(topic.current().all()[0].port, 2);
        assert_eq!(topic.note_failure(), 1);
        assert!(topic.current().is_stale());
        topic.apply(hosts(&[2]), 2, poll_of(HOST));
        assert!(!topic.current().is_stale());
    }

    #[test]
    fn senders_are_remembered_up_to_a_limit() {
        let topic = topic(EmptyPolicy::default());
        for port in 1..1_000 {
            topic.apply(hosts(&[1]), 1, push_of(HOST, port));
        }
        assert!(topic.state.lock().newest.len() <= MAX_SENDERS);
    }
}
