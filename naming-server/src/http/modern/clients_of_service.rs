//! The clients of one service: who has registered instances of it, and who listens to it.

use std::collections::HashMap;
use std::sync::Arc;

use naming_model::{InstanceKey, ServiceKey};
use serde_json::{Value, json};

use super::clients::Version;
use super::envelope::{data, data_of_members};
use super::error::Fault;
use super::form;
use crate::http::everywhere::{
    HoldersOf, Scope, SubscriberRow, Subscribers, id_of, later, of_scope,
};
use crate::http::v1::Api;
use crate::http::{Answer, Call};
use crate::registry::{Host, hosts};

/// Who has registered instances of a service, as 2.x shows it.
pub(super) fn publishers(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_publishers(api, call, "cluster")
}

/// The same as 3.x shows it.
pub(super) fn admin_publishers(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_publishers(api, call, "clusterName")
}

fn show_publishers(api: &Api, call: &Call<'_>, cluster: &'static str) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let meant = Meant::of(call)?;
    later(api, async move |api: Arc<Api>| {
        let ask = HoldersOf { service: service.as_str().to_owned() };
        let mut parts = of_scope(&api, &Scope::All, &ask).await;
        parts.note_cut(|part| part.is_cut);
        let holders: HashMap<u64, String> =
            parts.told.into_iter().flat_map(|(_, part)| part.rows).collect();
        let shown = publishers_of(&api, &service, &meant, cluster, &holders);
        data_of_members(&api, &json!(shown).to_string(), &parts.silent, "ip")
    })
}

fn publishers_of(
    api: &Api,
    service: &ServiceKey,
    meant: &Meant,
    cluster: &str,
    holders: &HashMap<u64, String>,
) -> Vec<Value> {
    let Some(datum) = api.registry.find(service) else { return Vec::new() };
    datum.read(|reader| {
        let show = |host: Host<'_>| {
            let held = host.instance.held.as_ref();
            // What is held at a member that is silent is known by its address only.
            let id = held.and_then(|held| holders.get(&held.by).cloned());
            let id = id.unwrap_or_else(|| id_of(&host.record_key()));
            let InstanceKey { ip, port, cluster: name } = host.key;
            json!({ "clientId": id, "ip": ip, "port": port, cluster: name })
        };
        hosts(&reader).filter(|host| meant.is(host.key.ip, host.key.port)).map(show).collect()
    })
}

/// Who listens to a service, as 2.x shows it.
pub(super) fn listeners(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_listeners(api, call, Version::V2)
}

/// The same as 3.x shows it.
pub(super) fn admin_listeners(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_listeners(api, call, Version::V3)
}

fn show_listeners(api: &Api, call: &Call<'_>, version: Version) -> Result<Answer, Fault> {
    let service = form::service(call)?.as_str().to_owned();
    let meant = Meant::of(call)?;
    later(api, async move |api: Arc<Api>| {
        let ask = Subscribers { service, most: usize::MAX };
        let mut parts = of_scope(&api, &Scope::All, &ask).await;
        parts.note_cut(|part| part.is_cut);
        let rows = parts.told.into_iter().flat_map(|(_, part)| part.rows);
        let shown: Vec<Value> = rows.filter_map(|row| listener(row, &meant, version)).collect();
        data_of_members(&api, &json!(shown).to_string(), &parts.silent, "ip")
    })
}

fn listener(row: SubscriberRow, meant: &Meant, version: Version) -> Option<Value> {
    let SubscriberRow { address, agent, app, client } = row;
    let (ip, port) = (address.ip().to_canonical().to_string(), address.port());
    meant.is(&ip, port).then(|| match version {
        Version::V2 => json!({ "clientId": client, "ip": ip, "port": port }),
        Version::V3 => json!({
            "clientId": client, "appName": app, "agent": agent, "address": address.to_string(),
        }),
    })
}

/// Which clients of a service a request means.
struct Meant {
    ip: Option<String>,
    port: Option<u16>,
}

impl Meant {
    fn of(call: &Call<'_>) -> Result<Self, Fault> {
        form::flag(call, "ephemeral")?;
        let ip = call.params.optional("ip").map(std::borrow::Cow::into_owned);
        Ok(Self { ip, port: form::optional_port(call, "port")? })
    }

    fn is(&self, ip: &str, port: u16) -> bool {
        self.ip.as_deref().is_none_or(|meant| meant == ip)
            && self.port.is_none_or(|meant| meant == port)
    }
}

/// The member that takes the writes of a client: every member does, so it is this one.
pub(super) fn responsible(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    form::required(call, "ip")?;
    form::port(call)?;
    Ok(data(&json!({ "responsibleServer": api.address() })).into())
}
