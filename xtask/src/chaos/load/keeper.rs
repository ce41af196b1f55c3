//! Writers of durable records: each keeps one persistent instance, writes and removes it all the
//! time, and remembers what it was told to be done.

use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

use super::Shared;

/// Each writes a service of its own.
pub(super) const KEEPERS: usize = 24;
/// From a write that was done to the next: sometimes long, because a write that is lost is seen
/// only while no other has followed.
const SHORT_REST_MS: std::ops::Range<u64> = 250..1_500;
const LONG_REST_MS: std::ops::Range<u64> = 2_000..20_000;
/// From a write that failed to the same again.
const AGAIN: Duration = Duration::from_millis(200);
/// The share of removals.
const REMOVALS: f64 = 0.35;

/// What one keeper has done.
#[derive(Debug, Clone, Default)]
pub(in crate::chaos) struct Kept {
    /// All writes so far, counted from 1; whether each was a removal.
    removals: Vec<bool>,
    /// The last that was acknowledged.
    acknowledged: usize,
}

impl Kept {
    fn is_removal(&self, number: usize) -> bool {
        number.checked_sub(1).is_some_and(|index| self.removals.get(index) == Some(&true))
    }

    /// Whether this may be what came of the writes: nothing that was acknowledged is lost or
    /// undone. One that was not may have been done all the same.
    fn allows(&self, shown: Option<usize>) -> bool {
        match shown {
            Some(number) => {
                (self.acknowledged..=self.removals.len()).contains(&number)
                    && number > 0
                    && !self.is_removal(number)
            }
            None => {
                let possible = self.acknowledged..=self.removals.len();
                self.acknowledged == 0 || possible.into_iter().any(|number| self.is_removal(number))
            }
        }
    }
}

/// Writes until the task is aborted.
pub(super) async fn keep(shared: Rc<Shared>, id: usize) {
    loop {
        let (number, is_removal) = decide(&shared, id);
        let (method, path) = match is_removal {
            true => (Method::DELETE, path(id)),
            false => (Method::POST, format!("{}&metadata=number%3D{number}", path(id))),
        };
        while !is_done(&shared, &method, &path).await {
            sleep(AGAIN).await;
        }
        shared.kept.borrow_mut()[id].acknowledged = number;
        let rest = if fastrand::bool() { SHORT_REST_MS } else { LONG_REST_MS };
        sleep(Duration::from_millis(fastrand::u64(rest))).await;
    }
}

fn decide(shared: &Shared, id: usize) -> (usize, bool) {
    let mut kept = shared.kept.borrow_mut();
    let removals = &mut kept[id].removals;
    let is_removal = !removals.is_empty() && fastrand::f64() < REMOVALS;
    removals.push(is_removal);
    (removals.len(), is_removal)
}

async fn is_done(shared: &Shared, method: &Method, path: &str) -> bool {
    let listed = shared.listed.borrow().clone();
    let Some(node) = fastrand::choice(listed) else { return false };
    let Some(address) = shared.address(node) else { return false };
    let reply = shared.http.call(method, address, path).await;
    reply.is_ok_and(|reply| reply.status == 200)
}

fn path(id: usize) -> String {
    // Nobody listens there, and checks of its health are refused at once.
    format!("/nacos/v1/ns/instance?{}&ip=127.0.0.1&port=9&ephemeral=false", service(id))
}

fn service(id: usize) -> String {
    format!("namespaceId=public&serviceName=DEFAULT_GROUP%40%40kept-{id}")
}

/// What one node shows of what the keepers wrote, where that cannot be; nothing if all is well.
pub(super) async fn wrong_at(shared: &Shared, node: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in 0..KEEPERS {
        let kept = shared.kept.borrow()[id].clone();
        let shown = shown_at(shared, node, id).await;
        if !shown.is_some_and(|shown| kept.allows(shown)) {
            let Kept { acknowledged, removals } = &kept;
            wrong.push(format!(
                "node {} shows {shown:?} of durable {id}, acknowledged {acknowledged} of {}",
                node + 1,
                removals.len()
            ));
        }
    }
    wrong
}

/// Whether every keeper was told of something.
pub(super) fn all_were_told(shared: &Shared) -> bool {
    shared.kept.borrow().iter().all(|kept| kept.acknowledged > 0)
}

#[derive(Deserialize)]
struct List {
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    number: String,
}

/// The number of the write that a node shows; `None` if there is no answer that makes sense.
async fn shown_at(shared: &Shared, node: usize, id: usize) -> Option<Option<usize>> {
    let path = format!("/nacos/v1/ns/instance/list?{}&healthyOnly=false", service(id));
    let reply = shared.http.get(shared.address(node)?, &path).await.ok()?;
    shown_in(&reply.body).filter(|_| reply.status == 200)
}

fn shown_in(body: &[u8]) -> Option<Option<usize>> {
    let list: List = serde_json::from_slice(body).ok()?;
    match &list.hosts[..] {
        [] => Some(None),
        [host] => host.metadata.number.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acknowledged_may_be_lost_or_undone() {
        let kept =
            |removals: &[bool], acknowledged| Kept { removals: removals.into(), acknowledged };
        // Written, written again.
        let written = kept(&[false, false], 2);
        assert!(written.allows(Some(2)));
        assert!(!written.allows(Some(1)) && !written.allows(None) && !written.allows(Some(3)));
        // The second was not acknowledged: it may be there or not.
        let open = kept(&[false, false], 1);
        assert!(open.allows(Some(1)) && open.allows(Some(2)) && !open.allows(None));
        // Removed for certain, removed perhaps, and written since, perhaps.
        let removed = kept(&[false, true], 2);
        assert!(removed.allows(None) && !removed.allows(Some(1)) && !removed.allows(Some(2)));
        let perhaps = kept(&[false, true], 1);
        assert!(perhaps.allows(None) && perhaps.allows(Some(1)));
        let since = kept(&[false, true, false], 2);
        assert!(since.allows(None) && since.allows(Some(3)) && !since.allows(Some(1)));
        let never = kept(&[false], 0);
        assert!(never.allows(None) && never.allows(Some(1)) && !never.allows(Some(0)));
    }

    #[test]
    fn a_list_shows_the_number_of_a_write() {
        assert_eq!(
            shown_in(br#"{"hosts":[{"metadata":{"number":"12"},"ip":"a"}]}"#),
            Some(Some(12))
        );
        assert_eq!(shown_in(br#"{"hosts":[],"name":"a"}"#), Some(None));
        assert_eq!(shown_in(br#"{"hosts":[{"metadata":{}}]}"#), None);
        assert_eq!(shown_in(b"caused: busy"), None);
    }
}
