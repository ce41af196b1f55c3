//! One state of a service on its way to the sockets that listen.

use std::sync::Arc;

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::{Subscription, Template};
use crate::push::{Shared, Source};
use crate::registry::Flavour;

/// The sockets that one state of a service is sent to.
pub(in crate::push) struct Batch {
    /// The change it is about, until the first packet has left.
    pub(super) changed_at: Option<Instant>,
    /// Those who owe an ack come last: who answers is served first. In both parts ordered by
    /// kind, so that keeping one packet is enough.
    subscriptions: Vec<Arc<Subscription>>,
    position: usize,
    rendered: Option<RenderedKind>,
}

struct RenderedKind {
    clusters: Arc<str>,
    flavour: Flavour,
    template: Option<Arc<Template>>,
}

impl Batch {
    /// For those who answer, and those who owe an ack.
    pub(in crate::push) fn new(
        mut answering: Vec<Arc<Subscription>>,
        mut silent: Vec<Arc<Subscription>>,
        changed_at: Instant,
    ) -> Self {
        sort_by_kind(&mut answering);
        sort_by_kind(&mut silent);
        answering.append(&mut silent);
        let (position, rendered) = Default::default();
        Self { changed_at: Some(changed_at), subscriptions: answering, position, rendered }
    }

    /// For these subscriptions alone, whose packets were put off.
    pub(super) fn put_off(mut subscriptions: Vec<Arc<Subscription>>) -> Self {
        sort_by_kind(&mut subscriptions);
        let (changed_at, position, rendered) = Default::default();
        Self { changed_at, subscriptions, position, rendered }
    }

    pub(in crate::push) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// The next subscription, if there is one left.
    pub(super) fn next(&mut self) -> Option<Arc<Subscription>> {
        let subscription = self.subscriptions.get(self.position).map(Arc::clone)?;
        self.position += 1;
        Some(subscription)
    }

    pub(super) fn is_rendered_for(&self, subscription: &Subscription) -> bool {
        let kind = self.rendered.as_ref().map(|rendered| (&*rendered.clusters, rendered.flavour));
        kind == Some(subscription.kind())
    }

    /// The packet for a subscriber; `None` if it could not read it.
    pub(super) fn template_for(
        &mut self,
        service: &ServiceKey,
        subscription: &Subscription,
        shared: &Shared,
    ) -> Option<Arc<Template>> {
        if !self.is_rendered_for(subscription) {
            let subscriber = &subscription.subscriber;
            self.rendered = Some(RenderedKind {
                clusters: Arc::clone(&subscriber.clusters),
                flavour: subscriber.flavour,
                template: render(service, subscription, shared),
            });
        }
        let template = self.rendered.as_ref()?.template.as_ref()?;
        let limits = shared.settings.limits(subscription.subscriber.family);
        limits.allow(template.size()).then(|| Arc::clone(template))
    }
}

fn sort_by_kind(subscriptions: &mut [Arc<Subscription>]) {
    // Mostly there is one kind only, and looking costs less than sorting.
    if !subscriptions.is_sorted_by(|left, right| left.kind() == right.kind()) {
        subscriptions.sort_by(|left, right| left.kind().cmp(&right.kind()));
    }
}

fn render(
    service: &ServiceKey,
    subscription: &Subscription,
    shared: &Shared,
) -> Option<Arc<Template>> {
    let (clusters, flavour) = subscription.kind();
    let source: &dyn Source = &*shared.source;
    let rendered = source.render(service, clusters, flavour);
    let template =
        Template::encode(shared.udp.ids.next_serial(), &rendered.data, &shared.udp.budget)?;
    tracing::trace!(
        service = service.as_str(),
        revision = rendered.revision,
        bytes = template.len(),
        "push"
    );
    Some(Arc::new(template))
}
