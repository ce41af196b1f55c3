//! Fuzzy watch: requests of clients, and notices to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use distro_core::ConnectionId;
use naming_model::{GROUP_SEPARATOR, ServiceKey};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Front;
use super::answer::{Answer, Fields, code};
use super::body::FuzzyRequest;
use super::connections::Connection;
use super::dispatch::Request;
use super::fuzzy::{Due, MOST_PATTERNS, MOST_SERVICES, Notice, Pattern, key_of};
use super::names::illegal;
use super::refusal::Refusal;
use crate::naming::{Access, Need};
use crate::registry::{Action, CLASS_INSTANCE};

/// Services that have changed and are yet to be looked at. Beyond that changes are not told; clients
/// say every few minutes what they know.
const MOST_CHANGED: usize = 100_000;

/// Who watches, and what has changed meanwhile.
#[derive(Default)]
pub(super) struct Watchers {
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    /// Whether there is any: changes are many, and watchers few.
    is_any: AtomicBool,
    changed: Mutex<BTreeSet<Box<str>>>,
}

impl Watchers {
    fn add(&self, connection: &Arc<Connection>) {
        self.is_any.store(true, Relaxed);
        self.connections.lock().insert(connection.number(), Arc::clone(connection));
    }

    /// A connection is over, or watches nothing any more.
    pub(super) fn remove(&self, connection: &Connection) {
        let mut connections = self.connections.lock();
        connections.remove(&connection.number());
        self.is_any.store(!connections.is_empty(), Relaxed);
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().cloned().collect()
    }
}

impl Request<'_> {
    pub(super) async fn fuzzy_watch(&self) -> Result<Answer, Refusal> {
        let request: FuzzyRequest = self.read()?;
        let text = &*request.group_key_pattern;
        let pattern = Pattern::parse(text);
        let namespace = pattern.as_ref().map_or("", |pattern| &pattern.namespace);
        self.admit(Access::Read, &Need::Namespace(Action::Read, namespace)).await?;
        let connection = self.connection;
        match (&*request.watch_type, pattern) {
            ("CANCEL_WATCH", _) => {
                let mut watches = connection.watches.lock();
                watches.cancel(text);
                if watches.is_empty() {
                    self.front.watchers.remove(connection);
                }
            }
            ("WATCH", Some(pattern)) => self.watch(&request, pattern)?,
            ("WATCH", None) => {
                return Err(illegal("groupKeyPattern", "it should be namespace>>group>>service"));
            }
            (other, _) => {
                let other = crate::text::cut(other, 100);
                return Err(illegal(
                    "watchType",
                    &format!("it is neither WATCH nor CANCEL_WATCH but {other}"),
                ));
            }
        }
        Ok(self.success(Fields::new()))
    }

    fn watch(&self, request: &FuzzyRequest, pattern: Pattern) -> Result<(), Refusal> {
        let (front, connection) = (self.front, self.connection);
        let text = &*request.group_key_pattern;
        if request.received_group_keys.is_too_long {
            return Err(illegal("receivedGroupKeys", "there are too many"));
        }
        // From now on changes are noted: those before are in the list of what is there.
        front.watchers.add(connection);
        let mut watches = connection.watches.lock();
        if watches.is_full(text) {
            let text = format!("a connection watches {MOST_PATTERNS} patterns at most");
            return Err(Refusal::Typed(code::TOO_MANY_PATTERNS, text));
        }
        let there = front.services_like(&pattern);
        if there.len() >= MOST_SERVICES {
            let text = format!("the pattern matches {MOST_SERVICES} services or more");
            return Err(Refusal::Typed(code::TOO_MANY_SERVICES, text));
        }
        let known = request.received_group_keys.items.iter().cloned().collect();
        let (now, both) = (Instant::now(), (there, known));
        let next = || front.naming.pusher().request_ids().next();
        let due = watches.watch(text, pattern, both, request.initializing, now, &next);
        front.notify(connection, due);
        drop(watches);
        if connection.is_over() {
            front.watchers.remove(connection);
        }
        Ok(())
    }
}

impl Front {
    /// A service with this tag looks different now. Costs next to nothing if nobody watches.
    pub(crate) fn changed(&self, tag: &str) {
        if !self.watchers.is_any.load(Relaxed) {
            return;
        }
        let mut changed = self.watchers.changed.lock();
        if changed.len() < MOST_CHANGED && !changed.contains(tag) {
            changed.insert(tag.into());
        }
    }

    /// Tells watchers which services have come and gone.
    pub(super) fn tell_watchers(&self) {
        let changed = std::mem::take(&mut *self.watchers.changed.lock());
        let services = changed.iter().filter_map(|tag| ServiceKey::from_tag(tag));
        let services: Vec<_> =
            services.map(|service| (self.has_instances(&service), service)).collect();
        let (now, next) = (Instant::now(), || self.naming.pusher().request_ids().next());
        for connection in self.watchers.all() {
            let mut watches = connection.watches.lock();
            for (is_there, service) in &services {
                let due = watches.changed(service, *is_there, now, &next);
                self.notify(&connection, due);
            }
            match watches.late(now, &next) {
                Ok(due) => self.notify(&connection, due),
                Err(_) => connection.cut(),
            }
        }
    }

    /// A client has answered a notice, if it was one.
    pub(super) fn watch_acked(&self, connection: &Connection, request: u64, is_success: bool) {
        let mut watches = connection.watches.lock();
        if watches.is_empty() {
            return;
        }
        let next = || self.naming.pusher().request_ids().next();
        if let Some(due) = watches.acked(request, is_success, Instant::now(), &next) {
            self.notify(connection, due);
        }
    }

    fn notify(&self, connection: &Connection, due: Vec<Due>) {
        for Due { request, pattern, notice } in due {
            self.post_as(connection, notice_of(&request.to_string(), &pattern, notice));
        }
    }

    /// The services with instances whose names match, by their names towards clients; one more than
    /// the most at most.
    fn services_like(&self, pattern: &Pattern) -> BTreeSet<String> {
        let mut found = Vec::new();
        self.registry().index.visit(&pattern.namespace, |group, rest, datum| {
            let name = rest.split(GROUP_SEPARATOR).next().unwrap_or_default();
            if pattern.matches_name(group, name) {
                found.push(Arc::clone(datum));
            }
            true
        });
        let mut keys = BTreeSet::new();
        for datum in found {
            let service = ServiceKey::from_tag(datum.tag());
            if let Some(service) = service.filter(|service| self.has_instances(service)) {
                keys.insert(key_of(&service));
            }
            if keys.len() > MOST_SERVICES {
                break;
            }
        }
        keys
    }

    fn has_instances(&self, service: &ServiceKey) -> bool {
        let Some(datum) = self.registry().find(service) else { return false };
        datum
            .read(|reader| reader.visible().any(|(.., value)| value_class(value) == CLASS_INSTANCE))
    }
}

fn value_class(value: &Arc<crate::registry::Content>) -> usize {
    distro_core::Value::class(&**value)
}

fn notice_of(id: &str, pattern: &str, notice: Notice) -> Answer {
    const SYNC: &str = "NamingFuzzyWatchSyncRequest";
    let change = |is_there| if is_there { "ADD_SERVICE" } else { "DELETE_SERVICE" };
    let sync = |kind: &str, contexts: &[(String, bool)], (part, parts): (usize, usize)| {
        let contexts = contexts.iter().map(|(service, is_there)| {
            let fields = Fields::new().text("serviceKey", service);
            fields.text("changedType", change(*is_there)).object()
        });
        let fields = Fields::new().text("syncType", kind).text("groupKeyPattern", pattern);
        let fields = fields.objects("contexts", contexts);
        Answer::request(SYNC, id, fields.number("totalBatch", parts).number("currentBatch", part))
    };
    match notice {
        Notice::Batch { is_first: true, services, part, parts } => {
            sync("FUZZY_WATCH_INIT_NOTIFY", &services, (part, parts))
        }
        Notice::Batch { is_first: false, services, part, parts } => {
            sync("FUZZY_WATCH_DIFF_SYNC_NOTIFY", &services, (part, parts))
        }
        Notice::Finish => sync("FINISH_FUZZY_WATCH_INIT_NOTIFY", &[], (1, 1)),
        Notice::Change { service, is_there } => {
            let fields = Fields::new().text("syncType", "FUZZY_WATCH_RESOURCE_CHANGED");
            let fields = fields.text("serviceKey", &service).text("changedType", change(is_there));
            Answer::request("NamingFuzzyWatchChangeNotifyRequest", id, fields)
        }
    }
}
