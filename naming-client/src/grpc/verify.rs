//! Whether the registry still has what the connection holds.
//!
//! A server tells nobody that it has forgotten an instance, or that somebody else has taken it
//! out. Over HTTP beats find that out; here the lists are read from time to time, and what is
//! missing is written again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use naming_model::Instance;
use tokio::time::Instant;

use super::Context;
use super::messages::{Request, read_list};
use super::session::Session;
use crate::names::ServiceName;

/// Least time between two looks at one service, doubled up to the second while looking changes
/// nothing: what an operator has hidden stays hidden.
const PERIOD: Duration = Duration::from_secs(8);
const LAST_PERIOD: Duration = Duration::from_secs(600);
/// Instances that are read in a second at most: what looking costs does not grow with what there
/// is.
const READ_PER_SECOND: f64 = 500.0;
/// What one look costs beside its instances, counted in instances.
const CALL: usize = 20;
/// How often the list of services is looked at.
const STEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Look {
    at: Instant,
    period: Duration,
}

/// Looks for as long as it is polled.
pub(super) async fn run(context: &Arc<Context>) {
    let mut looks: BTreeMap<ServiceName, Look> = BTreeMap::new();
    loop {
        tokio::time::sleep(STEP).await;
        let Some(session) = context.link().session() else {
            looks.clear();
            continue;
        };
        let places: BTreeMap<ServiceName, usize> =
            context.link().holder.places().into_iter().collect();
        looks.retain(|service, _| places.contains_key(service));
        let now = Instant::now();
        for service in places.keys() {
            // Those that come together are not looked at together.
            let at = now + PERIOD.mul_f64(0.5 + fastrand::f64() / 2.0);
            looks.entry(service.clone()).or_insert(Look { at, period: PERIOD });
        }
        let due = looks.iter().filter(|(_, look)| look.at <= now).map(|(name, _)| name.clone());
        for service in due.collect::<Vec<_>>() {
            let is_there = look(context, &session, &service).await;
            let Some(look) = looks.get_mut(&service) else { continue };
            look.period = match is_there {
                Some(false) => (look.period * 2).min(LAST_PERIOD),
                _ => PERIOD,
            };
            look.at = Instant::now() + look.period;
            let read = places.get(&service).copied().unwrap_or(0) + CALL;
            #[allow(clippy::cast_precision_loss, reason = "a pause needs no more digits")]
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / READ_PER_SECOND)).await;
        }
    }
}

/// Whether all instances of a service are there; writes them again if not. `None` if that cannot
/// be told now.
async fn look(context: &Context, session: &Session, service: &ServiceName) -> Option<bool> {
    let (core, holder) = (&context.core, &context.link().holder);
    let request = Request::query(&core.namespace, service, "").ok()?;
    let body = session.call(core, &context.http, &request, core.request_timeout).await.ok()?;
    let (found, list) = read_list(&body).ok()?;
    let known: BTreeSet<_> = list.hosts.iter().map(Instance::key).collect();
    let wanted = holder.settled(service).filter(|_| found == *service)?;
    // What is closed for calls is in no list.
    let mut shown = wanted.iter().filter(|instance| instance.enabled);
    let missing = shown.find(|instance| !known.contains(&instance.key()));
    if let Some(missing) = missing {
        tracing::info!(%service, instance = %missing.key(),
            "the registry does not show the instance, registering again");
        holder.write_again(service);
    }
    Some(missing.is_none())
}
