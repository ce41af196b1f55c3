//! Instances by address or by what they are, why they came and went, and who changed what.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::clients::{scope, with_silent};
use crate::http::everywhere::{Changes, EventsSeen, Holders, later, of_others, of_scope};
use crate::http::modern::envelope::{data_of_members, long_data};
use crate::http::modern::error::Fault;
use crate::http::modern::form::{self, Paging};
use crate::http::v1::{Api, EventFilter, event_limit};
use crate::http::{Answer, Call, MOST_ANSWER_BYTES};
use crate::registry::{AddressQuery, InstanceQuery};

/// Instances that one search finds.
const MOST_FOUND: usize = 200;
/// Instances on one page.
const MOST_ON_PAGE: i64 = 1_000;
/// Instances on a page unless the caller says how many.
const USUAL_PAGE: i64 = 50;
/// Lines about changes in one answer.
const MOST_CHANGES: i64 = 1_000;
/// The same unless the caller says how many.
const USUAL_CHANGES: i64 = 100;

/// Why instances came and went, newest first, as the members know that are asked.
pub(in crate::http::modern) fn events(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let (filter, most) = (EventFilter::from_call(call)?, event_limit(call)?);
    let scope = scope(api, call)?;
    later(api, async move |api: Arc<Api>| {
        let mut parts = of_scope(&api, &scope, &EventsSeen { filter, most }).await;
        parts.note_cut(|part| part.is_cut);
        let mut events: Vec<Value> = Vec::new();
        for (member, part) in parts.told {
            events.extend(part.rows.into_iter().map(|mut event| {
                event["member"] = json!(member);
                event
            }));
        }
        // Stable: those of one member stay in their order.
        events.sort_by_key(|event| std::cmp::Reverse(event["time"].as_u64()));
        events.truncate(most);
        let shown = json!({ "count": events.len(), "events": events });
        with_silent(&api, shown, &parts.silent, "limit")
    })
}

/// Instances by their address, in all services of a namespace or of all.
pub(in crate::http::modern) fn search(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let address = address(call)?.ok_or_else(|| Fault::missing("address"))?;
    let namespace = call.params.optional("namespaceId");
    let _look = api.naming().look_at_all()?;
    let found = api.registry.find_address(namespace.as_deref(), &address, MOST_FOUND);
    let json = format!(
        "{{\"count\":{},\"more\":{},\"instances\":{}}}",
        found.count, found.has_more, found.json
    );
    Ok(long_data(api, &json, "address")?.into())
}

fn address(call: &Call<'_>) -> Result<Option<AddressQuery>, Fault> {
    let Some(text) = call.params.optional("address") else { return Ok(None) };
    let query = AddressQuery::parse(&text);
    query.map(Some).ok_or_else(|| Fault::illegal("address", "no address begins like this"))
}

/// A page of the instances of a service with all that is known of them, in all clusters.
pub(in crate::http::modern) fn instances(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let paging = Paging::of(call, USUAL_PAGE)?;
    if paging.size > MOST_ON_PAGE {
        return Err(Fault::illegal("pageSize", format_args!("it is above {MOST_ON_PAGE}")));
    }
    let query = InstanceQuery {
        cluster: call.params.optional("clusterName").map(Into::into),
        address: address(call)?,
        healthy: form::flag(call, "healthy")?,
        enabled: form::flag(call, "enabled")?,
        metadata: call.params.optional("metadata").map(|text| match text.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim().to_owned())),
            None => (text.trim().to_owned(), None),
        }),
    };
    let Some(datum) = api.registry.find(&service) else {
        let reason = format!("service {} is not found!", service.grouped());
        return Err(Fault::not_found(reason));
    };
    // Whoever is connected to this member is known at once; for the others they are asked.
    let elsewhere = RefCell::new(Vec::new());
    let holder = |mark| {
        let found = api.connected().holder(mark);
        if found.is_none() {
            elsewhere.borrow_mut().push(mark);
        }
        found
    };
    let picked = |holder: &dyn Fn(u64) -> Option<String>| {
        let page = paging.page();
        api.registry.picked_instances(&service, &datum, &query, page, holder, MOST_ANSWER_BYTES)
    };
    let (items, count) = picked(&holder);
    let marks = elsewhere.into_inner();
    if marks.is_empty() || api.peers().is_none() {
        return Ok(long_data(api, &paging.json(count, &items), "pageSize")?.into());
    }
    later(api, async move |api: Arc<Api>| {
        let parts = of_others(&api, &Holders { marks }).await;
        let found: HashMap<u64, String> =
            parts.told.into_iter().flat_map(|(_, part)| part).collect();
        let holder = |mark| api.connected().holder(mark).or_else(|| found.get(&mark).cloned());
        let (items, count) = api.registry.picked_instances(
            &service,
            &datum,
            &query,
            paging.page(),
            &holder,
            MOST_ANSWER_BYTES,
        );
        data_of_members(&api, &paging.json(count, &items), &parts.silent, "pageSize")
    })
}

/// The latest administrative writes that members were asked for, newest first.
pub(in crate::http::modern) fn audit(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let limit = form::number(call, "limit")?.unwrap_or(USUAL_CHANGES);
    if !(1..=MOST_CHANGES).contains(&limit) {
        return Err(Fault::illegal("limit", format_args!("it is not from 1 to {MOST_CHANGES}")));
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let scope = scope(api, call)?;
    later(api, async move |api: Arc<Api>| {
        let mut parts = of_scope(&api, &scope, &Changes { most }).await;
        parts.note_cut(|part| part.is_cut);
        let mut changes: Vec<(String, Box<RawValue>)> = Vec::new();
        for (_, part) in parts.told {
            changes.extend(part.rows.into_iter().map(|line| (time_of(&line), line)));
        }
        changes.sort_by(|(one, _), (other, _)| other.cmp(one));
        changes.truncate(most);
        let lines: Vec<&str> = changes.iter().map(|(_, line)| line.get()).collect();
        let json = format!(
            "{{\"server\":{},\"count\":{},\"changes\":[{}],\"unanswered\":{}}}",
            json!(api.address()),
            lines.len(),
            lines.join(","),
            json!(parts.silent),
        );
        Ok(long_data(&api, &json, "limit")?.never_cached())
    })
}

/// When something was done, in a form that sorts.
fn time_of(line: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Line {
        time: String,
    }
    serde_json::from_str(line.get()).map(|Line { time }| time).unwrap_or_default()
}
