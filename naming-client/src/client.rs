//! The client and its calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::beat::{Beats, Entry};
use crate::builder::ClientBuilder;
use crate::call::Core;
use crate::error::Error;
use crate::fetch::{Manner, fetch};
use crate::instances::Instances;
use crate::names::{ServiceName, ServiceQuery};
use crate::pattern::ServicePattern;
use crate::poll::Topics;
use crate::registration::Registration;
use crate::servers::Preference;
use crate::services::Services;
use crate::subscribe::Subscription;
use crate::watch::ServiceWatch;
use crate::write;

/// Registrations or deregistrations in flight at once when many are made together.
const MAX_TOGETHER: usize = 32;
/// The same over a connection.
#[cfg(feature = "grpc")]
const MAX_TOGETHER_BY_GRPC: usize = 10_000;

/// A client of a registry. Cloning is cheap; clones are the same client.
///
/// Its background tasks (beats, polls, pushes) end when the last clone, [`Registration`] and
/// [`Subscription`] are gone, or with [`NamingClient::shutdown`]. There is no global state: two
/// clients share nothing.
#[derive(Clone)]
pub struct NamingClient {
    pub(crate) inner: Arc<Inner>,
}

/// What the handles share. Background tasks hold parts of it and never all of it, so that it
/// goes with the last handle and takes the tasks along.
pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) beats: Arc<Beats>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) runtime: Handle,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) closed: AtomicBool,
}

impl Inner {
    /// Registrations or deregistrations in flight at once when many are made together. Over a
    /// connection those of one service travel together, so the more the better.
    fn most_together(&self) -> usize {
        #[cfg(feature = "grpc")]
        if self.core.link.as_ref().is_some_and(|link| link.session().is_some()) {
            return MAX_TOGETHER_BY_GRPC;
        }
        MAX_TOGETHER
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::ShutDown),
            false => Ok(()),
        }
    }
}

impl NamingClient {
    /// Starts to describe a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Registers `instance` and keeps it registered until the guard is closed or dropped. Returns
    /// when a server has confirmed it.
    ///
    /// Cancelling the future deregisters in the background.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Instance`] before anything is sent,
    /// [`Error::AlreadyRegistered`] if another guard of this client holds the same instance, and
    /// the errors of any call. After an error that [may have had an
    /// effect](Error::may_have_had_effect) the client deregisters in the background.
    pub async fn register<S>(&self, service: S, instance: Instance) -> Result<Registration, Error>
    where
        S: TryInto<ServiceName>,
        Error: From<S::Error>,
    {
        self.inner.check_open()?;
        let service = service.try_into()?;
        instance.check()?;
        let entry = self.inner.beats.reserve(&service, &instance).await?;
        let registration = Registration::new(self.inner.clone(), entry.clone());
        let outcome = {
            let _turn = entry.turn.lock().await;
            write::register(&self.inner.core, &entry, true).await
        };
        match outcome {
            Ok(()) => {
                self.inner.beats.start(&entry);
                Ok(registration)
            }
            Err(error) => {
                if !error.may_have_had_effect() {
                    self.inner.beats.begin_close(&entry);
                    self.inner.beats.finish_close(&entry);
                }
                Err(error)
            }
        }
    }

    /// Registers many instances, a few at a time; the results are in the order of the instances.
    /// One that fails does not stop the others.
    pub async fn register_all(
        &self,
        instances: impl IntoIterator<Item = (ServiceName, Instance)>,
    ) -> Vec<Result<Registration, Error>> {
        let mut results = Vec::new();
        let mut flights: JoinSet<(usize, Result<Registration, Error>)> = JoinSet::new();
        let mut waiting = instances.into_iter().enumerate();
        let most = self.inner.most_together();
        loop {
            while flights.len() < most
                && let Some((place, (service, instance))) = waiting.next()
            {
                let client = self.clone();
                results.push(Err(Error::ShutDown));
                flights.spawn(async move { (place, client.register(service, instance).await) });
            }
            // A flight ends without a result only when the runtime ends.
            let Some(landed) = flights.join_next().await else { return results };
            if let Ok((place, result)) = landed
                && let Some(slot) = results.get_mut(place)
            {
                *slot = result;
            }
        }
    }

    /// Asks for the instances of a service, healthy or not. If no server answers, the list known
    /// last is given, [marked as stale](Instances::is_stale): that of a live subscription, or
    /// that on disk if the client has a [cache directory](ClientBuilder::cache_directory).
    ///
    /// A service that does not exist has an empty list.
    ///
    /// # Errors
    /// Those of any call; [`Error::NoServer`] only if no list is known either.
    pub async fn instances<Q>(&self, query: Q) -> Result<Instances, Error>
    where
        Q: TryInto<ServiceQuery>,
        Error: From<Q::Error>,
    {
        self.list(&query.try_into()?).await
    }

    async fn list(&self, query: &ServiceQuery) -> Result<Instances, Error> {
        self.inner.check_open()?;
        let (core, topics) = (&self.inner.core, &self.inner.topics);
        let manner =
            Manner { push: None, subscribe: false, preference: Preference::Sticky, patient: true };
        match fetch(core, query, manner).await {
            Ok(fetched) => {
                let list = Instances::new(fetched.list.hosts);
                // The list of a subscription is saved by itself, under the rules for empty lists.
                if let (Some(cache), None) = (&topics.cache, topics.find(query)) {
                    cache.save_later(query, list.clone());
                }
                Ok(list)
            }
            Err(error @ Error::NoServer { .. }) => self.known_last(query).await.ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn known_last(&self, query: &ServiceQuery) -> Option<Instances> {
        let topics = &self.inner.topics;
        if let Some(known) = topics.find(query).map(|topic| topic.current())
            && (known.age().is_some() || !known.is_empty())
        {
            return Some(known.into_stale());
        }
        topics.cache.as_ref()?.load(query).await.map(Instances::remembered)
    }

    /// Chooses one usable instance (healthy, enabled, weight above 0) by weight. With a live
    /// subscription to the same query this asks no server; without one it asks each time, so
    /// subscribe before calling it often.
    ///
    /// # Errors
    /// [`Error::NoInstance`] if none is usable, and those of [`NamingClient::instances`].
    pub async fn select<Q>(&self, query: Q) -> Result<Instance, Error>
    where
        Q: TryInto<ServiceQuery>,
        Error: From<Q::Error>,
    {
        self.inner.check_open()?;
        let query = query.try_into()?;
        let subscribed = self.inner.topics.find(&query).map(|topic| topic.current());
        let list = match subscribed {
            Some(list) if !list.is_empty() => list,
            _ => self.list(&query).await?,
        };
        list.choose().cloned().ok_or(Error::NoInstance { query })
    }

    /// Subscribes to a service. Returns when the first list is there; if no server answers, that
    /// is the list on disk, marked as stale.
    ///
    /// # Errors
    /// As [`NamingClient::instances`]. Once subscribed, nothing fails: while no server answers,
    /// the list stays as it is and is marked as stale.
    pub async fn subscribe<Q>(&self, query: Q) -> Result<Subscription, Error>
    where
        Q: TryInto<ServiceQuery>,
        Error: From<Q::Error>,
    {
        self.inner.check_open()?;
        Subscription::open(&self.inner, &query.try_into()?).await
    }

    /// Follows which services there are among those that match `pattern`. Returns when those that
    /// are there now are known.
    ///
    /// # Errors
    /// [`Error::Name`] for a pattern that matches no name, and those of any call.
    pub async fn watch_services<P>(&self, pattern: P) -> Result<ServiceWatch, Error>
    where
        P: TryInto<ServicePattern>,
        Error: From<P::Error>,
    {
        self.inner.check_open()?;
        ServiceWatch::open(self, pattern.try_into()?).await
    }

    /// The calls that administer services.
    pub fn services(&self) -> Services<'_> {
        Services::new(self)
    }

    /// The servers' addresses, in the order in which they would be asked now.
    pub fn servers(&self) -> Vec<String> {
        let order = self.inner.core.servers.order(Preference::Sticky);
        order.iter().map(|server| server.address.authority()).collect()
    }

    /// How many registrations and subscribed queries the client keeps.
    pub fn load(&self) -> ClientLoad {
        ClientLoad { registrations: self.inner.beats.len(), queries: self.inner.topics.len() }
    }

    /// Deregisters all ephemeral instances, ends all subscriptions and background tasks, and
    /// waits for that, at most for two call time-outs. Calls made later fail with
    /// [`Error::ShutDown`]; guards dropped later do nothing.
    pub async fn shutdown(&self) {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.inner.topics.close();
        let limit = self.inner.core.call_timeout;
        let ended = tokio::time::timeout(limit * 2, async {
            self.deregister_all().await;
            self.inner.beats.empty().await;
        });
        if ended.await.is_err() {
            tracing::warn!("not all instances could be deregistered in time");
        }
        // Nobody listens only if the tasks have ended already.
        let _ = self.inner.stop.send(true);
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }

    async fn deregister_all(&self) {
        let mut flights = JoinSet::new();
        let most = self.inner.most_together();
        for entry in self.inner.beats.all() {
            if !self.inner.beats.begin_close(&entry) {
                continue;
            }
            if flights.len() >= most {
                flights.join_next().await;
            }
            flights.spawn(end(self.inner.core.clone(), self.inner.beats.clone(), entry));
        }
        while flights.join_next().await.is_some() {}
    }
}

async fn end(core: Arc<Core>, beats: Arc<Beats>, entry: Arc<Entry>) {
    let ephemeral = entry.instance.lock().ephemeral;
    if ephemeral {
        let _turn = entry.turn.lock().await;
        if let Err(error) = write::deregister(&core, &entry).await {
            tracing::warn!(service = %entry.service, %error, "deregistering failed");
        }
    }
    beats.finish_close(&entry);
}

/// What a client keeps, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLoad {
    /// Instances kept registered, those that are just being deregistered included.
    pub registrations: usize,
    /// Different queries subscribed to.
    pub queries: usize,
}

impl fmt::Debug for NamingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamingClient")
            .field("servers", &self.servers())
            .field("namespace", &self.inner.core.namespace.as_str())
            .finish_non_exhaustive()
    }
}
