//! Keeping subscriptions fresh: one task polls for all of them. Pushes only make it quicker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::call::{Core, PushTarget};
use crate::error::Error;
use crate::fetch::{Fetched, Manner, fetch};
use crate::names::{ServiceName, ServiceQuery};
use crate::schedule::{Schedule, sleep_until};
use crate::servers::{Preference, backoff};
use crate::topic::{EmptyPolicy, Source, Topic, Verdict};

/// Polls in flight at once, over all subscriptions of a client.
const MAX_POLLS_IN_FLIGHT: usize = 32;
/// What a server may ask for; anything else is moved to the nearer end.
const MIN_PERIOD: Duration = Duration::from_millis(500);
const MAX_PERIOD: Duration = Duration::from_secs(120);
/// Polls while a connection tells changes, which none should be needed for.
const TOLD_PERIOD: Duration = Duration::from_secs(30);
/// Polls are made a little before the time the server names: Nacos forgets whom to push to when
/// exactly that time has passed since the last poll.
const PERIOD_SHARE: f64 = 0.9;
/// Pause after a poll that no server answered, doubled with each up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// When the server that pushes to us is lost, all subscriptions move to another one within this.
const MOVE_TIME: Duration = Duration::from_millis(500);
/// Hints to poll are followed no sooner than this after the previous poll.
const HINT_PAUSE: Duration = Duration::from_secs(1);

/// All subscriptions of a client, one topic for each query however many subscribe to it.
#[derive(Debug)]
pub(crate) struct Topics {
    table: Mutex<Table>,
    next_id: AtomicU64,
    wake: Notify,
    empty_policy: EmptyPolicy,
    push: Option<PushTarget>,
    /// Whether servers are asked to tell changes.
    subscribes: bool,
    /// Services that nobody subscribes to any more, and servers may still push.
    left: Mutex<BTreeSet<ServiceName>>,
    pub(crate) cache: Option<Cache>,
    /// Whether a subscription begins with the list on disk.
    pub(crate) warm: bool,
}

#[derive(Debug, Default)]
struct Table {
    by_query: BTreeMap<ServiceQuery, Arc<Topic>>,
    by_id: HashMap<u64, Place>,
    schedule: Schedule,
    closed: bool,
}

#[derive(Debug)]
struct Place {
    topic: Arc<Topic>,
    subscribers: usize,
    polled_at: Instant,
    /// Asked for while a poll was in flight: to be made right after it.
    again: bool,
}

impl Topics {
    pub(crate) fn new(
        empty_policy: EmptyPolicy,
        (subscribes, push): (bool, Option<PushTarget>),
        cache: Option<Cache>,
        warm: bool,
    ) -> Self {
        let (table, next_id, wake) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        let left = Mutex::default();
        Self { table, next_id, wake, empty_policy, push, subscribes, left, cache, warm }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one more subscriber of `query`; each has to be given back with [`Self::leave`].
    pub(crate) fn enter(&self, query: &ServiceQuery) -> Result<Arc<Topic>, Error> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(Error::ShutDown);
        }
        if let Some(topic) = table.by_query.get(query).cloned() {
            if let Some(place) = table.by_id.get_mut(&topic.id) {
                place.subscribers += 1;
            }
            return Ok(topic);
        }
        let topic = Arc::new(Topic::new(self.next_id(), query.clone(), self.empty_policy));
        let place =
            Place { topic: topic.clone(), subscribers: 1, polled_at: Instant::now(), again: false };
        table.by_id.insert(topic.id, place);
        table.by_query.insert(query.clone(), topic.clone());
        Ok(topic)
    }

    pub(crate) fn leave(&self, topic: &Topic) {
        let mut table = self.table.lock();
        let Some(place) = table.by_id.get_mut(&topic.id) else { return };
        place.subscribers -= 1;
        if place.subscribers == 0 {
            table.by_id.remove(&topic.id);
            table.by_query.remove(&topic.query);
            table.schedule.remove(topic.id);
            drop(table);
            self.left.lock().insert(topic.query.service().clone());
            self.wake.notify_one();
        }
    }

    /// The topics of a service, whatever clusters they are about.
    pub(crate) fn of_service(&self, service: &ServiceName) -> Vec<Arc<Topic>> {
        let table = self.table.lock();
        let first = ServiceQuery::new(service.clone());
        let found =
            table.by_query.range(first..).take_while(|(query, _)| query.service() == service);
        found.map(|(_, topic)| topic.clone()).collect()
    }

    /// The topic of `query` if somebody subscribes to it.
    pub(crate) fn find(&self, query: &ServiceQuery) -> Option<Arc<Topic>> {
        self.table.lock().by_query.get(query).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().by_query.len()
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        let topics = {
            let mut table = self.table.lock();
            table.closed = true;
            table.by_id.clear();
            table.schedule = Schedule::default();
            std::mem::take(&mut table.by_query)
        };
        topics.values().for_each(|topic| topic.close());
    }

    fn set_due(&self, topic: &Topic, due: Instant) {
        let mut table = self.table.lock();
        let Some(place) = table.by_id.get_mut(&topic.id) else { return };
        place.polled_at = Instant::now();
        let hinted = std::mem::take(&mut place.again);
        let due = if hinted { due.min(Instant::now() + HINT_PAUSE) } else { due };
        table.schedule.set(topic.id, due);
        drop(table);
        self.wake.notify_one();
    }

    /// Something may have changed that only a server can tell: polls soon, but hints alone cannot
    /// make the client poll more than about once a second.
    pub(crate) fn hint(&self, topic: &Topic) {
        let mut table = self.table.lock();
        let Some(place) = table.by_id.get_mut(&topic.id) else { return };
        let due = (place.polled_at + HINT_PAUSE).max(Instant::now());
        place.again = true;
        if table.schedule.bring_forward(topic.id, due) {
            self.wake.notify_one();
        }
    }

    /// Polls a topic that was never polled.
    pub(crate) fn poll_now(&self, topic: &Topic) {
        self.set_due(topic, Instant::now());
    }

    pub(crate) fn ask_again(&self, topic: &Topic, pause: Duration) {
        if self.table.lock().schedule.bring_forward(topic.id, Instant::now() + pause) {
            self.wake.notify_one();
        }
    }

    /// Asks again for everything, over whatever there is now.
    pub(crate) fn move_all(&self) {
        let mut table = self.table.lock();
        for id in table.schedule.ids() {
            let due = Instant::now() + MOVE_TIME.mul_f64(fastrand::f64());
            table.schedule.bring_forward(id, due);
        }
        drop(table);
        self.wake.notify_one();
    }

    fn pop_due(&self) -> Option<Arc<Topic>> {
        let mut table = self.table.lock();
        let (id, _) = table.schedule.pop_due(Instant::now())?;
        let place = table.by_id.get_mut(&id)?;
        place.again = false;
        Some(place.topic.clone())
    }

    /// Takes a list for `topic` and writes it to disk if it is new.
    pub(crate) fn apply(
        &self,
        topic: &Topic,
        hosts: Vec<Instance>,
        at: i64,
        source: Source,
    ) -> Verdict {
        let verdict = topic.apply(hosts, at, source);
        if verdict == Verdict::Changed
            && let Some(cache) = &self.cache
        {
            cache.save_later(&topic.query, topic.current());
        }
        verdict
    }
}

/// Ends subscriptions that nobody has any more.
async fn leave_behind(core: &Core, topics: &Topics) {
    let left = std::mem::take(&mut *topics.left.lock());
    #[cfg(feature = "grpc")]
    if let Some(session) = core.link.as_ref().and_then(|link| link.session()) {
        for service in left {
            if !topics.of_service(&service).is_empty() {
                continue;
            }
            if let Ok(request) = crate::grpc::Request::subscribe(&core.namespace, &service, false) {
                // What fails costs pushes that nobody reads.
                let _ = session.call(core, &core.http, &request, core.request_timeout).await;
            }
            // Who has come meanwhile has to say so again.
            let now = Instant::now();
            for topic in topics.of_service(&service) {
                if topics.table.lock().schedule.bring_forward(topic.id, now) {
                    topics.wake.notify_one();
                }
            }
        }
        return;
    }
    // Over HTTP servers forget who does not poll.
    drop((core, left));
}

/// Polls one topic and sets the time of its next poll.
///
/// # Errors
/// Those of the call; the topic is marked as stale then.
pub(crate) async fn refresh(
    core: &Core,
    topics: &Topics,
    topic: &Topic,
    patient: bool,
) -> Result<(), Error> {
    topic.begin_poll();
    let sent = Instant::now();
    // A second opinion is worth more when it comes from another server.
    let doubt = topic.is_in_doubt();
    let preference = if doubt { Preference::Spread } else { Preference::Sticky };
    let (push, subscribe) = (topics.push, topics.subscribes);
    let manner = Manner { push, subscribe, preference, patient };
    match fetch(core, &topic.query, manner).await {
        Ok(Fetched { list, host, is_told }) => {
            let source = Source::Poll { server: host };
            let verdict = topics.apply(topic, list.hosts, list.last_ref_time, source);
            let period = match is_told {
                true => TOLD_PERIOD,
                false => Duration::from_millis(list.cache_millis).clamp(MIN_PERIOD, MAX_PERIOD),
            };
            let mut due = sent + period.mul_f64(PERIOD_SHARE);
            if let Verdict::AskAgain(pause) = verdict {
                due = due.min(Instant::now() + pause);
            }
            topics.set_due(topic, due);
            Ok(())
        }
        Err(error) => {
            let failures = topic.note_failure();
            if failures == 1 {
                tracing::warn!(query = %topic.query, %error,
                    "no server tells the instances, going on with those known last");
            }
            let pause = backoff(FIRST_RETRY, LAST_RETRY, failures);
            topics.set_due(topic, Instant::now() + pause);
            Err(error)
        }
    }
}

/// Polls until the client ends.
pub(crate) async fn run(core: Arc<Core>, topics: Arc<Topics>, mut stop: watch::Receiver<bool>) {
    let mut flights: JoinSet<()> = JoinSet::new();
    let (mut leavers, mut leaving): (JoinSet<()>, bool) = (JoinSet::new(), false);
    loop {
        while flights.len() < MAX_POLLS_IN_FLIGHT {
            let Some(topic) = topics.pop_due() else { break };
            let (core, topics) = (core.clone(), topics.clone());
            flights.spawn(async move {
                // The failure is noted in the topic and logged there.
                let _ = refresh(&core, &topics, &topic, false).await;
            });
        }
        if !topics.left.lock().is_empty() && !leaving {
            leaving = true;
            let (core, topics) = (core.clone(), topics.clone());
            leavers.spawn(async move { leave_behind(&core, &topics).await });
        }
        let next = match flights.len() < MAX_POLLS_IN_FLIGHT {
            true => topics.table.lock().schedule.next_due(),
            false => None,
        };
        tokio::select! {
            // The sender is dropped with the client's last handle.
            _ = stop.changed() => return,
            () = topics.wake.notified() => {}
            () = core.servers.lost_current.notified() => topics.move_all(),
            Some(_) = flights.join_next() => {}
            Some(_) = leavers.join_next() => leaving = false,
            () = sleep_until(next) => {}
        }
    }
}
