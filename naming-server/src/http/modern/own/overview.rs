//! This member and the others, at a cost that an open page may cause every few seconds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::clients::with_silent;
use crate::http::everywhere::{Load, Scope, later, of_scope};
use crate::http::modern::envelope::data;
use crate::http::modern::error::Fault;
use crate::http::v1::Api;
use crate::http::{Answer, Call};
use crate::registry::{CLASS_INSTANCE, EventKind, wall_ms};

/// Counts of this member: how many there are now, and counters since its start whose growth is a
/// rate. Nothing here looks at services one by one.
pub(in crate::http::modern) fn overview(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let (up_seconds, started_seconds) = api.up_and_started();
    let usage = api.usage();
    let registry = &api.registry;
    Ok(data(&json!({
        "address": api.address(),
        "version": env!("CARGO_PKG_VERSION"),
        "status": api.status().name(),
        "time": wall_ms(),
        "startedAt": (started_seconds * 1_000.0) as u64,
        "upMillis": (up_seconds * 1_000.0) as u64,
        "user": call.user,
        "services": registry.service_count(),
        "instances": registry.store.visible_count(CLASS_INSTANCE),
        "connections": api.connected().len(),
        "subscribers": api.subscriber_count(),
        "cpu": usage.cpu,
        "load": usage.load,
        "memory": usage.memory,
        "counters": counters(api),
        "members": with_shares(api),
    }))
    .into())
}

/// What only grows.
fn counters(api: &Api) -> Value {
    let push = api.push_stats();
    let requests: u64 = api.request_counts().map(|(.., count)| count).sum();
    let beats: u64 = api.registry.beats.all().into_iter().map(|(_, count)| count).sum();
    let events: Map<String, Value> = EventKind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!(api.registry.events.count(kind))))
        .collect();
    json!({
        "requests": requests,
        "beats": beats,
        "pushes": push.sent.value() + push.streams.sent.value(),
        "acks": push.acked.value() + push.streams.acked.value(),
        "events": events,
    })
}

/// The members as this one sees them, with the phase of this one, and how many connections each says
/// to have.
pub(in crate::http::modern) fn members(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    later(api, async |api: Arc<Api>| {
        let loads = of_scope(&api, &Scope::All, &Load {}).await;
        let mut members = with_shares(&api);
        for (address, load) in &loads.told {
            let member = members.iter_mut().find(|member| member["address"] == **address);
            if let Some(member) = member {
                member["connections"] = json!(load.connections);
            }
        }
        let shown = json!({
            "address": api.address(),
            "own": api.phase(),
            "slots": distro_core::SLOT_COUNT,
            "members": members,
        });
        with_silent(&api, shown, &loads.silent, "address")
    })
}

fn with_shares(api: &Api) -> Vec<Value> {
    let shares = api.shares();
    let mut members = api.members();
    for member in &mut members {
        let address = member["address"].as_str().unwrap_or_default();
        let (is_own, slots) = (address == api.address(), shares.get(address).copied());
        member["isOwn"] = json!(is_own);
        // Where owners are not counted by slot nobody has a share.
        member["slots"] = match shares.is_empty() {
            true => Value::Null,
            false => json!(slots.unwrap_or(0)),
        };
    }
    members
}
