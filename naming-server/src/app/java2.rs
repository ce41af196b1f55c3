//! What a member among Java servers of 2.x or 3.x has besides, put together.

use std::sync::Arc;

use distro_core::SharedStatus;
use distro_net::{Address, MemberWatch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::grpc::{self, Front, FrontParts};
use crate::http::Accept;
use crate::java2::{Changed, PeerParts, Peers};
use crate::membership::Java2Membership;
use crate::naming::Naming;

/// A member among Java servers of 2.x or 3.x.
pub(crate) struct Java2 {
    pub(crate) peers: Arc<Peers>,
    /// What other members ask.
    front: Arc<Front>,
    /// The list of members to begin with.
    list: Vec<Address>,
    /// Tells of changes of the list.
    watch: MemberWatch,
}

impl Java2 {
    pub(super) fn new(
        config: &Config,
        membership: Java2Membership,
        changed: Arc<Changed>,
        address: &str,
        naming: &Arc<Naming>,
        shared_status: &Arc<SharedStatus>,
        grpc: &Arc<Front>,
    ) -> Self {
        let Java2Membership { settings, caller, list, watch } = membership;
        let parts = PeerParts {
            settings,
            registry: Arc::clone(naming.registry()),
            shared_status: Arc::clone(shared_status),
            changed,
            caller,
            list: list.clone(),
        };
        let peers = Arc::new(Peers::new(parts));
        let front = Arc::new(Front::new(FrontParts {
            settings: config.grpc.clone(),
            address,
            naming: Arc::clone(naming),
            shared_status: Arc::clone(shared_status),
            peers: Some(Arc::clone(&peers)),
            has_java: false,
        }));
        // The one is whom clients connect to, the other whom members do.
        peers.connect(Arc::downgrade(grpc) as _, Arc::downgrade(&front) as _);
        Self { peers, front, list, watch }
    }

    /// Loads what other members hold, before any port opens. False if `shutdown` came first.
    pub(crate) async fn begin(&self, shutdown: &CancellationToken) -> bool {
        tokio::select! {
            () = self.peers.begin(&self.list) => true,
            () = shutdown.cancelled() => false,
        }
    }

    /// Serves other members, and calls them, until `shutdown`.
    pub(crate) async fn serve(self, listener: impl Accept, shutdown: CancellationToken) {
        let Self { peers, front, watch, .. } = self;
        let calling = peers.run(watch, shutdown.clone());
        let looking = Arc::clone(&front).run(shutdown.clone());
        tokio::join!(calling, looking, grpc::serve(listener, front, None, shutdown));
    }
}
