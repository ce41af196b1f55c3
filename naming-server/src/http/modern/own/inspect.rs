//! Instances by address or by what they are, why they came and went, and who changed what.

use serde_json::json;

use crate::http::modern::envelope::{data, long_data};
use crate::http::modern::error::Fault;
use crate::http::modern::form::{self, Paging};
use crate::http::v1::Api;
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

/// Why instances came and went, newest first, as this member knows.
pub(in crate::http::modern) fn events(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&api.events_json(call)?).into())
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
    let holder = |mark| api.connected().holder(mark);
    let (items, count) = api.registry.picked_instances(
        &service,
        &datum,
        &query,
        paging.page(),
        &holder,
        MOST_ANSWER_BYTES,
    );
    Ok(long_data(api, &paging.json(count, &items), "pageSize")?.into())
}

/// The latest administrative writes that this member was asked for, newest first.
pub(in crate::http::modern) fn audit(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let limit = form::number(call, "limit")?.unwrap_or(USUAL_CHANGES);
    if !(1..=MOST_CHANGES).contains(&limit) {
        return Err(Fault::illegal("limit", format_args!("it is not from 1 to {MOST_CHANGES}")));
    }
    let lines = api.latest_changes(usize::try_from(limit).unwrap_or(usize::MAX));
    let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
    let json = format!(
        "{{\"server\":{},\"count\":{},\"changes\":[{}]}}",
        json!(api.address()),
        lines.len(),
        lines.join(",")
    );
    Ok(long_data(api, &json, "limit")?.never_cached().into())
}
