//! Rounds: one state of a service for all who listen.

use std::sync::Arc;

use tokio::time::Instant;

use super::table::Topic;
use crate::push::subscriber::Subscription;
use crate::push::udp::Template;
use crate::push::{Shared, Source};
use crate::registry::Flavour;

/// One state of a service on its way to all subscribers.
pub(in crate::push) struct Round {
    pub(in crate::push) topic: Arc<Topic>,
    pub(in crate::push) started: Instant,
    /// The change the round is about, until the first packet has left.
    pub(in crate::push) changed_at: Option<Instant>,
    /// Those who owe an ack come last: who answers is served first. In both parts ordered by
    /// kind, so that keeping one packet is enough.
    pub(in crate::push) subscriptions: Vec<Arc<Subscription>>,
    pub(in crate::push) position: usize,
    /// For those alone whose packets were put off: the service is somewhere else as well.
    pub(in crate::push) is_extra: bool,
    rendered: Option<RenderedKind>,
}

struct RenderedKind {
    clusters: Arc<str>,
    flavour: Flavour,
    template: Option<Arc<Template>>,
}

impl Round {
    pub(in crate::push) fn new(topic: Arc<Topic>, changed_at: Instant) -> Self {
        let started = Instant::now();
        let (mut subscriptions, silent) = topic.ready(started);
        sort_by_kind(&mut subscriptions);
        let first_silent = subscriptions.len();
        subscriptions.extend(silent);
        sort_by_kind(&mut subscriptions[first_silent..]);
        let changed_at = Some(changed_at);
        let (position, is_extra, rendered) = Default::default();
        Self { topic, started, changed_at, subscriptions, position, is_extra, rendered }
    }

    /// A round for these subscriptions alone.
    pub(in crate::push) fn extra(
        topic: Arc<Topic>,
        mut subscriptions: Vec<Arc<Subscription>>,
    ) -> Self {
        sort_by_kind(&mut subscriptions);
        let (started, changed_at, position, rendered) = (Instant::now(), None, 0, None);
        Self { topic, started, changed_at, subscriptions, position, is_extra: true, rendered }
    }

    pub(in crate::push) fn is_rendered_for(&self, subscription: &Subscription) -> bool {
        let kind = self.rendered.as_ref().map(|rendered| (&*rendered.clusters, rendered.flavour));
        kind == Some(subscription.kind())
    }

    /// The packet for a subscriber; `None` if it could not read it.
    pub(in crate::push) fn template_for(
        &mut self,
        subscription: &Subscription,
        shared: &Shared,
    ) -> Option<Arc<Template>> {
        if !self.is_rendered_for(subscription) {
            let subscriber = &subscription.subscriber;
            self.rendered = Some(RenderedKind {
                clusters: Arc::clone(&subscriber.clusters),
                flavour: subscriber.flavour,
                template: render(&self.topic, subscription, shared),
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

fn render(topic: &Topic, subscription: &Subscription, shared: &Shared) -> Option<Arc<Template>> {
    let (clusters, flavour) = subscription.kind();
    let source: &dyn Source = &*shared.source;
    let rendered = source.render(&topic.service, clusters, flavour);
    let template = Template::encode(shared.ids.next_serial(), &rendered.data, &shared.budget)?;
    tracing::trace!(
        service = topic.service.as_str(),
        revision = rendered.revision,
        bytes = template.len(),
        "push"
    );
    Some(Arc::new(template))
}
