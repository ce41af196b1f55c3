//! Members, their connections and what they are asked to do: `/v2/core`, `/v3/admin/core`,
//! `/v3/console/core/cluster`.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::envelope::{data, data_of_members, done, long_data};
use super::error::{Code, Fault};
use super::form;
use crate::http::everywhere::{Load, Scope, Silent, later, of_scope};
use crate::http::v1::Api;
use crate::http::{Answer, Call, Connection, Destination, MOST_ANSWER_BYTES, Reply, read_list};

/// The states that a member may have.
const STATES: [&str; 5] = ["STARTING", "UP", "SUSPICIOUS", "DOWN", "ISOLATION"];
/// Members that one request may name.
const MOST_MEMBERS: usize = 1_000;
/// Why calls do not change who is a member.
const FIXED: &str = "members are not changed by calls: change the list that the members read \
                     (cluster.members_file, cluster.dns_name), or stop the member";
/// Bytes of a host name.
const MAX_HOST: usize = 255;
/// Why calls do not move connections.
const NOT_MOVED: &str = "this server does not move connections by calls: clients choose a member \
                         themselves, and a member that stops sends its clients to others";

/// This member.
pub(super) fn own(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&api.own_member()).into())
}

/// The state of this member.
pub(super) fn own_health(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&json!(api.own_state())).into())
}

/// All members, or those in a state, or those whose address begins so.
pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let address = call.params.or("address", "");
    let state = call.params.optional("state").map(|state| state.to_ascii_uppercase());
    if let Some(unknown) = state.as_deref().filter(|state| !STATES.contains(state)) {
        let reason = format!("Illegal state: {}", form::shown(unknown).to_lowercase());
        return Err(Fault::bad(Code::State, reason));
    }
    Ok(members(api, &address, state.as_deref()).into())
}

/// All members, or those whose address begins so, as the console asks.
pub(super) fn console_list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    Ok(members(api, &call.params.or("keyword", ""), None).into())
}

fn members(api: &Api, address: &str, state: Option<&str>) -> Reply {
    let is_meant = |member: &Value| {
        member["address"].as_str().is_some_and(|own| own.starts_with(address))
            && state.is_none_or(|state| member["state"] == state)
    };
    let members: Vec<Value> = api.members().into_iter().filter(is_meant).collect();
    data(&json!(members))
}

/// Members reported by another; they are not changed that way.
pub(super) fn set_list(_: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    match read_list::<&RawValue>(call.body, MOST_MEMBERS) {
        Ok(nodes) if !nodes.is_empty() => Err(Fault::not_offered(FIXED)),
        _ => Err(Fault::missing("nodes")),
    }
}

/// Another way to find members; it is not changed that way.
pub(super) fn set_lookup(_: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    match &*form::required(call, "type")? {
        "file" | "address-server" => Err(Fault::not_offered(FIXED)),
        other => {
            let other = form::shown(other);
            Err(Fault::illegal(
                "type",
                format_args!("it is neither file nor address-server: {other}"),
            ))
        }
    }
}

/// A member is to leave.
pub(super) fn leave(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Err(Fault::not_offered(FIXED))
}

/// The connections of clients to this member, without envelope.
pub(super) fn connections(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(api.answers.json(connections_json(api)?)?.into())
}

/// The connections of clients to this member.
pub(super) fn admin_connections(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(long_data(api, &connections_json(api)?, "connectionId")?.into())
}

fn connections_json(api: &Api) -> Result<String, Fault> {
    let connected = api.connected();
    let mut json = "{".to_owned();
    for id in connected.ids() {
        let Some(connection) = connected.find(&id) else { continue };
        let Connection { kind, app, version, ip, port, last_active_ms } = connection;
        let meta = json!({
            "connectType": kind, "clientIp": ip, "remoteIp": ip, "remotePort": port,
            "version": version, "connectionId": id, "appName": app,
            "lastActiveTime": last_active_ms,
        });
        if json.len() > 1 {
            json.push(',');
        }
        let _ = write!(json, "{}:{}", json!(id), json!({ "metaInfo": meta }));
        if json.len() > MOST_ANSWER_BYTES {
            let reason = format!(
                "the connections take more than the {MOST_ANSWER_BYTES} bytes of one answer"
            );
            return Err(Fault::bad(Code::ParameterInvalid, reason));
        }
    }
    json.push('}');
    Ok(json)
}

/// How many connections each member has, without envelope.
pub(super) fn load(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    later(api, async |api: Arc<Api>| {
        let (shown, _) = loads(&api, &|count| json!(count.to_string())).await;
        Ok(Reply::json(shown.to_string()))
    })
}

/// How many connections each member has.
pub(super) fn admin_load(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    later(api, async |api: Arc<Api>| {
        let (shown, silent) = loads(&api, &|count| json!(count)).await;
        data_of_members(&api, &shown.to_string(), &silent, "address")
    })
}

async fn loads(api: &Arc<Api>, number: &(dyn Fn(u64) -> Value + Sync)) -> (Value, Vec<Silent>) {
    let parts = of_scope(api, &Scope::All, &Load {}).await;
    let counts: Vec<u64> = parts.told.iter().map(|(_, part)| part.connections).collect();
    let rows = parts.told.iter().map(|(address, part)| {
        json!({
            "address": address,
            "sdkConCount": number(part.connections),
            "conCount": number(part.connections),
            "load": part.load,
            "cpu": part.cpu,
        })
    });
    let (told, total) = (counts.len() as u64, counts.iter().sum::<u64>());
    let shown = json!({
        "detail": rows.collect::<Vec<_>>(),
        "memberCount": told + parts.silent.len() as u64,
        "metricsCount": told,
        "completed": parts.silent.is_empty(),
        "max": counts.iter().max(),
        "min": counts.iter().min(),
        "avg": total / told.max(1),
        "total": total,
    });
    (shown, parts.silent)
}

/// A client is asked to go to another server, without envelope. One that is not here is as good as
/// gone.
pub(super) fn send_client_away(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "connectionId")?;
    let address = call.params.optional("redirectAddress");
    let to = address.as_deref().map(destination).transpose()?;
    api.connected().send_away(&id, to);
    Ok(Reply::text("success").into())
}

/// The same of 3.x.
pub(super) fn admin_send_client_away(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    send_client_away(api, call)?;
    Ok(data(&json!("success")).into())
}

/// A server that clients may be sent to.
fn destination(address: &str) -> Result<Destination<'_>, Fault> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let is_host = |host: &str| !host.is_empty() && host.len() <= MAX_HOST && is_plain(host);
    match parts.filter(|(host, _)| is_host(host)) {
        Some((host, port)) => Ok(Destination { host, port }),
        None => Err(Fault::illegal(
            "redirectAddress",
            format_args!("it is no address and port: {}", form::shown(address)),
        )),
    }
}

/// Whether a text has the characters of an address or a host name only.
fn is_plain(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// Connections are to be moved to other members.
pub(super) fn move_connections(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Err(Fault::not_offered(NOT_MOVED))
}

/// Something is asked of the Raft group or the generators of ids of Nacos.
pub(super) fn no_raft(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Err(Fault::not_offered(
        "this server has no Raft group and no id generators: all members are equal",
    ))
}

/// Sets a log level of this member.
pub(super) fn set_log_level(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    form::required(call, "logName")?;
    form::required(call, "logLevel")?;
    api.set_log_level(call)?;
    Ok(done().into())
}
