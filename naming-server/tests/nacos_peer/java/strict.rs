//! What a request of another member must be like.

use serde_json::Value;

use super::data::{parse_datums, split_key};
use super::http::Request;

/// Three numbers, as Java compares them.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

fn ensure(condition: bool, what: &str, request: &Request) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{what}: {request:?}")) }
}

/// By this a request passes the gate of a server of Nacos.
pub(super) fn is_from_server(request: &Request) -> bool {
    request.find_header("user-agent").starts_with("Nacos-Server")
}

fn agent(request: &Request) -> Result<(), String> {
    let version = request.find_header("user-agent").strip_prefix("Nacos-Server:");
    ensure(version.is_some_and(is_version), "the agent is not Nacos-Server:<version>", request)
}

fn client_version(request: &Request) -> Result<(), String> {
    let version = request.find_header("client-version");
    ensure(is_version(version), "Client-Version is no bare version", request)
}

fn json_content(request: &Request) -> Result<(), String> {
    let kind = request.find_header("content-type").to_lowercase();
    ensure(kind.starts_with("application/json"), "Java takes JSON content only", request)
}

/// What Java adds to a query, and from whom it is.
fn query_call(request: &Request, members: &[String]) -> Result<(), String> {
    let is = |name: &str, value: &str| request.parameter(name).as_deref() == Some(value);
    ensure(is("encoding", "UTF-8") && is("nofix", "1"), "encoding or nofix is missing", request)?;
    let source = request.find_header("request-source");
    let is_member = members.iter().any(|member| member == source);
    ensure(is_member, "Request-Source is no member", request)
}

/// PUT `/distro/datum`.
pub(super) fn put_datum(request: &Request) -> Result<(), String> {
    agent(request)?;
    client_version(request)?;
    json_content(request)?;
    let lists = parse_datums(&request.body)?;
    ensure(!lists.is_empty(), "Java refuses an empty map for ever", request)?;
    ensure(lists.len() <= 1_000, "more than 1000 keys", request)
}

/// PUT `/distro/checksum`.
pub(super) fn put_checksum(request: &Request, members: &[String]) -> Result<(), String> {
    agent(request)?;
    client_version(request)?;
    json_content(request)?;
    // Java compares it as it is, so percent signs would make it another.
    let source = request.target.split_once("?source=").map_or("", |(_, source)| source);
    let is_member = members.iter().any(|member| member == source);
    ensure(is_member, "the source is no member", request)?;
    let map: Value = serde_json::from_str(&request.body).map_err(|error| error.to_string())?;
    let map = map.as_object().ok_or_else(|| format!("no map: {map}"))?;
    let is_hex = |text: &str| {
        text.len() == 32 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
    };
    let is_good = |(key, sum): (&String, &Value)| {
        split_key(key).is_some() && sum.as_str().is_some_and(is_hex)
    };
    ensure(map.iter().all(is_good), "not a map from keys to checksums", request)
}

/// GET `/distro/datum`: a body, although it is a GET.
pub(super) fn get_datum(request: &Request) -> Result<(), String> {
    json_content(request)?;
    let body: Value = serde_json::from_str(&request.body).map_err(|error| error.to_string())?;
    let keys = body["keys"].as_str().unwrap_or_default();
    let all_good = keys.split(',').all(|key| split_key(key).is_some());
    ensure(all_good, "keys of lists with commas between", request)
}

/// GET `/distro/datums`.
pub(super) fn get_datums(request: &Request, members: &[String]) -> Result<(), String> {
    agent(request)?;
    client_version(request)?;
    query_call(request, members)
}

/// POST `/core/cluster/report`. Returns the sender.
pub(super) fn report(request: &Request) -> Result<String, String> {
    json_content(request)?;
    ensure(is_version(request.find_header("nacos-server")), "no header Nacos-Server", request)?;
    let member: Value = serde_json::from_str(&request.body).map_err(|error| error.to_string())?;
    let (ip, port) = (member["ip"].as_str().unwrap_or_default(), &member["port"]);
    let address = member["address"].as_str().unwrap_or_default();
    ensure(port.is_u64() && address == format!("{ip}:{port}"), "ip, port or address", request)?;
    let states = ["STARTING", "UP", "SUSPICIOUS", "DOWN", "ISOLATION"];
    let state = member["state"].as_str().unwrap_or_default();
    ensure(states.contains(&state), "an unknown state is 500", request)?;
    let extend = &member["extendInfo"];
    let raft_port = extend["raftPort"].as_str().and_then(|port| port.parse::<u16>().ok());
    ensure(raft_port.is_some(), "raftPort must be text", request)?;
    let version = extend["version"].as_str().unwrap_or_default();
    ensure(is_version(version), "a version that Java cannot compare", request)?;
    Ok(address.to_owned())
}

/// POST `/service/status`. Returns the sender and what it says.
pub(super) fn service_status(
    request: &Request,
    members: &[String],
) -> Result<(String, Value), String> {
    agent(request)?;
    json_content(request)?;
    // Java decodes the body once more.
    ensure(!request.body.contains(['%', '+']), "% or + in the body", request)?;
    let body: Value = serde_json::from_str(&request.body).map_err(|error| error.to_string())?;
    let sender = body["clientIP"].as_str().unwrap_or_default().to_owned();
    ensure(members.contains(&sender), "clientIP is no member", request)?;
    let statuses = body["statuses"].as_str().unwrap_or_default();
    let statuses: Value = serde_json::from_str(statuses).map_err(|error| error.to_string())?;
    let is_good = statuses["namespaceId"].is_string()
        && statuses["serviceName2Checksum"].as_object().is_some();
    ensure(is_good, "statuses", request)?;
    Ok((sender, statuses))
}

/// GET `/instance/statuses`.
pub(super) fn instance_statuses(request: &Request, members: &[String]) -> Result<(), String> {
    agent(request)?;
    client_version(request)?;
    query_call(request, members)
}

/// A write of a client that another member passes on.
pub(super) fn redirect(request: &Request, members: &[String]) -> Result<(), String> {
    agent(request)?;
    client_version(request)?;
    query_call(request, members)?;
    let kind = request.find_header("content-type").to_lowercase();
    let is_form = kind == "application/x-www-form-urlencoded;charset=utf-8";
    ensure(is_form, "redirected as a form", request)?;
    ensure(request.body.is_empty(), "parameters belong into the query", request)
}
