//! Lists of services and of their subscribers.

use std::sync::Arc;

use naming_model::{DEFAULT_GROUP, GROUP_SEPARATOR, ServiceKey};
use serde_json::{Value, json};

use super::envelope::{data, data_of_members, long_data};
use super::error::Fault;
use super::form::{self, DEFAULT_PAGE_SIZE, Paging};
use super::service::Shape;
use crate::http::everywhere::{Scope, SubscriberRow, Subscribers, later, merged, of_scope};
use crate::http::v1::{Api, MOST_SERVICES, SHORT_PAGE};
use crate::http::{Answer, Call, MOST_ANSWER_BYTES};
use crate::registry::{CatalogQuery, GroupFilter, NamePattern, Page};

/// Names in one answer of 2.x.
const MOST_NAMES: i64 = 500;
/// Names in one answer of 2.x unless the caller says how many.
const USUAL_NAMES: i64 = 20;

/// The names of the services of a group, in order.
pub(super) fn names(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let namespace = form::namespace(call)?;
    let group = call.params.or("groupName", DEFAULT_GROUP);
    form::check_group_name(&group)?;
    let number = form::number(call, "pageNo")?.unwrap_or(1);
    let size = match form::number(call, "pageSize")?.unwrap_or(USUAL_NAMES) {
        size if size < 0 => return Err(Fault::illegal("pageSize", "it is negative")),
        size => size.min(MOST_NAMES),
    };
    let mut names = Vec::new();
    let page = Page::new(number, size);
    let count =
        api.registry.index.names(&namespace, GroupFilter::One(&group), page, |_, rest, _| {
            names.push(rest.split(GROUP_SEPARATOR).next().unwrap_or_default().to_owned());
        });
    Ok(data(&json!({ "count": count, "services": names })).into())
}

/// A page of the services of a namespace with their counts, or with all that is known of them.
pub(super) fn page(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let namespace = form::namespace(call)?;
    let (group, service) =
        (call.params.or("groupNameParam", ""), call.params.or("serviceNameParam", ""));
    let paging = Paging::of(call, DEFAULT_PAGE_SIZE)?;
    let with_instances = form::flag(call, "withInstances")?.unwrap_or(false);
    let query = CatalogQuery {
        namespace: &namespace,
        group: NamePattern::new(&group),
        service: NamePattern::new(&service),
        instance: None,
        only_with_instances: form::flag(call, "ignoreEmptyService")?.unwrap_or(false),
    };
    let looks_at_all =
        paging.size > SHORT_PAGE || query.is_about_names() || query.is_about_instances();
    let _look = looks_at_all.then(|| api.naming().look_at_all()).transpose()?;
    let too_many = |count: usize| {
        let reason = format!("{count} services are on this page, the limit is {MOST_SERVICES}");
        Fault::illegal("pageSize", reason)
    };
    let found = api.registry.catalog(&query, paging.page(), MOST_SERVICES);
    let (services, count) = found.map_err(too_many)?;
    let mut items = String::from("[");
    for listed in &services {
        if items.len() > 1 {
            items.push(',');
        }
        let (service, datum) = listed;
        let item = match with_instances {
            true => Shape::V3.service(service, datum, true),
            false => api.counted(listed),
        };
        items.push_str(&item.to_string());
        if items.len() > MOST_ANSWER_BYTES {
            break;
        }
    }
    items.push(']');
    Ok(long_data(api, &paging.json(count, &items), "pageSize")?.into())
}

/// A page of those who are told of changes of a service: by any member, or by this one alone.
pub(super) fn subscribers(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let scope = match form::flag(call, "aggregation")?.unwrap_or(true) {
        true => Scope::All,
        false => Scope::Member(api.address().into()),
    };
    let paging = Paging::of(call, DEFAULT_PAGE_SIZE)?;
    if paging.size > MOST_SERVICES as i64 {
        return Err(Fault::illegal("pageSize", format_args!("it is above {MOST_SERVICES}")));
    }
    let end = paging.number.saturating_mul(paging.size);
    let most = usize::try_from(end).unwrap_or(usize::MAX);
    later(api, async move |api: Arc<Api>| {
        let ask = Subscribers { service: service.as_str().to_owned(), most };
        let mut parts = of_scope(&api, &scope, &ask).await;
        parts.note_cut(|part| part.is_cut);
        let count = parts.told.iter().map(|(_, part)| part.count).sum();
        let rows = parts.told.into_iter().map(|(_, part)| part).collect();
        let on_page = merged(rows, paging.page());
        let shown: Vec<Value> = on_page.iter().map(|one| subscriber(&service, one)).collect();
        let json = paging.json(count, &json!(shown).to_string());
        data_of_members(&api, &json, &parts.silent, "pageSize")
    })
}

fn subscriber(service: &ServiceKey, subscriber: &SubscriberRow) -> Value {
    let SubscriberRow { address, agent, app, .. } = subscriber;
    json!({
        "namespaceId": service.namespace(),
        "groupName": service.group(),
        "serviceName": service.service(),
        "ip": address.ip().to_canonical().to_string(),
        "port": address.port(),
        "agent": agent,
        "appName": app,
        "address": address.to_string(),
    })
}
