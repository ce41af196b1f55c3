//! The clients over gRPC: a third of the instances and of the lists.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use xtask_grpc::Payload;
use xtask_grpc::messages::{self, message};

use super::hosts::{self, List};
use super::{READ_INTERVAL, Shared};
use crate::chaos::judge::{At, Channel, Life, Seen, State};
use crate::chaos::sdk::{Event, Sdk, Site, Wants};

/// Whether the client of an instance speaks gRPC: about a third do, whichever numbers a row chooses.
pub(super) fn is_streamed(id: usize) -> bool {
    // Spread by the golden ratio, so that no step through the numbers meets one kind alone.
    (id.wrapping_mul(0x9e37_79b9) >> 7) % 3 == 2
}

/// Whether the list of a service is read and subscribed over gRPC.
pub(super) fn is_read_streamed(service: usize) -> bool {
    service % 3 == 1
}

/// The client of one instance.
pub(in crate::chaos) struct Provider {
    shared: Rc<Shared>,
    id: usize,
}

impl Provider {
    /// A client that is about to register the instance.
    pub(super) fn client(shared: &Rc<Shared>, id: usize) -> Sdk<Self> {
        let provider = Self { shared: Rc::clone(shared), id };
        let wants = Wants::new([provider.wish("registerInstance")]);
        Sdk::new(provider, format!("chaos-{id}"), fastrand::usize(..1 << 16), wants)
    }

    fn service(&self) -> usize {
        self.id / self.shared.size.per_service
    }

    fn wish(&self, action: &str) -> Payload {
        let (service, number) = (self.service(), self.id % self.shared.size.per_service);
        let ip = hosts::address(service, number);
        let body = messages::instance(action, &hosts::plain_service(service), &ip, 8_080);
        message("InstanceRequest", body)
    }

    fn set_life(&self, life: Life) {
        if let Some(one) = self.shared.judge.borrow_mut().instance(self.id) {
            one.life = life;
        }
    }
}

impl Site for Provider {
    fn servers(&self) -> Vec<(usize, SocketAddr)> {
        // A list of the client; that packets do not arrive at some of them is nothing it knows.
        let listed = self.shared.listed.borrow();
        listed.iter().filter_map(|node| Some((*node, self.shared.streamed(*node)?))).collect()
    }

    fn reaches(&self, node: usize) -> bool {
        self.shared.sides.get().is_none_or(|sides| sides.reaches(node, self.service()))
    }

    fn hear(&self, event: Event<'_>) {
        match event {
            Event::Alive { node } => {
                let at = self.shared.now();
                if let Some(one) = self.shared.judge.borrow_mut().instance(self.id) {
                    one.acknowledged(at, node);
                }
            }
            // It tries those, too, that it cannot reach, since nobody has told it.
            Event::Failed { node, .. } if !self.reaches(node) => {
                self.shared.judge.borrow_mut().call_may_fail();
            }
            other => hear(&self.shared, other),
        }
    }
}

/// Deregisters the instance, however often that takes; its client lives on.
pub(super) async fn deregister(client: Rc<Sdk<Provider>>) {
    client.site.set_life(Life::Leaving);
    client.wants.replace(0, client.site.wish("deregisterInstance"));
    client.wants.all_done().await;
    let since = client.site.shared.now();
    client.site.set_life(Life::Gone { since });
}

/// The client that reads a third of the lists from one node, and subscribes to them.
pub(super) struct Reader {
    shared: Rc<Shared>,
    node: usize,
    newest: RefCell<HashMap<usize, u64>>,
}

impl Reader {
    /// A client of this node alone.
    pub(super) fn client(shared: &Rc<Shared>, node: usize) -> Sdk<Self> {
        let services = (0..shared.size.services).filter(|service| is_read_streamed(*service));
        let wish = |service| {
            let body = messages::subscribe(&hosts::plain_service(service));
            message("SubscribeServiceRequest", body)
        };
        let wants = Wants::new(services.map(wish));
        let reader = Self { shared: Rc::clone(shared), node, newest: RefCell::default() };
        Sdk::new(reader, format!("reader-{node}"), 0, wants)
    }

    fn see(&self, channel: Channel, begun: At, list: &List) {
        let (node, service, hosts) = (self.node, list.service, &list.hosts);
        let received = self.shared.now();
        let seen = Seen { node, channel, service, begun, received, hosts };
        let mut judge = self.shared.judge.borrow_mut();
        judge.list_streamed();
        judge.seen(&seen);
    }
}

impl Site for Reader {
    fn servers(&self) -> Vec<(usize, SocketAddr)> {
        if self.shared.judge.borrow().state(self.node) == State::Down {
            return Vec::new();
        }
        self.shared.streamed(self.node).map(|address| (self.node, address)).into_iter().collect()
    }

    fn reaches(&self, _node: usize) -> bool {
        true
    }

    fn hear(&self, event: Event<'_>) {
        match event {
            Event::Pushed(list) => {
                let Some(list) = List::parse_answer(list) else { return };
                // Clients ignore what is older than what they have.
                let is_new = {
                    let mut newest = self.newest.borrow_mut();
                    let known = newest.entry(list.service).or_insert(0);
                    let is_new = list.made_ms >= *known;
                    *known = list.made_ms.max(*known);
                    is_new
                };
                if is_new {
                    self.see(Channel::Push, self.shared.now(), &list);
                }
            }
            Event::Done { begun, answer } => {
                let begun = self.shared.at(begun);
                match List::parse_answer(answer.body()) {
                    Some(list) => self.see(Channel::Read, begun, &list),
                    None => self.shared.call_failed(self.node, begun, "subscribe: no list"),
                }
            }
            other => hear(&self.shared, other),
        }
    }
}

/// Reads the list of one service all the time.
pub(super) async fn read_for_ever(client: Rc<Sdk<Reader>>, service: usize) {
    sleep(READ_INTERVAL.mul_f64(fastrand::f64())).await;
    let query = messages::query(&hosts::plain_service(service));
    let query = message("ServiceQueryRequest", query);
    loop {
        let begun = client.site.shared.now();
        // What has failed has been noted.
        if let Some(Ok(answer)) = client.call(&query).await {
            match List::parse_answer(answer.body()).filter(|list| list.service == service) {
                Some(list) => client.site.see(Channel::Read, begun, &list),
                None => client.site.shared.call_failed(client.site.node, begun, "query: no list"),
            }
        }
        sleep(READ_INTERVAL).await;
    }
}

/// What all clients note alike.
fn hear(shared: &Shared, event: Event<'_>) {
    match event {
        Event::Connected => shared.judge.borrow_mut().connected(),
        Event::Answered => shared.judge.borrow_mut().call_succeeded(),
        Event::Failed { node, begun, since, what } => {
            let what = format!("gRPC, {what}");
            let broken = shared.broken_between.get();
            if broken.is_some_and(|broken| shared.at(since) <= broken) {
                shared.judge.borrow_mut().call_may_fail();
            } else {
                shared.call_failed(node, shared.at(begun), &what);
            }
        }
        Event::Alive { .. } | Event::Done { .. } | Event::Pushed(_) => {}
    }
}

impl Shared {
    /// Where clients reach a node over gRPC.
    pub(super) fn streamed(&self, node: usize) -> Option<SocketAddr> {
        if let Some(between) = self.between.borrow().get(node) {
            return Some(*between);
        }
        let address = self.address(node)?;
        Some(SocketAddr::new(address.ip(), address.port().checked_add(super::GRPC_OFFSET)?))
    }

    /// A moment in the time of the row.
    fn at(&self, instant: Instant) -> At {
        instant.checked_duration_since(self.begun).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_streamed_of_all_and_of_those_that_rows_choose() {
        let share = |ids: &mut dyn Iterator<Item = usize>| {
            let (mut all, mut streamed) = (0, 0);
            ids.for_each(|id| (all, streamed) = (all + 1, streamed + usize::from(is_streamed(id))));
            streamed * 100 / all
        };
        let shares = [
            share(&mut (0..3_000)),
            share(&mut (0..300)),
            share(&mut (0..3_000).step_by(3)),
            share(&mut (3..3_000).step_by(10)),
            share(&mut (0..300).map(|service| service * 10 + service % 10)),
        ];
        assert!(shares.iter().all(|share| (30..=36).contains(share)), "{shares:?}");
    }
}
