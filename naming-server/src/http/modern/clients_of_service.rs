//! The clients of one service: who has registered instances of it, and who listens to it.

use naming_model::InstanceKey;
use serde_json::{Value, json};

use super::clients::{Listener, Version, id_of, id_of_subscriber, listening};
use super::envelope::{data, long_data};
use super::error::Fault;
use super::form;
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
    let Some(datum) = api.registry.find(&service) else { return Ok(data(&json!([])).into()) };
    let shown: Vec<Value> = datum.read(|reader| {
        let show = |host: Host<'_>| {
            let held = host.instance.held.as_ref();
            // What a connection to another member holds is known by its address only.
            let id = held.and_then(|held| api.connected().holder(held.by));
            let id = id.unwrap_or_else(|| id_of(&host.record_key()));
            let InstanceKey { ip, port, cluster: name } = host.key;
            json!({ "clientId": id, "ip": ip, "port": port, cluster: name })
        };
        hosts(&reader).filter(|host| meant.is(host.key.ip, host.key.port)).map(show).collect()
    });
    Ok(long_data(api, &json!(shown).to_string(), "ip")?.into())
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
    let service = form::service(call)?;
    let meant = Meant::of(call)?;
    let mut shown = Vec::new();
    let mut show = |id: String, ip: String, port: u16, listener: Listener| {
        if !meant.is(&ip, port) {
            return;
        }
        let Listener { app, agent, address } = listener;
        shown.push(match version {
            Version::V2 => json!({ "clientId": id, "ip": ip, "port": port }),
            Version::V3 => {
                json!({ "clientId": id, "appName": app, "agent": agent, "address": address })
            }
        });
    };
    for subscriber in listening(api, &service) {
        let id = match subscriber.connection {
            None => id_of_subscriber(&subscriber),
            Some(connection) => match api.connected().id_of(connection) {
                Some(id) => id,
                // It has ended meanwhile.
                None => continue,
            },
        };
        let ip = subscriber.address.ip().to_canonical().to_string();
        let port = subscriber.address.port();
        show(id, ip, port, Listener::of(&subscriber));
    }
    Ok(long_data(api, &json!(shown).to_string(), "ip")?.into())
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
