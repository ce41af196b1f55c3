//! The table of who listens to which service.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use naming_model::ServiceKey;

use super::topic::Topic;
use crate::push::HashState;
use crate::push::stats::PushStats;
use crate::push::stream::{StreamListener, StreamSink, listed};
use crate::push::subscriber::{Listed, Place, SubscribeRefused, Subscriber, Texts};
use crate::push::udp::{Identity, Subscription, Target, Targets};
use crate::registry::Page;

/// The table has so many shards; a sweep takes some of them at a time.
const SHARDS: usize = 64;

/// Who listens to what. A service is in the table only while it has subscribers.
pub(in crate::push) struct Table {
    pub(in crate::push) targets: Targets,
    shards: Vec<Shard>,
    hasher: HashState,
    max_subscribers: u64,
    max_subscribers_per_service: usize,
    max_text_bytes: u64,
    next_swept: AtomicUsize,
    next_serial: AtomicU64,
    stats: Arc<PushStats>,
}

type Shard = RwLock<HashMap<Box<str>, Arc<Topic>, HashState>>;

impl Table {
    pub(in crate::push) fn new(
        max_subscribers: usize,
        max_subscribers_per_service: usize,
        max_text_bytes: u64,
        targets: Targets,
        stats: Arc<PushStats>,
    ) -> Self {
        Self {
            max_text_bytes,
            targets,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: HashState::default(),
            max_subscribers: u64::try_from(max_subscribers).unwrap_or(u64::MAX),
            max_subscribers_per_service,
            next_swept: AtomicUsize::new(0),
            next_serial: AtomicU64::new(0),
            stats,
        }
    }

    /// The topic of a service, if somebody listens. Cheap: it is asked at each change of anything.
    pub(in crate::push) fn find(&self, tag: &str) -> Option<Arc<Topic>> {
        if self.stats.subscribers.value() == 0 {
            return None;
        }
        self.shard(tag).read().get(tag).cloned()
    }

    /// Adds a subscription to packets, which is given back, or refreshes it.
    pub(in crate::push) fn subscribe(
        &self,
        subscriber: Subscriber,
        now: Instant,
        lifetime: Duration,
    ) -> Result<Option<Arc<Subscription>>, SubscribeRefused> {
        if !subscriber.texts().are_short() {
            return Err(SubscribeRefused::TooLong);
        }
        let identity = Identity::of(&subscriber);
        loop {
            let topic = self.find_or_add(&subscriber.service)?;
            let mut listeners = topic.listeners.lock();
            if listeners.closed {
                // The sweep is about to remove it; no need to wait for that.
                drop(listeners);
                self.remove(&topic);
                continue;
            }
            if let Some(known) = listeners.udp.find(&identity) {
                return known.refresh(now, lifetime).map(|()| None);
            }
            let target = match self.admit_socket(&subscriber, listeners.count()) {
                Ok(target) => target,
                Err(refused) => {
                    let is_closed = listeners.close_if_empty();
                    drop(listeners);
                    if is_closed {
                        self.remove(&topic);
                    }
                    return Err(refused);
                }
            };
            let subscription = Arc::new(Subscription::new(subscriber, target, now, lifetime));
            listeners.udp.add(identity, Arc::clone(&subscription));
            return Ok(Some(subscription));
        }
    }

    /// Adds a connection to those that listen to a service, or replaces the clusters it has asked
    /// for; the serial of the subscription.
    pub(in crate::push) fn subscribe_stream(
        &self,
        service: &ServiceKey,
        clusters: &Arc<str>,
        sink: Arc<dyn StreamSink>,
    ) -> Result<u64, SubscribeRefused> {
        let shown = listed(&*sink, clusters);
        if !shown.texts().are_short() {
            return Err(SubscribeRefused::TooLong);
        }
        let text_bytes = shown.texts().bytes(service);
        loop {
            let topic = self.find_or_add(service)?;
            let mut listeners = topic.listeners.lock();
            if listeners.closed {
                drop(listeners);
                self.remove(&topic);
                continue;
            }
            let before = listeners.streams.find(sink.connection()).map(|known| known.text_bytes);
            let admitted = match before {
                None => self.admit(shown.texts(), service, listeners.count()),
                Some(before) => self.exchange_texts(before, text_bytes),
            };
            if let Err(refused) = admitted {
                let is_closed = listeners.close_if_empty();
                drop(listeners);
                if is_closed {
                    self.remove(&topic);
                }
                return Err(refused);
            }
            let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
            let clusters = Arc::clone(clusters);
            listeners.streams.put(StreamListener { sink, clusters, serial, text_bytes });
            return Ok(serial);
        }
    }

    /// Ends the subscription of a connection, unless there is a newer one in its place.
    pub(in crate::push) fn unsubscribe_stream(
        &self,
        service: &ServiceKey,
        connection: u64,
        serial: u64,
    ) {
        let Some(topic) = self.shard(service.as_str()).read().get(service.as_str()).cloned() else {
            return;
        };
        let mut listeners = topic.listeners.lock();
        let Some(removed) = listeners.streams.remove(connection, serial) else { return };
        let is_closed = listeners.close_if_empty();
        drop(listeners);
        self.stats.subscribers.subtract(1);
        self.stats.subscriber_bytes.subtract(removed.text_bytes);
        if is_closed {
            self.remove(&topic);
        }
    }

    /// Makes room for one more subscription to packets about a service that has `count`.
    fn admit_socket(
        &self,
        subscriber: &Subscriber,
        count: usize,
    ) -> Result<Arc<Target>, SubscribeRefused> {
        if count >= self.max_subscribers_per_service {
            return Err(SubscribeRefused::ServiceFull);
        }
        let has_asked = subscriber.place != Place::Named;
        let target = self.targets.acquire(subscriber.address, has_asked);
        let target = target.ok_or(SubscribeRefused::AddressFull)?;
        let admitted = self.admit(subscriber.texts(), &subscriber.service, count);
        if admitted.is_err() {
            self.targets.release(&target);
        }
        admitted.map(|()| target)
    }

    /// Makes room for one more subscription of a service that has `count`.
    fn admit(
        &self,
        texts: Texts<'_>,
        service: &ServiceKey,
        count: usize,
    ) -> Result<(), SubscribeRefused> {
        if count >= self.max_subscribers_per_service {
            return Err(SubscribeRefused::ServiceFull);
        }
        if !self.stats.subscribers.increment_below(self.max_subscribers) {
            return Err(SubscribeRefused::TableFull);
        }
        if !self.stats.subscriber_bytes.add_within(texts.bytes(service), self.max_text_bytes) {
            self.stats.subscribers.subtract(1);
            return Err(SubscribeRefused::TextsFull);
        }
        Ok(())
    }

    /// Counts other texts in the place of those before.
    fn exchange_texts(&self, before: u64, after: u64) -> Result<(), SubscribeRefused> {
        let bytes = &self.stats.subscriber_bytes;
        if !bytes.add_within(after.saturating_sub(before), self.max_text_bytes) {
            return Err(SubscribeRefused::TextsFull);
        }
        bytes.subtract(before.saturating_sub(after));
        Ok(())
    }

    fn find_or_add(&self, service: &ServiceKey) -> Result<Arc<Topic>, SubscribeRefused> {
        let shard = self.shard(service.as_str());
        if let Some(topic) = shard.read().get(service.as_str()) {
            return Ok(Arc::clone(topic));
        }
        if self.stats.subscribers.value() >= self.max_subscribers {
            return Err(SubscribeRefused::TableFull);
        }
        let mut topics = shard.write();
        let topic = topics
            .entry(service.as_str().into())
            .or_insert_with(|| Arc::new(Topic::new(service.clone())));
        Ok(Arc::clone(topic))
    }

    fn remove(&self, topic: &Arc<Topic>) {
        let tag = topic.service.as_str();
        let mut topics = self.shard(tag).write();
        if topics.get(tag).is_some_and(|known| Arc::ptr_eq(known, topic)) {
            topics.remove(tag);
        }
    }

    /// Removes what has expired from the next `shards` shards and gives it back.
    pub(in crate::push) fn sweep(&self, shards: usize, now: Instant) -> Vec<Arc<Subscription>> {
        let mut removed = Vec::new();
        for _ in 0..shards {
            let next = self.next_swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
            if let Some(shard) = self.shards.get(next) {
                Self::sweep_shard(shard, now, &mut removed);
            }
        }
        self.stats.subscribers.subtract(u64::try_from(removed.len()).unwrap_or(0));
        let bytes = removed.iter().map(|removed| {
            let subscriber = &removed.subscriber;
            subscriber.texts().bytes(&subscriber.service)
        });
        self.stats.subscriber_bytes.subtract(bytes.sum());
        removed
    }

    fn sweep_shard(shard: &Shard, now: Instant, removed: &mut Vec<Arc<Subscription>>) {
        let topics: Vec<_> = shard.read().values().cloned().collect();
        let mut closed = false;
        for topic in topics {
            closed |= topic.sweep(now, removed);
        }
        if closed {
            let mut topics = shard.write();
            topics.retain(|_, topic| !topic.listeners.lock().closed);
            if topics.capacity() > 4 * topics.len() + 16 {
                topics.shrink_to_fit();
            }
        }
    }

    /// The subscribers of a service: those on a page, in an order that stays the same from page to
    /// page, and how many there are on all pages.
    pub(in crate::push) fn listening(
        &self,
        service: &ServiceKey,
        page: Page,
        now: Instant,
    ) -> (Vec<Listed>, usize) {
        let found = self.find(service.as_str()).map_or_else(Vec::new, |topic| topic.listed(now));
        let count = found.len();
        (page.of_sorted(found, Listed::cmp), count)
    }

    fn shard(&self, tag: &str) -> &Shard {
        // The remainder keeps the index inside; the count of shards is far below any `usize`.
        &self.shards[(self.hasher.hash_one(tag) % SHARDS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::AgentFamily;
    use crate::push::PushSettings;
    use crate::registry::Flavour;

    fn subscriber(service: &str, port: u16) -> Subscriber {
        Subscriber {
            service: ServiceKey::parse("public", service).unwrap(),
            address: ([127, 0, 0, 1], port).into(),
            place: Place::Caller,
            clusters: "".into(),
            agent: "Nacos-Java-Client:v1.4.8".into(),
            flavour: Flavour::Grouped,
            family: AgentFamily::Other,
            app: "".into(),
            tenant: "".into(),
        }
    }

    fn table(total: usize, per_service: usize) -> Table {
        table_of_texts(total, per_service, u64::MAX)
    }

    fn table_of_texts(total: usize, per_service: usize, text_bytes: u64) -> Table {
        let rules = PushSettings { max_subscribers_per_address: 5_000, ..PushSettings::default() };
        Table::new(
            total,
            per_service,
            text_bytes,
            Targets::new(rules.target_rules()),
            Arc::default(),
        )
    }

    const LIFETIME: Duration = Duration::from_secs(30);

    #[test]
    fn another_address_cluster_or_agent_is_another_subscriber() {
        let (table, now) = (table(100, 100), Instant::now());
        let first = subscriber("g@@s", 1);
        let others = [
            subscriber("g@@s", 2),
            Subscriber { clusters: "c".into(), ..first.clone() },
            Subscriber { agent: "Nacos-Go-Client:v1.0.9".into(), ..first.clone() },
        ];
        for subscriber in others.into_iter().chain([first.clone(), first]) {
            assert!(table.subscribe(subscriber, now, LIFETIME).is_ok());
        }
        assert_eq!(table.stats.subscribers.value(), 4);
        assert_eq!(table.find("public##g@@s").unwrap().listed(now).len(), 4);
    }

    #[test]
    fn limits_refuse_new_subscribers_and_renew_known_ones() {
        let (table, now) = (table(3, 2), Instant::now());
        assert!(table.subscribe(subscriber("g@@a", 1), now, LIFETIME).is_ok());
        assert!(table.subscribe(subscriber("g@@a", 2), now, LIFETIME).is_ok());
        let refused = table.subscribe(subscriber("g@@a", 3), now, LIFETIME);
        assert_eq!(refused.unwrap_err(), SubscribeRefused::ServiceFull);
        assert!(table.subscribe(subscriber("g@@b", 1), now, LIFETIME).is_ok());
        for service in ["g@@b", "g@@c"] {
            let refused = table.subscribe(subscriber(service, 9), now, LIFETIME);
            assert_eq!(refused.unwrap_err(), SubscribeRefused::TableFull);
        }
        assert!(table.subscribe(subscriber("g@@a", 1), now, LIFETIME).is_ok());
        let long = Subscriber { app: "x".repeat(1_025).into(), ..subscriber("g@@a", 1) };
        let refused = table.subscribe(long, now, LIFETIME);
        assert_eq!(refused.unwrap_err(), SubscribeRefused::TooLong);
    }

    #[test]
    fn all_texts_together_are_bounded_by_bytes() {
        let large = |port| {
            let text: Arc<str> = "x".repeat(1_000).into();
            let (clusters, agent) = (Arc::clone(&text), Arc::clone(&text));
            let (app, tenant) = (Arc::clone(&text), text);
            Subscriber { clusters, agent, app, tenant, ..subscriber("g@@s", port) }
        };
        let each = large(1).texts().bytes(&large(1).service);
        assert_eq!(each, 4_000 + "public##g@@s".len() as u64);
        let (table, now) = (table_of_texts(100, 100, 3 * each - 1), Instant::now());
        for port in [1, 2] {
            assert!(table.subscribe(large(port), now, LIFETIME).is_ok());
        }
        let elsewhere = Subscriber { service: subscriber("g@@t", 3).service, ..large(3) };
        for refused in [large(3), elsewhere] {
            let refused = table.subscribe(refused, now, LIFETIME).unwrap_err();
            assert_eq!(refused, SubscribeRefused::TextsFull);
        }
        // Who was refused holds nothing.
        assert!(table.find("public##g@@t").is_none());
        assert_eq!(table.stats.subscribers.value(), 2);
        assert_eq!(table.stats.subscriber_bytes.value(), 2 * each);
        // Those who are known renew, short ones have room, and who goes gives room back.
        let later = now + LIFETIME - Duration::from_secs(1);
        assert!(table.subscribe(large(1), later, LIFETIME).is_ok());
        assert!(table.subscribe(subscriber("g@@s", 4), later, LIFETIME).is_ok());
        assert_eq!(table.sweep(SHARDS, now + LIFETIME).len(), 1);
        assert!(table.subscribe(large(5), later, LIFETIME).is_ok());
        assert_eq!(table.sweep(SHARDS, later + LIFETIME).len(), 3);
        assert_eq!(table.stats.subscriber_bytes.value(), 0);
    }

    #[test]
    fn the_table_shrinks_when_subscribers_vanish() {
        let (table, now) = (table(10_000, 10_000), Instant::now());
        for port in 1..=1_000 {
            table
                .subscribe(subscriber(&format!("g@@s{}", port % 50), port), now, LIFETIME)
                .unwrap();
        }
        let later = now + LIFETIME - Duration::from_secs(1);
        assert!(table.sweep(SHARDS, later).is_empty());
        table.subscribe(subscriber("g@@s1", 1), later, LIFETIME).unwrap();
        assert_eq!(table.sweep(SHARDS, now + LIFETIME).len(), 999);
        assert_eq!(table.stats.subscribers.value(), 1);
        assert_eq!(table.shards.iter().map(|shard| shard.read().len()).sum::<usize>(), 1);
        let topic = table.find("public##g@@s1").unwrap();
        assert!(topic.listeners.lock().udp.capacity() < 20);
        assert_eq!(table.sweep(SHARDS, later + LIFETIME).len(), 1);
        assert!(table.find("public##g@@s1").is_none());
        assert!(table.subscribe(subscriber("g@@s1", 1), later, LIFETIME).is_ok());
    }

    #[test]
    fn each_sweep_takes_its_share_of_the_shards() {
        let (table, now) = (table(10_000, 10_000), Instant::now());
        for port in 1..=1_000 {
            table.subscribe(subscriber(&format!("g@@s{port}"), port), now, LIFETIME).unwrap();
        }
        let counts: Vec<_> =
            (0..SHARDS / 2).map(|_| table.sweep(2, now + LIFETIME).len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 1_000);
        assert!(counts.iter().all(|count| *count < 200), "{counts:?}");
    }

    #[test]
    fn a_closed_topic_is_not_joined() {
        let (table, now) = (table(10, 10), Instant::now());
        table.subscribe(subscriber("g@@s", 1), now, LIFETIME).unwrap();
        let old = table.find("public##g@@s").unwrap();
        // As if the sweep were between closing the topic and removing it.
        assert!(old.sweep(now + LIFETIME, &mut Vec::new()));
        assert!(table.find("public##g@@s").is_some());
        table.subscribe(subscriber("g@@s", 1), now + LIFETIME, LIFETIME).unwrap();
        assert!(!Arc::ptr_eq(&old, &table.find("public##g@@s").unwrap()));
    }

    #[test]
    fn a_service_has_its_own_subscribers_alone() {
        let (table, now) = (table(10, 10), Instant::now());
        let all = [
            (2, "group@@orders"),
            (1, "group@@orders"),
            (3, "other@@orders"),
            (4, "group@@orders-v2"),
            (5, "group-2@@orders"),
        ];
        for (port, service) in all {
            table.subscribe(subscriber(service, port), now, LIFETIME).unwrap();
        }
        let ports = |namespace, service, page, now| {
            let key = ServiceKey::parse(namespace, service).unwrap();
            let (found, count) = table.listening(&key, page, now);
            let port = |found: &Listed| found.address.port();
            (found.iter().map(port).collect::<Vec<_>>(), count)
        };
        let all = Page::new(1, i64::MAX);
        assert_eq!(ports("public", "group@@orders", all, now), (vec![1, 2], 2));
        assert_eq!(ports("public", "group@@orders", Page::new(2, 1), now), (vec![2], 2));
        for (namespace, service) in
            [("public", "group@@order"), ("public", "g@@orders"), ("publi", "group@@orders")]
        {
            assert_eq!(ports(namespace, service, all, now), (vec![], 0));
        }
        assert_eq!(ports("public", "group@@orders", all, now + LIFETIME), (vec![], 0));
    }
}
