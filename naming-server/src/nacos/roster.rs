//! A list of Java members that changes while the server runs: where its members call from, and what
//! is done for each of them as long as it is on the list. Both generations follow it alike.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use distro_net::{Address, MemberWatch};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Within which the addresses of a name must be found.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);

/// Where requests of these members come from, as far as that can be found out.
pub(crate) async fn places(list: &[Address]) -> BTreeMap<Arc<str>, Vec<IpAddr>> {
    let mut places = BTreeMap::new();
    for address in list {
        let found = tokio::net::lookup_host(address.as_str());
        let found = match tokio::time::timeout(LOOKUP_DEADLINE, found).await {
            Ok(Ok(found)) => found.map(|place| place.ip().to_canonical()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        places.insert(Arc::from(address.as_str()), found);
    }
    places
}

/// The next list, named in the log; `None` at the end.
pub(crate) async fn next_list(
    watch: &mut MemberWatch,
    shutdown: &CancellationToken,
    whose: &str,
) -> Option<Vec<Address>> {
    let list = tokio::select! {
        () = shutdown.cancelled() => return None,
        list = watch.changed() => list,
    };
    let texts: Vec<&str> = list.iter().map(Address::as_str).collect();
    tracing::info!(members = texts.join(","), "the list of {whose} has changed");
    Some(list)
}

/// Runs `attend_one` for each of `others`, until `shutdown` or until it is none of them any more:
/// then its token is cancelled. They are looked at again whenever `changed` says so.
pub(crate) async fn attend(
    others: impl Fn() -> Vec<Arc<str>>,
    attend_one: impl Fn(&Arc<str>, &CancellationToken),
    changed: &Notify,
    shutdown: &CancellationToken,
) {
    let mut attended: BTreeMap<Arc<str>, CancellationToken> = BTreeMap::new();
    loop {
        let members = others();
        attended.retain(|address, end| {
            let stays = members.contains(address);
            if !stays {
                end.cancel();
            }
            stays
        });
        for address in members {
            attended.entry(address).or_insert_with_key(|address| {
                let end = shutdown.child_token();
                attend_one(address, &end);
                end
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed.notified() => {}
        }
    }
}
