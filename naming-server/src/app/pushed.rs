//! What is pushed when a service has changed, and to whom.

use std::sync::Arc;

use bytes::Bytes;
use naming_model::ServiceKey;

use crate::grpc::Front;
use crate::push::{Pusher, Rendered, Source};
use crate::registry::{ChangeSink, Flavour, ListReply, Registry, ViewQuery, list_reply, wall_ms};

/// Wakes the pusher when a service looks different, and tells who watches services.
pub(super) struct PushSink(Pusher, Arc<Front>);

impl PushSink {
    pub(super) fn new(pusher: Pusher, grpc: Arc<Front>) -> Self {
        Self(pusher, grpc)
    }
}

impl ChangeSink for PushSink {
    fn changed(&self, service: &str, lists_differ: bool) {
        if lists_differ {
            self.0.changed(service);
        }
        self.1.changed(service);
    }
}

/// The lists of the registry as they are pushed: like the answer to the subscriber's own request,
/// with the polling interval of those who are pushed to.
pub(super) struct Lists {
    registry: Arc<Registry>,
}

impl Source for Lists {
    fn render(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> Rendered {
        self.read(service, clusters, flavour, |revision, list| Rendered {
            revision,
            data: list.concat().into(),
        })
    }

    fn length(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> (u64, usize) {
        self.read(service, clusters, flavour, |revision, list| {
            (revision, list.iter().map(Bytes::len).sum())
        })
    }
}

impl Lists {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// A list as it is pushed, with the revision that it shows.
    fn read<T>(
        &self,
        service: &ServiceKey,
        clusters: &str,
        flavour: Flavour,
        use_list: impl FnOnce(u64, [Bytes; 2]) -> T,
    ) -> T {
        let query = ViewQuery { flavour, healthy_only: false, clusters, null_metadata: false };
        let cache_ms = self.registry.switches.load().push_cache_ms;
        let reply = ListReply { service, flavour, cache_ms, clusters, env: "", wall_ms: wall_ms() };
        self.registry.read_view(service, &query, |view| {
            use_list(view.map_or(0, |view| view.revision), list_reply(view, &reply))
        })
    }
}
