//! Who is on the list, where members call from, and who is believed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use distro_net::{Address, MemberWatch};
use tokio_util::sync::CancellationToken;

use super::member::{Member, State};
use super::peers::Peers;
use crate::nacos::roster::{attend, next_list, places};

impl Peers {
    /// The list is this from now on.
    pub(super) async fn set_list(&self, list: &[Address]) {
        self.places.store(Arc::new(places(list).await));
        self.update(|members| members.set_list(list.iter().map(Address::as_str)));
        self.list_changed.notify_one();
    }

    /// Follows the list.
    pub(super) async fn follow(&self, mut watch: MemberWatch, shutdown: &CancellationToken) {
        while let Some(list) = next_list(&mut watch, shutdown, "Java members").await {
            self.set_list(&list).await;
        }
    }

    /// Runs what is to be done for each other member.
    pub(super) async fn attend(self: &Arc<Self>, shutdown: &CancellationToken) {
        let others =
            || self.members.lock().others().map(|(address, _)| Arc::clone(address)).collect();
        let one = |address: &Arc<str>, end: &CancellationToken| {
            let (peers, to, ends) = (Arc::clone(self), Arc::clone(address), end.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = ends.cancelled() => {}
                    () = peers.keep_in_touch(&to) => {}
                }
            });
        };
        attend(others, one, &self.list_changed, shutdown).await;
    }

    /// A member tells of itself over HTTP. Whether it is on the list.
    ///
    /// # Errors
    /// It is no member, or tells nothing of itself; the text says which.
    pub(crate) fn hear_report(
        &self,
        peer: IpAddr,
        headers: &hyper::HeaderMap,
        body: &[u8],
    ) -> Result<bool, String> {
        let is_believed = match &self.settings.identity {
            Some(identity) => identity.is_in(headers),
            None => self.may_connect(peer),
        };
        if !is_believed {
            return Err("this server takes reports from members only".to_owned());
        }
        let member: Member = serde_json::from_slice(body)
            .map_err(|error| format!("the body is no report of a member: {error}"))?;
        let address = member.whole_address().ok_or("Node information is illegal")?;
        Ok(self.update(|members| members.told(address, &member)))
    }

    /// Whether a request comes from a member: with the identity if there is one, or else from the
    /// address of one on the list.
    pub(super) fn believes(&self, peer: IpAddr, headers: &HashMap<String, String>) -> bool {
        match &self.settings.identity {
            Some(identity) => identity.is_among(headers),
            None => self.may_connect(peer),
        }
    }

    /// Whether a request over HTTP carries the identity of members, if they have one.
    pub(crate) fn has_proved(&self, headers: &hyper::HeaderMap) -> bool {
        self.settings.identity.as_ref().is_some_and(|identity| identity.is_in(headers))
    }

    /// Whether somebody at this address may be a member.
    pub(crate) fn may_connect(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let is_place = |place: &IpAddr| *place == peer || both_loopback(*place, peer);
        self.settings.trusts_everybody || self.places.load().values().flatten().any(is_place)
    }

    /// Whether every Java server that is up has set up its connections to this member: then whoever
    /// lives has somebody who vouches for it here.
    pub(super) fn is_known_to_all(&self) -> bool {
        let Some(visitors) = self.visitors.get().and_then(Weak::upgrade) else { return false };
        let mut addresses = visitors.addresses();
        let members = self.members.lock();
        let mut up = members.others().filter(|(_, other)| other.state == State::Up).peekable();
        if up.peek().is_none() {
            return false;
        }
        let places = self.places.load();
        up.all(|(address, _)| {
            let Some(own) = places.get(address) else { return false };
            let is_own = |visitor: &IpAddr| {
                let visitor = visitor.to_canonical();
                own.iter().any(|place| *place == visitor || both_loopback(*place, visitor))
            };
            match addresses.iter().position(is_own) {
                Some(at) => {
                    addresses.swap_remove(at);
                    true
                }
                None => false,
            }
        })
    }
}

fn both_loopback(one: IpAddr, other: IpAddr) -> bool {
    one.is_loopback() && other.is_loopback()
}
