//! Starting: everything is read before the port opens, and all are told at once when it is open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use distro_core::Phase;
use distro_net::{Address, MemberWatch};
use naming_model::ServiceKey;
use tokio_util::sync::CancellationToken;

use super::{Adapter, OWN_PROTOCOL_VERSION, Owner};
use crate::nacos::caller::Caller;
use crate::nacos::member::PeerMember;
use crate::nacos::{PeerDatum, PeerInstance};
use crate::registry::ListTerms;

/// How long this member waits for what others of our make hold.
const OWN_LOAD: Duration = Duration::from_secs(30);
/// How often a Java server that answers is asked for its lists until it does without.
const LOAD_TRIES: usize = 3;
/// Before the next try.
const LOAD_PAUSE: Duration = Duration::from_secs(1);

/// The members on the list, this one too if it is there, and what those of the others say of
/// themselves who answer. Who answers is up: nobody opens its port before it is ready.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) list: Vec<Address>,
    pub(crate) answered: Vec<PeerMember>,
}

impl Found {
    /// Asks all on the list but this member, at once.
    pub(crate) async fn ask(list: &[Address], own: &Address, caller: &Caller) -> Self {
        let asked = list.iter().filter(|address| *address != own).map(|address| async move {
            let described = caller.describe(address.as_str()).await.ok()?;
            (described.address == address.as_str()).then_some(described)
        });
        let answered = join_all(asked).await.into_iter().flatten().collect();
        Self { list: list.to_vec(), answered }
    }

    /// Those of our make.
    pub(crate) fn ours(&self) -> Vec<Address> {
        let ours = self.answered.iter().filter(|member| speaks_our_protocol(member));
        ours.filter_map(|member| Address::verbatim(&member.address).ok()).collect()
    }
}

/// Whether a member says that it is of our make.
fn speaks_our_protocol(member: &PeerMember) -> bool {
    member.own_protocol == Some(OWN_PROTOCOL_VERSION)
}

/// Waits for all. They are as many as there are members.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, outcome) in waiting.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *outcome = Some(ready);
            }
        }
        if waiting.iter().any(|(_, outcome)| outcome.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(waiting.iter_mut().filter_map(|(_, outcome)| outcome.take()).collect())
    })
    .await
}

impl Adapter {
    /// Loads what the members hold who are there. Returns when the port may be opened: this
    /// member then owns its share, and [`Self::run`] tells the others so.
    ///
    /// A member that is heard before it has loaded is sent beats of instances it does not know,
    /// and whoever sends them registers again.
    pub(crate) async fn begin(&self, found: &Found) {
        self.set_list(&found.list).await;
        for member in &found.answered {
            self.update(|states| {
                states.described(&member.address, member);
                states.answered(&member.address);
            });
        }
        // While this member owns nothing, every service is somebody else's.
        self.tell_core().await;
        let is_up = self.control.wait_for(|status| status.phase == Phase::Up);
        if tokio::time::timeout(OWN_LOAD, is_up).await.is_err() {
            tracing::warn!("other members of this kind gave no data; starting without it");
        }
        self.load().await;
        self.update(|states| states.set_ready());
        self.tell_core().await;
    }

    /// Runs until `shutdown`, from when the port is open on.
    pub(crate) async fn run(self: Arc<Self>, watch: MemberWatch, shutdown: CancellationToken) {
        let core = async {
            loop {
                self.changed.notified().await;
                self.tell_core().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = core => {}
            () = self.follow(watch, &shutdown) => {}
            () = self.attend(&shutdown) => {}
            () = self.redirect_retained() => {}
        }
    }

    /// Reads the lists of all Java servers that answer. For each service the list of its owner
    /// counts, or if that does not answer, any.
    async fn load(&self) {
        let view = self.view();
        let foreign: Vec<Arc<str>> = {
            let states = self.states.lock();
            let there = states.others().filter(|(_, other)| other.owns());
            there.map(|(address, _)| Arc::clone(address)).collect()
        };
        let foreign = foreign.into_iter().filter(|address| !view.ours.contains(address));
        let mut taken = BTreeSet::new();
        let mut left: BTreeMap<ServiceKey, Vec<PeerInstance>> = BTreeMap::new();
        for member in foreign {
            for PeerDatum { service, instances } in self.load_from(&member).await {
                let owner = view.owner(service.as_str());
                if matches!(&owner, Owner::Foreign(owner) if *owner == member) {
                    self.take_loaded(&service, &instances);
                    left.remove(&service);
                    taken.insert(service);
                } else if matches!(owner, Owner::Foreign(_)) {
                    if !taken.contains(&service) {
                        left.entry(service).or_insert(instances);
                    }
                } else {
                    // Those of our make know better; what they do not know may be new.
                    self.registry.adopt_foreign_list(&service, &instances);
                }
            }
        }
        for (service, instances) in &left {
            self.take_loaded(service, instances);
        }
        let services = taken.len() + left.len();
        tracing::info!(services, "the lists of Java servers are loaded");
    }

    async fn load_from(&self, member: &str) -> Vec<PeerDatum> {
        for attempt in 1..=LOAD_TRIES {
            match self.caller.all_datums(member).await {
                Ok(datums) => return datums,
                Err(error) => {
                    tracing::warn!(member, attempt, %error, "cannot load a member's lists")
                }
            }
            tokio::time::sleep(LOAD_PAUSE).await;
        }
        Vec::new()
    }

    fn take_loaded(&self, service: &ServiceKey, instances: &[PeerInstance]) {
        let terms = ListTerms { is_settled: false, as_of: self.now() };
        self.registry.take_foreign_list(service, instances, terms);
    }
}
