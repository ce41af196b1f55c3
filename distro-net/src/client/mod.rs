//! Calls to other members.

mod connection;
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distro_core::{MemberId, Phase, Reply, Request, Tick};
use parking_lot::RwLock;

use self::connection::{CallError, Connection, Link};
use self::peer::{Message, Peer};
use crate::address::Address;
use crate::auth::{Identity, Refusal, Secret};
use crate::clock::Clock;
use crate::codec::Codec;
use crate::codec::pack::unpack;
use crate::connect::Connector;
use crate::stats::{PeerStats, add};

/// A larger message is not the first over a connection.
const MOST_UNPROVED_BYTES: usize = 2 << 10;

/// What came of a call.
#[derive(Debug)]
pub enum Outcome<V> {
    /// The member answered in time.
    Answered(Reply<V>),
    /// No acceptable answer in time: silent, cut off, or not of our cluster.
    NoAnswer,
    /// Nobody listens at its address: the process is gone.
    Refused,
    /// The request is larger than the transport takes, or the member can make nothing of it, or
    /// speaks too early a version to be asked. Sending it again would be in vain.
    NotTaken,
}

/// Settings of [`Peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeersConfig {
    /// Forwarded writes that may be under way to one member, each on a connection of its own.
    /// More wait for their turn, up to their deadline. Too few make writes wait when the network
    /// is slow; each costs the other side a connection. Default 32.
    pub forwards_per_peer: usize,
    /// Requests to one member to put durable records on disk that may be under way, each on a
    /// connection of its own. What comes meanwhile goes with the next that begins. One makes each
    /// write wait for the one before; many carry little each, and cost a message. Default 4.
    pub persists_per_peer: usize,
    /// Questions of the application to one member that may be under way, each on a connection of its
    /// own. More wait for their turn, up to their deadline. Default 4.
    pub asks_per_peer: usize,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self { forwards_per_peer: 32, persists_per_peer: 4, asks_per_peer: 4 }
    }
}

/// The other members and the connections to them. Cheap to clone.
pub struct Peers<V> {
    shared: Arc<Shared<V>>,
}

struct Shared<V> {
    identity: RwLock<Arc<Identity>>,
    codec: Codec<V>,
    connector: Arc<dyn Connector>,
    clock: Clock,
    config: PeersConfig,
    stats: Arc<PeerStats>,
    book: RwLock<BTreeMap<MemberId, Arc<Peer>>>,
}

impl<V> Clone for Peers<V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<V> Peers<V> {
    /// Nobody yet.
    pub fn new(
        identity: Identity,
        codec: Codec<V>,
        connector: Arc<dyn Connector>,
        clock: Clock,
        config: PeersConfig,
    ) -> Self {
        let (stats, book) = (Arc::default(), RwLock::default());
        let identity = RwLock::new(Arc::new(identity));
        let shared = Shared { identity, codec, connector, clock, config, stats, book };
        Self { shared: Arc::new(shared) }
    }

    /// This member.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.shared.identity.read())
    }

    /// This member proves itself by this secret from now on.
    pub(crate) fn set_secret(&self, secret: Secret) {
        let mut identity = self.shared.identity.write();
        *identity = Arc::new(Identity { secret, ..Identity::clone(&identity) });
    }

    /// How messages become bytes.
    pub fn codec(&self) -> &Codec<V> {
        &self.shared.codec
    }

    /// What was set.
    pub(crate) fn config(&self) -> &PeersConfig {
        &self.shared.config
    }

    /// What is counted.
    pub fn stats(&self) -> &Arc<PeerStats> {
        &self.shared.stats
    }

    /// The clock that this member goes by.
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// The address of a member, if it is one.
    pub fn address(&self, member: MemberId) -> Option<Arc<str>> {
        self.shared.book.read().get(&member).map(|peer| Arc::clone(&peer.address))
    }

    /// Whether this is another member.
    pub(crate) fn is_member(&self, member: MemberId) -> bool {
        self.shared.book.read().contains_key(&member)
    }

    /// The other members, in the order of their ids.
    pub fn members(&self) -> Vec<MemberId> {
        self.shared.book.read().keys().copied().collect()
    }

    /// How far the wall clock of a member was ahead of ours when the last connection to it was
    /// opened, in milliseconds; zero if there was none.
    pub fn clock_ahead_ms(&self, member: MemberId) -> Option<i64> {
        self.shared.book.read().get(&member).map(|peer| peer.clock_ahead_ms())
    }

    /// The members are these from now on; this one need not be among them. Connections to those
    /// who stay are kept; calls to the others end without an answer. Returns their ids, and that of
    /// this member if it is among them, in the order of the addresses.
    pub(crate) fn set_members(&self, addresses: &[Address]) -> Vec<MemberId> {
        let mut next: BTreeMap<MemberId, Arc<Peer>> = BTreeMap::new();
        let mut order = Vec::with_capacity(addresses.len());
        let own = self.identity().member;
        let mut book = self.shared.book.write();
        for address in addresses.iter().collect::<BTreeSet<_>>() {
            let member = address.member();
            if member == own {
                order.push(member);
                continue;
            }
            let known = book.get(&member).filter(|peer| *peer.address == *address.as_str());
            let peer = known.cloned().unwrap_or_else(|| {
                Arc::new(Peer::new(member, address.as_str().into(), &self.shared.config))
            });
            if let Some(twin) = next.get(&member).filter(|twin| twin.address != peer.address) {
                // One in four thousand million pairs; changing a port helps.
                tracing::error!(
                    one = %twin.address, other = %address,
                    "two member addresses have the same id; the second is left out"
                );
                continue;
            }
            next.insert(member, peer);
            order.push(member);
        }
        let stays = |peer: &Arc<Peer>| next.get(&peer.member).is_some_and(|n| Arc::ptr_eq(n, peer));
        book.values().filter(|peer| !stays(peer)).for_each(|peer| peer.let_go());
        *book = next;
        order
    }

    /// Whether another process answers as the member that this one wants to be: two must not be
    /// started with one address. To be asked before this one listens; takes no longer than the
    /// deadline. Somebody who cannot be reached, or does not know the secret, does not count.
    pub async fn is_taken(&self, own: &Address, deadline: Duration) -> bool {
        let Shared { codec, connector, clock, .. } = &*self.shared;
        let identity = &*self.identity();
        let limit = codec.limits().message_bytes;
        let (target, address, clock) = (own.member(), own.as_str(), *clock);
        let link = Link { identity, target, address, limit, clock, slowest_greeting: deadline };
        let opened = Connection::open(&**connector, link, clock.now().wall_ms);
        match tokio::time::timeout(deadline, opened).await {
            Ok(Err(CallError::Rejected(reason))) => reason.ends_with(Refusal::SameMember.name()),
            _ => false,
        }
    }

    /// Asks a member something that holds as of now. Takes no longer than the deadline, and ends when
    /// that is a member no more. When the future is dropped the request may or may not have arrived.
    pub async fn call(&self, to: MemberId, request: &Request<V>, deadline: Duration) -> Outcome<V> {
        self.call_as_of(self.shared.clock.tick(), to, request, deadline).await
    }

    /// The same for a request that was put together at `as_of`, which the member is told: what is
    /// [late](distro_core::Answer::is_late) is refused there.
    pub async fn call_as_of(
        &self,
        as_of: Tick,
        to: MemberId,
        request: &Request<V>,
        deadline: Duration,
    ) -> Outcome<V> {
        let peer = self.shared.book.read().get(&to).cloned();
        let Some(peer) = peer else { return Outcome::NoAnswer };
        let calls = &self.shared.stats.calls;
        // A connection that missed a deadline is dropped with the future.
        let exchange =
            tokio::time::timeout(deadline, self.exchange(&peer, request, as_of, deadline));
        let outcome = tokio::select! {
            biased;
            outcome = exchange => outcome,
            () = peer.gone() => {
                tracing::debug!(peer = %peer.address, "request dropped: no longer a member");
                add(&calls.unanswered, 1);
                return Outcome::NoAnswer;
            }
        };
        match outcome {
            Ok(Ok(reply)) => {
                peer.note_outcome(None);
                add(&calls.answered, 1);
                Outcome::Answered(reply)
            }
            Ok(Err(CallError::Refused)) => {
                add(&calls.refused, 1);
                Outcome::Refused
            }
            Ok(Err(error)) => {
                peer.note_outcome(Some(&error));
                if matches!(error, CallError::Rejected(_) | CallError::Unproven(_)) {
                    add(&calls.rejected, 1);
                }
                if let CallError::Earlier(minor) = error {
                    tracing::debug!(peer = %peer.address, minor, "not sent: the peer runs an earlier release");
                    return Outcome::NotTaken;
                }
                if let CallError::Unread(_) = error {
                    // What could not be read of it is in the log already.
                    tracing::debug!(peer = %peer.address, %error, "a request to a peer failed");
                    add(&calls.not_taken, 1);
                    return Outcome::NotTaken;
                }
                if error.is_about_the_message() {
                    tracing::error!(peer = %peer.address, %error, "a peer did not take a request");
                    add(&calls.not_taken, 1);
                    return Outcome::NotTaken;
                }
                tracing::debug!(peer = %peer.address, %error, "no answer");
                add(&calls.unanswered, 1);
                Outcome::NoAnswer
            }
            Err(_) => {
                add(&calls.unanswered, 1);
                Outcome::NoAnswer
            }
        }
    }

    async fn exchange(
        &self,
        peer: &Peer,
        request: &Request<V>,
        as_of: Tick,
        deadline: Duration,
    ) -> Result<Reply<V>, CallError> {
        let Shared { codec, connector, clock, stats, .. } = &*self.shared;
        let identity = &*self.identity();
        let turns = match request {
            Request::Forward(_) => Some(&peer.forwards),
            Request::Ask(_) => Some(&peer.asks),
            _ => None,
        };
        let _permit = match turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let message = codec
            .encode_request(request)
            .map_err(|error| CallError::Unsendable(error.to_string()))?;
        add(&stats.calls.sent_bytes, message.len());
        let limit = codec.limits().message_bytes;
        let probe = Request::Probe { phase: Phase::Joining };
        let proof = (message.len() > MOST_UNPROVED_BYTES).then(|| codec.encode_request(&probe));
        let proof = proof.and_then(Result::ok);
        let (needs_minor, proof) = (request.needs_minor(), proof.as_deref());
        let message = Message { bytes: &message, needs_minor, as_of, deadline, proof };
        let reply = peer.call(&**connector, identity, limit, message, *clock).await?;
        add(&stats.calls.received_bytes, reply.len());
        let mut unread = Vec::new();
        let reply = unpack(reply, codec.limits())
            .and_then(|reply| codec.decode_reply_and_note(reply, &mut unread));
        if !unread.is_empty() {
            stats.unreads.note(peer.member, &unread);
        }
        reply.map_err(|error| CallError::Unread(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
