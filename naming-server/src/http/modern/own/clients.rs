//! Clients as the console lists them, at whichever member they are: those that hold a connection, and
//! those that are known by an address.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::http::everywhere::{
    AddressClient, AddressClients, AddressRow, ConnectionIds, ConnectionRows, Detail, Rows, Scope,
    Silent, later, of_scope,
};
use crate::http::modern::clients::{Client, show};
use crate::http::modern::envelope::long_data;
use crate::http::modern::error::Fault;
use crate::http::modern::form::{self, Paging};
use crate::http::v1::Api;
use crate::http::{Answer, Call, Reply};

/// Clients on one page.
const MOST_ON_PAGE: i64 = 500;
/// Clients on a page unless the caller says how many.
const USUAL_PAGE: i64 = 50;
/// Connections up to the end of a page: each member tells so many ids.
const MOST_DEEP: i64 = 20_000;

fn page_size(size: i64) -> Result<usize, Fault> {
    let size = usize::try_from(size).ok().filter(|_| (1..=MOST_ON_PAGE).contains(&size));
    size.ok_or_else(|| {
        Fault::illegal("pageSize", format_args!("it is not from 1 to {MOST_ON_PAGE}"))
    })
}

/// Whose clients are asked for: of all members, or of the one at the address `member`.
///
/// # Errors
/// 400 if that is none.
pub(super) fn scope(api: &Api, call: &Call<'_>) -> Result<Scope, Fault> {
    let Some(asked) = call.params.optional("member") else { return Ok(Scope::All) };
    if !api.members().iter().any(|member| member["address"] == *asked) {
        let asked = form::shown(&asked);
        let reason = format!("it is the address of no member: {asked}");
        return Err(Fault::illegal("member", reason));
    }
    Ok(Scope::Member(asked.into_owned()))
}

/// An object in the envelope, with the members whose part is missing.
pub(super) fn with_silent(
    api: &Api,
    mut shown: Value,
    silent: &[Silent],
    parameter: &str,
) -> Result<Reply, Fault> {
    shown["unanswered"] = json!(silent);
    long_data(api, &shown.to_string(), parameter)
}

/// A page of the clients that hold a connection, the newest first; only those in whose version,
/// application or address a text is found, if one is given.
pub(in crate::http::modern) fn connections(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let paging = Paging::of(call, USUAL_PAGE)?;
    page_size(paging.size)?;
    let end = paging.number.saturating_mul(paging.size);
    if end > MOST_DEEP {
        let reason = format!("it ends behind the {MOST_DEEP} newest connections: search for them");
        return Err(Fault::illegal("pageNo", reason));
    }
    let most = usize::try_from(end).unwrap_or(usize::MAX);
    let search = call.params.or("search", "").to_lowercase();
    let scope = scope(api, call)?;
    later(api, async move |api: Arc<Api>| {
        let mut ids = of_scope(&api, &scope, &ConnectionIds { search, most }).await;
        ids.note_cut(|part| part.is_cut);
        let counts: BTreeMap<String, usize> =
            ids.told.iter().map(|(member, part)| (member.clone(), part.count)).collect();
        let count = counts.values().sum();
        let of_member = |(member, part): &(String, Rows<String>)| {
            part.rows.iter().map(|id| (id.clone(), member.clone())).collect::<Vec<_>>()
        };
        let mut all: Vec<(String, String)> = ids.told.iter().flat_map(of_member).collect();
        // Ids begin with the moment of the connection.
        all.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let on_page: Vec<(String, String)> = paging.page().of(all.into_iter()).collect();
        let rows = rows(&api, &on_page, &mut ids.silent).await;
        let mut shown = paging.value(count, rows);
        shown["members"] = json!(counts);
        with_silent(&api, shown, &ids.silent, "pageSize")
    })
}

/// What there is to say of these connections, asked of the members that have them.
async fn rows(
    api: &Arc<Api>,
    on_page: &[(String, String)],
    silent: &mut Vec<Silent>,
) -> Vec<Value> {
    let mut by_member: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, member) in on_page {
        by_member.entry(member.clone()).or_default().push(id.clone());
    }
    let mut asked = tokio::task::JoinSet::new();
    for (member, ids) in by_member {
        let api = Arc::clone(api);
        asked.spawn(async move {
            of_scope(&api, &Scope::Member(member), &ConnectionRows { ids }).await
        });
    }
    let mut found: HashMap<String, Value> = HashMap::new();
    while let Some(parts) = asked.join_next().await {
        let Ok(mut parts) = parts else { continue };
        parts.note_cut(|part| part.is_cut);
        silent.append(&mut parts.silent);
        for (member, part) in parts.told {
            for row in part.rows {
                let mut shown = json!(row);
                shown["member"] = json!(member);
                found.insert(row.client_id, shown);
            }
        }
    }
    silent.sort();
    silent.dedup();
    // Those that have ended meanwhile are left out.
    on_page.iter().filter_map(|(id, _)| found.remove(id)).collect()
}

/// Clients known by an address, in the order of their ids, from behind `after` on: as many as a page
/// has. Each member takes a look at all services; what it keeps meanwhile is one page.
pub(in crate::http::modern) fn addresses(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let most = page_size(form::number(call, "pageSize")?.unwrap_or(USUAL_PAGE))?;
    let after = call.params.or("after", "").into_owned();
    let begin = call.params.or("search", "").into_owned();
    let scope = scope(api, call)?;
    later(api, async move |api: Arc<Api>| {
        let mut parts = of_scope(&api, &scope, &AddressClients { after, begin, most }).await;
        parts.note_cut(|part| part.is_cut);
        let mut clients: BTreeMap<String, AddressRow> = BTreeMap::new();
        for row in parts.told.into_iter().flat_map(|(_, part)| part.rows) {
            match clients.get_mut(&row.id) {
                Some(known) => {
                    // All know what is registered; who listens where is known there alone.
                    known.published = known.published.max(row.published);
                    known.subscribed += row.subscribed;
                    known.agent = known.agent.take().or(row.agent);
                    known.app = known.app.take().or(row.app);
                }
                None => _ = clients.insert(row.id.clone(), row),
            }
        }
        let rows: Vec<AddressRow> = clients.into_values().take(most).collect();
        let next = (rows.len() == most).then(|| rows.last().map(|row| &*row.id)).flatten();
        let shown: Vec<Value> = rows.iter().map(address_json).collect();
        let shown = json!({ "clients": shown, "next": next });
        with_silent(&api, shown, &parts.silent, "pageSize")
    })
}

fn address_json(row: &AddressRow) -> Value {
    json!({
        "clientId": row.id,
        "type": "ipPort",
        "appName": row.app,
        "version": row.agent,
        "published": row.published,
        "subscribed": row.subscribed,
    })
}

/// One client with all that it has registered and listens to.
pub(in crate::http::modern) fn client(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, |id, client| match client {
        Client::Connected(member, Detail { row, publications, subscriptions }) => {
            let mut shown = json!(row);
            shown["member"] = json!(member);
            shown["publications"] = json!(publications.rows);
            shown["subscriptions"] = json!(subscriptions.rows);
            shown
        }
        Client::Known(client) => {
            let address = AddressClient::parse(id);
            let listed = client.listens.first();
            let subscriptions: Vec<_> =
                client.listens.iter().map(|listens| &listens.service).collect();
            json!({
                "clientId": id,
                "type": "ipPort",
                "appName": listed.map(|listed| &listed.app),
                "version": listed.map(|listed| &listed.agent),
                "ip": address.as_ref().map(|client| client.ip),
                "port": address.as_ref().map(|client| client.port),
                "lastActive": client.last_ms,
                "published": client.published.len(),
                "subscribed": subscriptions.len(),
                "publications": client.published,
                "subscriptions": subscriptions,
            })
        }
    })
}
