//! What an application holds of a subscription.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use naming_model::Instance;

use crate::client::Inner;
use crate::error::Error;
use crate::instances::{Change, Instances};
use crate::names::ServiceQuery;
use crate::poll;
use crate::topic::Topic;

/// A list that keeps itself up to date.
///
/// The list is there at once: [`Subscription::instances`] and [`Subscription::choose`] never
/// wait. [`Subscription::changed`] and the [`Stream`] give what became different since they were
/// last looked at; a consumer that is slow sees several changes as one, so nothing queues up.
///
/// ```no_run
/// # async fn example(client: naming_client::NamingClient) -> Result<(), naming_client::Error> {
/// let mut orders = client.subscribe("order-service").await?;
/// println!("{} instances", orders.instances().len());
/// while let Some(change) = orders.changed().await {
///     println!("+{} -{} ~{}", change.added.len(), change.removed.len(), change.modified.len());
/// }
/// # Ok(())
/// # }
/// ```
///
/// All subscriptions of a client to the same query share one list and one poll. The last one
/// dropped ends both. A subscription keeps the client's background tasks alive.
pub struct Subscription {
    visit: Visit,
    id: u64,
    seen: Instances,
    seen_version: u64,
}

/// One subscriber's place at a topic.
struct Visit {
    inner: Arc<Inner>,
    topic: Arc<Topic>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.inner.topics.leave(&self.topic);
    }
}

impl Subscription {
    pub(crate) async fn open(inner: &Arc<Inner>, query: &ServiceQuery) -> Result<Self, Error> {
        let topic = inner.topics.enter(query)?;
        let visit = Visit { inner: inner.clone(), topic };
        load_first(inner, &visit.topic).await?;
        let id = inner.topics.next_id();
        let (seen, seen_version) = visit.topic.snapshot();
        Ok(Self { visit, id, seen, seen_version })
    }

    /// What is subscribed to.
    pub fn query(&self) -> &ServiceQuery {
        &self.visit.topic.query
    }

    /// The list as it is known now. The call is cheap; the list is shared.
    pub fn instances(&self) -> Instances {
        self.visit.topic.current()
    }

    /// One usable instance of the list as it is known now, by weight.
    pub fn choose(&self) -> Option<Instance> {
        self.visit.topic.current().choose().cloned()
    }

    /// Waits until the list is another one than when it was last looked at by this method, the
    /// stream, or at first by `subscribe`; tells the difference. `None` after
    /// [`NamingClient::shutdown`](crate::NamingClient::shutdown).
    ///
    /// Cancelling loses nothing.
    pub async fn changed(&mut self) -> Option<Change> {
        std::future::poll_fn(|context| self.poll_changed(context)).await
    }

    /// Forgets what was seen, so that the next change reports the whole list as added. For
    /// consumers that build their state from changes alone.
    #[must_use]
    pub fn from_scratch(mut self) -> Self {
        self.seen = Instances::default();
        // No version has this number, so the next look compares.
        self.seen_version = u64::MAX;
        self
    }

    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Option<Change>> {
        self.visit.topic.poll_change(self.id, &mut self.seen, &mut self.seen_version, context)
    }
}

async fn load_first(inner: &Inner, topic: &Topic) -> Result<(), Error> {
    let mut loaded = topic.first.lock().await;
    if *loaded {
        return Ok(());
    }
    if inner.topics.warm
        && let Some(cache) = &inner.topics.cache
        && let Some(saved) = cache.load(&topic.query).await.filter(|list| !list.is_empty())
    {
        topic.remember(saved);
        inner.topics.poll_now(topic);
        *loaded = true;
        return Ok(());
    }
    if let Err(error) = poll::refresh(&inner.core, &inner.topics, topic, true).await {
        if !matches!(error, Error::NoServer { .. }) {
            return Err(error);
        }
        let saved = match &inner.topics.cache {
            Some(cache) => cache.load(&topic.query).await,
            None => None,
        };
        topic.remember(saved.ok_or(error)?);
    }
    *loaded = true;
    Ok(())
}

impl Stream for Subscription {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        self.poll_changed(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.visit.topic.forget_waker(self.id);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("query", self.query()).finish_non_exhaustive()
    }
}
