//! Following which services there are.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::call::Core;
use crate::client::{Inner, NamingClient};
use crate::error::Error;
use crate::names::{Namespace, ServiceName};
use crate::pattern::ServicePattern;
use crate::services::list_all;

/// Services that one watch knows at most; servers tell 500 over gRPC.
const MAX_KNOWN: usize = 100_000;
/// How often the names are read where servers do not tell them.
const PERIOD: Duration = Duration::from_secs(5);
/// How often a server that tells names is told which ones we know, so that it finds differences.
#[cfg(feature = "grpc")]
const RESYNC: Duration = Duration::from_secs(180);

/// Services that have come and gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServicesChange {
    /// Services that there are now.
    pub added: Vec<ServiceName>,
    /// Services that there are no more: their last instance has gone.
    pub removed: Vec<ServiceName>,
}

/// What is known of a pattern.
#[derive(Debug)]
pub(crate) struct PatternTopic {
    pub(crate) pattern: ServicePattern,
    pub(crate) namespace: Namespace,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeSet<ServiceName>,
    version: u64,
    is_loaded: bool,
    refused: Option<Error>,
    closed: bool,
    wakers: HashMap<u64, Waker>,
}

impl PatternTopic {
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state.lock();
        if change(&mut state) {
            state.version += 1;
            state.wakers.drain().for_each(|(_, waker)| waker.wake());
        }
    }

    pub(crate) fn come(&self, service: ServiceName) {
        self.change(|state| state.known.len() < MAX_KNOWN && state.known.insert(service));
    }

    pub(crate) fn gone(&self, service: &ServiceName) {
        self.change(|state| state.known.remove(service));
    }

    pub(crate) fn known(&self) -> BTreeSet<ServiceName> {
        self.state.lock().known.clone()
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.state.lock().is_loaded
    }

    /// All that there is has been told.
    pub(crate) fn loaded(&self) {
        self.state.lock().is_loaded = true;
        self.news.notify_one();
    }

    fn replace(&self, known: BTreeSet<ServiceName>) {
        self.change(|state| {
            let is_news = state.known != known;
            state.known = known;
            is_news
        });
        self.loaded();
    }

    fn refuse(&self, error: Error) {
        self.state.lock().refused = Some(error);
        self.news.notify_one();
    }

    fn close(&self) {
        self.change(|state| {
            state.closed = true;
            true
        });
    }
}

/// The services that match a pattern, kept up to date.
///
/// Servers of 3.x, and those of this project, tell over gRPC when the first instance of a service
/// comes and the last one goes; from others the names are read every 5 s. A consumer that is slow
/// sees several changes as one, so nothing queues up. It ends with
/// [`NamingClient::shutdown`].
///
/// ```no_run
/// # async fn example(client: naming_client::NamingClient) -> Result<(), naming_client::Error> {
/// let mut watch = client.watch_services("shop@@order-*").await?;
/// println!("{} services", watch.services().len());
/// while let Some(change) = watch.changed().await {
///     println!("{:?} came, {:?} went", change.added, change.removed);
/// }
/// # Ok(())
/// # }
/// ```
pub struct ServiceWatch {
    topic: Arc<PatternTopic>,
    task: JoinHandle<()>,
    seen: BTreeSet<ServiceName>,
    seen_version: u64,
    _inner: Arc<Inner>,
}

impl ServiceWatch {
    pub(crate) async fn open(
        client: &NamingClient,
        pattern: ServicePattern,
    ) -> Result<Self, Error> {
        let inner = client.inner.clone();
        let namespace = inner.core.namespace.clone();
        let (state, news) = (Mutex::default(), Notify::new());
        let topic = Arc::new(PatternTopic { pattern, namespace, state, news });
        let (core, stop) = (inner.core.clone(), inner.stop.subscribe());
        let task = inner.runtime.spawn(follow(core, topic.clone(), stop));
        let watch =
            Self { topic, task, seen: BTreeSet::new(), seen_version: 0, _inner: inner.clone() };
        let first = async {
            loop {
                let news = watch.topic.news.notified();
                {
                    let state = watch.topic.state.lock();
                    if state.is_loaded {
                        return Ok(());
                    }
                    if let Some(error) = &state.refused {
                        return Err(error.clone());
                    }
                }
                news.await;
            }
        };
        let limit = inner.core.call_timeout;
        let loaded = tokio::time::timeout(limit, first).await;
        loaded.unwrap_or(Err(Error::NoServer { attempts: Vec::new() }))?;
        let mut watch = watch;
        let state = watch.topic.state.lock();
        (watch.seen, watch.seen_version) = (state.known.clone(), state.version);
        drop(state);
        Ok(watch)
    }

    /// What is watched.
    pub fn pattern(&self) -> &ServicePattern {
        &self.topic.pattern
    }

    /// The services as they are known now, in order.
    pub fn services(&self) -> Vec<ServiceName> {
        self.topic.known().into_iter().collect()
    }

    /// Waits until the services are others than when they were last looked at by this method, the
    /// stream, or at first by `watch_services`. `None` after
    /// [`NamingClient::shutdown`].
    ///
    /// Cancelling loses nothing.
    pub async fn changed(&mut self) -> Option<ServicesChange> {
        std::future::poll_fn(|context| self.poll_changed(context)).await
    }

    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Option<ServicesChange>> {
        let mut state = self.topic.state.lock();
        if state.version != self.seen_version {
            self.seen_version = state.version;
            let change = ServicesChange {
                added: state.known.difference(&self.seen).cloned().collect(),
                removed: self.seen.difference(&state.known).cloned().collect(),
            };
            self.seen.clone_from(&state.known);
            if change != ServicesChange::default() {
                return Poll::Ready(Some(change));
            }
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.wakers.insert(0, context.waker().clone());
        Poll::Pending
    }
}

impl Stream for ServiceWatch {
    type Item = ServicesChange;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_changed(context)
    }
}

impl Drop for ServiceWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ServiceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceWatch").field("pattern", self.pattern()).finish_non_exhaustive()
    }
}

/// Follows a pattern until the client ends.
async fn follow(
    core: Arc<Core>,
    topic: Arc<PatternTopic>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let work = async {
        loop {
            #[cfg(feature = "grpc")]
            if told::watch(&core, &topic).await {
                continue;
            }
            read(&core, &topic).await;
            tokio::time::sleep(PERIOD).await;
        }
    };
    tokio::select! {
        // The sender is dropped with the client's last handle.
        _ = stop.changed() => {}
        () = work => {}
    }
    topic.close();
}

/// Reads the names once.
async fn read(core: &Core, topic: &PatternTopic) {
    let group = if topic.pattern.group().contains('*') { "*" } else { topic.pattern.group() };
    match list_all(core, group).await {
        Ok(names) => {
            let names = names.into_iter().filter(|name| topic.pattern.matches(name));
            topic.replace(names.collect());
        }
        Err(error) => {
            tracing::debug!(pattern = %topic.pattern, %error, "the names of services cannot be read");
            topic.refuse(error);
        }
    }
}

/// Servers that tell names by themselves.
#[cfg(feature = "grpc")]
mod told {
    use std::sync::Arc;

    use super::{PatternTopic, RESYNC};
    use crate::call::Core;
    use crate::error::Error;
    use crate::grpc::{Link, Problem, Session, fuzzy_request, wire_pattern};

    /// Takes the place at the link away when the watch ends, however it ends.
    struct Place<'a> {
        core: &'a Arc<Core>,
        link: &'a Arc<Link>,
        topic: &'a Arc<PatternTopic>,
        wire: String,
    }

    impl Drop for Place<'_> {
        fn drop(&mut self) {
            if !self.link.watches.leave(&self.wire, self.topic) {
                return;
            }
            let Some(session) = self.link.session() else { return };
            let request = fuzzy_request(self.core, self.topic, &self.wire, false);
            let (Ok(request), core) = (request, self.core.clone()) else { return };
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    // What fails costs notices that nobody reads.
                    let _ = session.call(&core, &core.http, &request, core.request_timeout).await;
                });
            }
        }
    }

    /// Watches over the connection of the moment until it is over. `false` if names have to be
    /// read instead.
    pub(super) async fn watch(core: &Arc<Core>, topic: &Arc<PatternTopic>) -> bool {
        let Some(link) = core.link.as_ref() else { return false };
        let deadline = tokio::time::Instant::now() + core.call_timeout;
        let Ok(crate::grpc::Via::Grpc(session)) = link.via(deadline, true).await else {
            return false;
        };
        if !session.abilities.fuzzy_watch {
            return false;
        }
        let wire = wire_pattern(core, &topic.pattern);
        let place = Place { core, link, topic, wire };
        link.watches.enter(&place.wire, topic);
        loop {
            match ask(core, &session, topic, &place.wire).await {
                Ok(()) => {}
                Err(Problem::Final(error @ Error::Refused { .. })) => {
                    tracing::warn!(pattern = %topic.pattern, %error,
                        "the server does not watch the pattern, its services are read instead");
                    return false;
                }
                Err(_) => return !session.is_over() && wait_a_little().await,
            }
            if tokio::time::timeout(RESYNC, session.over()).await.is_ok() {
                return true;
            }
        }
    }

    async fn wait_a_little() -> bool {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        true
    }

    async fn ask(
        core: &Core,
        session: &Session,
        topic: &PatternTopic,
        wire: &str,
    ) -> Result<(), Problem> {
        let request = fuzzy_request(core, topic, wire, true).map_err(Problem::Final)?;
        session.call(core, &core.http, &request, core.request_timeout).await.map(drop)
    }
}
