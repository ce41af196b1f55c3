//! What Java servers tell: lists, checksums and health. Only the owner of a service is believed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use distro_core::Tick;
use hyper::HeaderMap;
use naming_model::ServiceKey;

use super::{ADOPT_WITHIN, Adapter, Hearing, Owner, SETTLED_AFTER, View};
use crate::nacos::PeerDatum;
use crate::nacos::status::ServiceStatuses;
use crate::registry::ListTerms;

/// Services whose lists are asked for in one call.
const MOST_ASKED: usize = 1_000;
/// Services whose health is asked for after one message. What is left out is found by the
/// checksums of the lists, in which health counts, too.
const MOST_HEALTH_ASKED: usize = 200;

/// A member that has sent no checksums for so long owns nothing, in its own view: Java servers are
/// silent then, and what is held of them here would stay for ever.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// Who may have sent a request that does not say so, as those with lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    ip: IpAddr,
    /// It proved to be some member, or everybody is believed.
    is_trusted: bool,
}

impl View {
    /// Whether a request from there can be one of this member. On loopback all requests come from
    /// the same address, whichever the member has.
    fn may_be(&self, sender: Sender, member: &str) -> bool {
        let is_place =
            |place: &IpAddr| *place == sender.ip || place.is_loopback() && sender.ip.is_loopback();
        let places = self.places.get(member);
        sender.is_trusted || places.is_some_and(|places| places.iter().any(is_place))
    }
}

impl Adapter {
    /// Who sends a request; `None` if it is no member and strangers are not believed.
    pub(crate) fn sender(&self, ip: IpAddr, headers: &HeaderMap) -> Option<Sender> {
        let identity = self.caller.identity();
        let proved = identity.map(|identity| identity.is_in(headers));
        // Where members prove themselves, an address proves nothing.
        let is_trusted = proved.unwrap_or(self.settings.trusts_everybody);
        let sender = Sender { ip, is_trusted };
        let view = self.view();
        let is_somebody = || view.places.keys().any(|member| view.may_be(sender, member));
        (is_trusted || proved.is_none() && is_somebody()).then_some(sender)
    }

    /// Whether a request carries the identity that members share, if they share one.
    pub(crate) fn has_proved(&self, headers: &HeaderMap) -> bool {
        self.caller.identity().is_some_and(|identity| identity.is_in(headers))
    }

    /// Whether a sender can be this member.
    pub(crate) fn may_be(&self, sender: Sender, member: &str) -> bool {
        self.is_member(member) && self.view().may_be(sender, member)
    }

    /// Owners are settled when no member has come or gone for a while: one that restarts may undo
    /// what the owner has, whoever that is.
    fn terms(view: &View, as_of: Tick, now: Tick) -> ListTerms {
        let is_settled = now.since(view.rings.since()) >= SETTLED_AFTER;
        ListTerms { is_settled, as_of }
    }

    /// Takes lists that were sent here.
    pub(crate) fn take_sent(&self, sender: Sender, datums: &[PeerDatum]) {
        let (view, now) = (self.view(), self.now());
        for PeerDatum { service, instances } in datums {
            match view.owner(service.as_str()) {
                Owner::Foreign(owner) if view.may_be(sender, &owner) => {
                    let terms = Self::terms(&view, now, now);
                    self.registry.take_foreign_list(service, instances, terms);
                }
                Owner::Here if self.was_of(&view, sender, service, now) => {
                    self.registry.adopt_foreign_list(service, instances);
                }
                _ => tracing::debug!(
                    service = service.as_str(),
                    "ignored a list from a server that does not own the service"
                ),
            }
        }
    }

    /// Whether a service was a moment ago that of a Java server that can be the sender.
    fn was_of(&self, view: &View, sender: Sender, service: &ServiceKey, now: Tick) -> bool {
        view.places.keys().any(|member| {
            !view.ours.contains(member)
                && **member != *self.own()
                && view.may_be(sender, member)
                && view.rings.was_owner(service.as_str(), member, ADOPT_WITHIN, now)
        })
    }

    /// Lists that were asked for, of services that belong to who was asked.
    fn take_asked(&self, source: &str, datums: &[PeerDatum], as_of: Tick) {
        let (view, now) = (self.view(), self.now());
        for PeerDatum { service, instances } in datums {
            if is_of(&view, service, source) {
                let terms = Self::terms(&view, as_of, now);
                self.registry.take_foreign_list(service, instances, terms);
            }
        }
    }

    /// Whether what this member says is to be read: it is one and speaks Java's language.
    pub(crate) fn is_foreign_member(&self, source: &str) -> bool {
        let states = self.states.lock();
        states.find(source).is_some_and(|other| !self.is_ours(other.make))
    }

    /// Compares with what a member says it owns: asks for lists that differ, and removes what it
    /// does not name at the second look. One message of a member at a time.
    pub(crate) async fn compare(&self, source: &str, checksums: Vec<(ServiceKey, String)>) {
        let Some(_turn) = self.turn(source, |hearing| &hearing.is_comparing) else { return };
        if let Some(hearing) = self.hearings.lock().get_mut(source) {
            hearing.compared = Some(self.now());
        }
        let view = self.view();
        let mut differing = Vec::new();
        for (service, checksum) in &checksums {
            // What it does not own in our view is passed over; Java would drop the whole message.
            let ours = || self.registry.peer_checksum(service);
            if is_of(&view, service, source) && ours().as_deref() != Some(&**checksum) {
                differing.push(service.clone());
            }
        }
        let named = checksums.iter().map(|(service, _)| service).collect();
        self.note_missing(source, &view, &named);
        self.ask(source, &differing).await;
    }

    /// Asks a member for lists and takes them. Returns the services it has lists of; `None` if it
    /// does not answer.
    async fn ask(&self, source: &str, services: &[ServiceKey]) -> Option<BTreeSet<ServiceKey>> {
        let mut listed = BTreeSet::new();
        for services in services.chunks(MOST_ASKED) {
            let as_of = self.now();
            match self.caller.datums_of(source, services).await {
                Ok(datums) => {
                    self.take_asked(source, &datums, as_of);
                    listed.extend(datums.into_iter().map(|datum| datum.service));
                }
                Err(error) => {
                    tracing::warn!(member = source, %error, "cannot read differing lists");
                    return None;
                }
            }
        }
        Some(listed)
    }

    /// Asks a member that is silent for what is held of it here.
    pub(super) async fn break_silence(&self, source: &str) {
        let (view, now) = (self.view(), self.now());
        let compared = self.hearings.lock().get(source).and_then(|hearing| hearing.compared);
        let ring_since = view.rings.since();
        let since = compared.map_or(ring_since, |at| at.max(ring_since));
        if now.since(since) < SILENT_AFTER {
            return;
        }
        let Some(_turn) = self.turn(source, |hearing| &hearing.is_comparing) else { return };
        let held: Vec<ServiceKey> = self.held_of(&view, source).collect();
        if !held.is_empty()
            && let Some(listed) = self.ask(source, &held).await
        {
            self.note_missing(source, &view, &listed.iter().collect());
        }
    }

    /// The services with instances that are held here and belong to this member.
    fn held_of<'a>(&'a self, view: &'a View, member: &'a str) -> impl Iterator<Item = ServiceKey> {
        let services = self.registry.services().into_iter().map(|(service, _)| service);
        services.filter(move |service| {
            is_of(view, service, member) && self.registry.peer_checksum(service).is_some()
        })
    }

    fn note_missing(&self, source: &str, view: &View, named: &BTreeSet<&ServiceKey>) {
        let missing = self.held_of(view, source).filter(|service| !named.contains(service));
        let (missing, now): (Vec<_>, _) = (missing.collect(), self.now());
        let gone = match self.hearings.lock().get_mut(source) {
            Some(hearing) => hearing.absences.note(missing, now),
            None => return,
        };
        for service in gone {
            let terms = Self::terms(view, now, now);
            self.registry.drop_foreign(&service, terms);
        }
    }

    /// Compares health with what a member says of services it owns, and asks for what differs.
    pub(crate) async fn compare_health(&self, source: &str, statuses: &ServiceStatuses) {
        let Some(_turn) = self.turn(source, |hearing| &hearing.is_asking) else { return };
        let view = self.view();
        let mut asked = 0;
        for (name, checksum) in &statuses.checksums {
            let Ok(service) = ServiceKey::parse(&statuses.namespace, name) else { continue };
            if !is_of(&view, &service, source) {
                continue;
            }
            let Some(ours) = self.registry.service_checksum(&service) else { continue };
            if *ours == **checksum {
                continue;
            }
            asked += 1;
            if asked > MOST_HEALTH_ASKED {
                return;
            }
            let as_of = self.now();
            match self.caller.statuses_of(source, &service).await {
                Ok(statuses) => {
                    let terms = Self::terms(&view, as_of, as_of);
                    self.registry.take_foreign_health(&service, &statuses, terms);
                }
                // The service may be gone there; the next one may answer.
                Err(error) if error.is_refusal() => {}
                Err(error) => {
                    tracing::warn!(member = source, %error, "cannot read differing health");
                    return;
                }
            }
        }
    }

    /// Begins the work on a message of a member, unless another one is being worked on.
    fn turn(&self, source: &str, flag: fn(&mut Hearing) -> &Arc<AtomicBool>) -> Option<Turn> {
        if !self.is_foreign_member(source) {
            return None;
        }
        let mut hearings = self.hearings.lock();
        let is_busy = Arc::clone(flag(hearings.entry(source.into()).or_default()));
        let was_busy = is_busy.swap(true, Ordering::Relaxed);
        (!was_busy).then_some(Turn { is_busy })
    }
}

fn is_of(view: &View, service: &ServiceKey, member: &str) -> bool {
    matches!(view.owner(service.as_str()), Owner::Foreign(owner) if *owner == *member)
}

/// The work on a message. Another one may be worked on when it goes. Belongs to one hearing: the
/// member may have gone from the list meanwhile, and have come back to a new one.
struct Turn {
    is_busy: Arc<AtomicBool>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.is_busy.store(false, Ordering::Relaxed);
    }
}
