//! The registry for tower: instances as a set of services that grows and shrinks, and service
//! names in URLs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use hyper::http::Request;
use hyper::http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
use naming_model::Instance;
use parking_lot::Mutex;
use tower::discover::Change as TowerChange;
use tower::{Layer, Service};

use crate::chooser::Chooser;
use crate::client::NamingClient;
use crate::error::Error;
use crate::instances::Change;
use crate::names::ServiceName;
use crate::subscribe::Subscription;

/// Services that one resolver subscribes to at most. A name that comes when there are as many
/// pushes another one out.
const MAX_RESOLVED: usize = 256;

/// A subscription as tower's [`Discover`](tower::discover::Discover): each usable instance
/// (healthy, enabled, weight above 0) becomes a service made by a function, keyed by
/// `<ip>#<port>#<cluster>`. It begins with the instances there are.
///
/// An instance whose metadata or weight changes is made again, which replaces its service.
///
/// ```no_run
/// # use tower::Service;
/// use naming_client::tower::ServiceDiscover;
///
/// # async fn example<S>(client: naming_client::NamingClient, connect: fn(String) -> S)
/// # -> Result<(), naming_client::Error> {
/// let subscription = client.subscribe("order-service").await?;
/// let discover = ServiceDiscover::new(subscription, move |instance| {
///     connect(format!("http://{}", instance.authority()))
/// });
/// // tower::balance::p2c::Balance::new(discover), for example.
/// # Ok(())
/// # }
/// ```
pub struct ServiceDiscover<F> {
    subscription: Subscription,
    make: F,
    waiting: VecDeque<Step>,
    inserted: HashSet<String>,
}

enum Step {
    Insert(Instance),
    Remove(String),
}

impl<F> ServiceDiscover<F> {
    /// Makes a service of each instance with `make`.
    pub fn new<S>(subscription: Subscription, make: F) -> Self
    where
        F: FnMut(&Instance) -> S,
    {
        let subscription = subscription.from_scratch();
        Self { subscription, make, waiting: VecDeque::new(), inserted: HashSet::new() }
    }

    fn take(&mut self, change: Change) {
        let gone = change.removed.into_iter().map(|instance| instance.key().to_string());
        let unusable = |instance: &Instance| !instance.is_usable();
        let (closed, open): (Vec<_>, Vec<_>) =
            change.added.into_iter().chain(change.modified).partition(unusable);
        let closed = closed.into_iter().map(|instance| instance.key().to_string());
        for key in gone.chain(closed) {
            if self.inserted.remove(&key) {
                self.waiting.push_back(Step::Remove(key));
            }
        }
        for instance in open {
            self.inserted.insert(instance.key().to_string());
            self.waiting.push_back(Step::Insert(instance));
        }
    }
}

impl<F, S> Stream for ServiceDiscover<F>
where
    F: FnMut(&Instance) -> S + Unpin,
{
    type Item = Result<TowerChange<String, S>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.waiting.pop_front() {
                Some(Step::Remove(key)) => return Poll::Ready(Some(Ok(TowerChange::Remove(key)))),
                Some(Step::Insert(instance)) => {
                    let key = instance.key().to_string();
                    let service = (this.make)(&instance);
                    return Poll::Ready(Some(Ok(TowerChange::Insert(key, service))));
                }
                None => {}
            }
            // After a shutdown the services stay as they are: the balancer may go on with them.
            let Some(change) = ready!(Pin::new(&mut this.subscription).poll_next(context)) else {
                return Poll::Ready(None);
            };
            this.take(change);
        }
    }
}

impl<F> fmt::Debug for ServiceDiscover<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceDiscover")
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}

/// Turns `http://order-service/path` into `http://10.0.0.7:8080/path`, where the address is an
/// instance of the service `order-service`, chosen by weight anew for each request.
///
/// A host is taken for a service if it has no dot and no port and is not `localhost`; all other
/// URLs stay as they are. The first request for a service subscribes to it; later ones ask
/// no server.
///
/// As a [`Layer`] it goes around any HTTP client that is a tower service over
/// [`Request`]; [`ServiceResolver::resolve`] serves clients that are not.
#[derive(Clone)]
pub struct ServiceResolver {
    shared: Arc<Shared>,
}

struct Shared {
    client: NamingClient,
    group: String,
    chooser: Chooser,
    subscriptions: Mutex<HashMap<String, Arc<Subscription>>>,
}

impl ServiceResolver {
    /// Looks services up in `DEFAULT_GROUP`.
    pub fn new(client: NamingClient) -> Self {
        Self::in_group(client, "")
    }

    /// Looks services up in `group`.
    pub fn in_group(client: NamingClient, group: impl Into<String>) -> Self {
        Self::choosing(client, group, Chooser::new())
    }

    /// Looks services up in `group`, and chooses instances by `chooser`. If that ejects instances
    /// that fail, [`ResolvedService`] tells it how each call went: an error of the client around
    /// which it is counts as a failure, any response as a success.
    pub fn choosing(client: NamingClient, group: impl Into<String>, chooser: Chooser) -> Self {
        let (group, subscriptions) = (group.into(), Mutex::default());
        Self { shared: Arc::new(Shared { client, group, chooser, subscriptions }) }
    }

    /// The URL to call instead of `url`.
    ///
    /// # Errors
    /// [`Error::NoInstance`], [`Error::Name`] for a host that is no service name, and those of
    /// [`NamingClient::subscribe`] for the first request of a service.
    pub async fn resolve(&self, url: Uri) -> Result<Uri, Error> {
        self.resolve_to(url).await.map(|(url, _)| url)
    }

    /// The same with the instance that was chosen.
    async fn resolve_to(&self, url: Uri) -> Result<(Uri, Option<Instance>), Error> {
        let Some(host) = service_host(&url) else { return Ok((url, None)) };
        let subscription = self.subscription(host).await?;
        let chosen = self
            .shared
            .chooser
            .choose(&subscription.instances())
            .ok_or_else(|| Error::NoInstance { query: subscription.query().clone() })?;
        Ok((with_authority(url, &chosen)?, Some(chosen)))
    }

    async fn subscription(&self, host: &str) -> Result<Arc<Subscription>, Error> {
        if let Some(known) = self.shared.subscriptions.lock().get(host) {
            return Ok(known.clone());
        }
        let service = ServiceName::new(&self.shared.group, host)?;
        let fresh = Arc::new(self.shared.client.subscribe(service).await?);
        let mut subscriptions = self.shared.subscriptions.lock();
        if subscriptions.len() >= MAX_RESOLVED
            && let Some(other) = subscriptions.keys().next().cloned()
        {
            subscriptions.remove(&other);
        }
        subscriptions.insert(host.to_owned(), fresh.clone());
        Ok(fresh)
    }
}

impl fmt::Debug for ServiceResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceResolver").field("group", &self.shared.group).finish_non_exhaustive()
    }
}

fn service_host(url: &Uri) -> Option<&str> {
    let host = url.host()?;
    let is_name = url.port().is_none() && !host.contains(['.', ':']) && host != "localhost";
    is_name.then_some(host)
}

fn with_authority(url: Uri, instance: &Instance) -> Result<Uri, Error> {
    let wrong = |e: hyper::http::Error| Error::Request(e.to_string());
    let mut parts: Parts = url.into_parts();
    let authority = instance.authority();
    parts.authority = Some(Authority::try_from(authority).map_err(|e| wrong(e.into()))?);
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|e| wrong(e.into()))
}

impl<S> Layer<S> for ServiceResolver {
    type Service = ResolvedService<S>;

    fn layer(&self, inner: S) -> ResolvedService<S> {
        ResolvedService { resolver: self.clone(), inner }
    }
}

/// An HTTP client behind a [`ServiceResolver`].
#[derive(Debug, Clone)]
pub struct ResolvedService<S> {
    resolver: ServiceResolver,
    inner: S,
}

/// Why a call through a [`ResolvedService`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ResolvedError<E> {
    /// No instance was found; nothing was sent.
    #[error(transparent)]
    Registry(Error),
    /// The inner client failed.
    #[error("{0}")]
    Inner(#[source] E),
}

impl<S, B> Service<Request<B>> for ResolvedService<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = ResolvedError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(ResolvedError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let resolver = self.resolver.clone();
        // The one that was ready is used; its fresh clone stays here.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let resolved = resolver.resolve_to(head.uri).await;
            let (url, chosen) = resolved.map_err(ResolvedError::Registry)?;
            head.uri = url;
            let outcome = ready.call(Request::from_parts(head, body)).await;
            if let Some(chosen) = chosen {
                resolver.shared.chooser.report(&chosen, outcome.is_ok());
            }
            outcome.map_err(ResolvedError::Inner)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_names_are_taken_for_services() {
        let host = |text: &str| service_host(&text.parse().unwrap()).map(str::to_owned);
        assert_eq!(host("http://order-service/a?b=c"), Some("order-service".to_owned()));
        for other in
            ["http://a.example/", "http://a:80/", "http://localhost/", "http://[::1]/", "/a"]
        {
            assert_eq!(host(other), None, "{other}");
        }
    }

    #[test]
    fn path_and_query_are_kept() {
        let url: Uri = "http://order-service/a?b=c".parse().unwrap();
        let resolved = with_authority(url, &Instance::new("::1", 8080)).unwrap();
        assert_eq!(resolved, "http://[::1]:8080/a?b=c");
        let odd = with_authority("http://s/".parse().unwrap(), &Instance::new("a b", 1));
        assert!(odd.is_err());
    }
}
