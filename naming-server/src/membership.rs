//! This server as a member of a cluster: who it is, and whom it listens to.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distro_net::{
    Address, Clock, Codec, Connector, Identity, Limits, MemberWatch, Peers, PeersConfig, Spelling,
};

use crate::config::{Config, list_members};
use crate::java2::PeerSettings;
use crate::nacos::{Caller, Found};
use crate::registry::{Content, ContentCodec};

/// How long to wait for somebody who answers at our own address.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Who this server is, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Where it is reached.
    pub(crate) address: Address,
    /// Its clock.
    pub(crate) clock: Clock,
    /// The number of this start. Two starts within a second are told apart by the clock behind
    /// the stamps.
    pub(crate) incarnation: u32,
    /// A number nobody can guess, so that nobody can choose names that collide in the store's map.
    pub(crate) seed: u64,
}

impl Origin {
    /// A start at this moment.
    pub(crate) fn new(address: Address) -> Self {
        Self::with(address, Clock::start(), RandomState::new().hash_one(0_u64))
    }

    /// A start by this clock, with this for all chance.
    pub(crate) fn with(address: Address, clock: Clock, seed: u64) -> Self {
        let incarnation = u32::try_from(clock.now().wall_ms / 1_000).unwrap_or(u32::MAX);
        Self { address, clock, incarnation, seed }
    }
}

/// The other members, and how to learn who they are.
pub(crate) struct Membership {
    /// Calls to them.
    pub(crate) peers: Peers<Content>,
    /// Who they are to begin with.
    pub(crate) members: Vec<Address>,
    /// Tells of changes.
    pub(crate) watch: MemberWatch,
    /// What there is only among Java servers.
    pub(crate) nacos: Option<NacosMembership>,
}

/// What a member among Java servers of 2.x or 3.x knows before it starts.
pub(crate) struct Java2Membership {
    pub(crate) settings: PeerSettings,
    /// Reports to members before 2.2.4, and writes of clients that are for others.
    pub(crate) caller: Caller,
    /// The list to begin with.
    pub(crate) list: Vec<Address>,
    /// Tells of changes of the list.
    pub(crate) watch: MemberWatch,
}

impl std::fmt::Debug for Java2Membership {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Java2Membership").field("list", &self.list).finish_non_exhaustive()
    }
}

impl Java2Membership {
    /// Reads the list of those servers; `None` if there are to be none.
    ///
    /// # Errors
    /// There is none, or the identity cannot be read.
    pub(crate) async fn prepare(config: &Config, origin: &Origin) -> Result<Option<Self>> {
        let java2 = &config.cluster.java2;
        if !java2.is_enabled() {
            return Ok(None);
        }
        java2.say_who_is_trusted();
        let start = java2.member_source().start(Spelling::Verbatim).await;
        let (list, watch) =
            start.context("cannot read the list of Java members (cluster.java2)")?;
        let own = &origin.address;
        if !list.contains(own) {
            tracing::info!(
                advertise = %own, members = list_members(&list),
                "this server is not in the list of Java members yet"
            );
        }
        let identity = java2.identity()?;
        let context_path = config.http_settings().context_path;
        let caller = Caller::new(own.as_str(), &java2.version, &context_path, identity.clone())
            .with_context(|| format!("{own} or the version cannot stand in a header"))?;
        let settings = PeerSettings {
            own: own.clone(),
            version: java2.version.clone(),
            identity,
            trusts_everybody: java2.trust_unknown_peers,
        };
        Ok(Some(Self { settings, caller, list, watch }))
    }
}

/// What a member among Java servers knows before it starts.
pub(crate) struct NacosMembership {
    /// Calls to them.
    pub(crate) caller: Caller,
    /// Who answers.
    pub(crate) found: Found,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Membership").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Membership {
    /// Looks for the others. To be called before this server listens: then nobody may answer at
    /// its address. `connector` reaches them.
    ///
    /// # Errors
    /// No secret, another server at the same address, or no list of members.
    pub(crate) async fn prepare(
        config: &Config,
        origin: &Origin,
        connector: Arc<dyn Connector>,
    ) -> Result<Self> {
        let (settings, own) = (&config.cluster, &origin.address);
        let identity = Identity {
            cluster: settings.name.clone(),
            member: own.member(),
            incarnation: origin.incarnation,
            secret: settings.read_secret()?,
        };
        let codec = Codec::new(Arc::new(ContentCodec), Limits::default());
        let peers = Peers::new(identity, codec, connector, origin.clock, PeersConfig::default());
        ensure!(
            !peers.is_taken(own, TAKEN_WITHIN).await,
            "another server answers at {own}, the address of this member (advertise)"
        );
        let start = settings.member_source().start(settings.spelling()).await;
        let (members, watch) = start.context("cannot find the members of the cluster")?;
        if !members.contains(own) {
            tracing::warn!(
                advertise = %own, members = list_members(&members),
                "this server is not in its own list of members; if the others have the same list, \
                 they will not talk to it: see --advertise"
            );
        }
        let nacos = match settings.speaks_nacos() {
            true => Some(NacosMembership::prepare(config, own, &members).await?),
            false => None,
        };
        Ok(Self { peers, members, watch, nacos })
    }
}

impl NacosMembership {
    async fn prepare(config: &Config, own: &Address, members: &[Address]) -> Result<Self> {
        let settings = &config.cluster.nacos;
        settings.say_who_is_trusted();
        let context_path = config.http_settings().context_path;
        let identity = settings.identity()?;
        let caller = Caller::new(own.as_str(), &settings.version, &context_path, identity)
            .with_context(|| format!("{own} or the version cannot stand in a header"))?;
        let found = Found::ask(members, own, &caller).await;
        Ok(Self { caller, found })
    }
}
