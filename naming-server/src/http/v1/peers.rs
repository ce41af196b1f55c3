//! What servers of Nacos ask of each other, if they are members: lists, checksums, health, reports,
//! and the voice in their old Raft.
//!
//! Only members are answered. What a Java server would choke on is refused with a 4xx and changes
//! nothing.

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use naming_model::ServiceKey;

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply, no_such_api, read_list};
use crate::nacos::{
    Adapter, BadReport, PeerDatum, RaftPeer, Sender, parse_checksums, parse_datums, parse_keys,
    parse_leader_beat, parse_report, parse_statuses, parse_vote, render_datums, report_answer,
};
use crate::registry::wall_ms;
use crate::text::cut;

/// Bytes of the body of a message with lists: a thousand services may be in one.
pub(super) const MOST_LISTS_BYTES: usize = 64 << 20;
/// Bytes of the beat of a Raft leader, unpacked: it names all persistent data.
const MOST_BEAT_BYTES: u64 = 64 << 20;
/// Members that may be named as leaving in one call.
const MOST_LEAVING: usize = 1_024;

impl Api {
    /// Answers another server.
    pub(super) fn answer_server(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let Some(nacos) = &self.nacos else { return self.refuse_peer_protocol().map(Answer::Now) };
        let sender = sender(nacos, call)?;
        let path = call.path.strip_prefix("/v1/ns/").unwrap_or_default();
        let path = match path.strip_prefix("ops/") {
            Some(rest) => ["operator/", rest].concat(),
            None => path.to_owned(),
        };
        let reply = match (call.method.as_str(), &*path) {
            ("PUT", "distro/datum") => take_datums(nacos, sender, call)?,
            ("PUT", "distro/checksum") => return compare(nacos, sender, call),
            ("GET", "distro/datum") => self.datums_of(&parse_keys(call.body)?),
            ("GET", "distro/datums") => {
                let services = self.registry.peer_checksums(|_| true);
                let services: Vec<_> = services.into_iter().map(|(service, _)| service).collect();
                self.datums_of(&services)
            }
            ("POST", "service/status") => return compare_health(nacos, sender, call),
            ("GET", "operator/server/status") => legacy_status(nacos, call)?,
            ("GET", "operator/cluster/state" | "raft/peer") => {
                Reply::json(nacos.voter().lock().shown())
            }
            ("POST", "raft/vote") => {
                let candidate = parse_vote(&call.params.required("vote")?)?;
                check_is_member(nacos, &candidate)?;
                Reply::json(nacos.voter().lock().vote(&candidate)?)
            }
            ("POST", "raft/beat") => {
                let leader = parse_leader_beat(&unpacked(call.body)?)?;
                check_is_member(nacos, &leader)?;
                Reply::json(nacos.voter().lock().beat(&leader)?)
            }
            // It keeps nothing, and is never a leader: see the voter.
            ("POST" | "DELETE", "raft/datum/commit") => Reply::ok(),
            ("GET", "raft/datum") => Reply::json("[]"),
            ("POST" | "DELETE", "raft/datum") => return Err(keeps_nothing()),
            _ => no_such_api(call),
        };
        Ok(Answer::Now(reply))
    }

    fn datums_of(&self, services: &[ServiceKey]) -> Reply {
        let datums = services.iter().filter_map(|service| {
            let instances = self.registry.peer_list(service);
            let is_known = !instances.is_empty() || self.registry.find(service).is_some();
            is_known.then(|| PeerDatum { service: service.clone(), instances })
        });
        let datums: Vec<_> = datums.collect();
        let now_ms = i64::try_from(wall_ms()).unwrap_or(i64::MAX);
        Reply::bytes(render_datums(datums.iter(), now_ms).into())
    }

    /// Another server tells of itself.
    pub(super) fn take_report(&self, nacos: &Adapter, call: &Call<'_>) -> Result<Reply, ApiError> {
        require_json(call)?;
        let sender = sender(nacos, call)?;
        let is_member = match parse_report(call.body) {
            Ok(member) if !nacos.is_member(&member.address) => Some(false),
            Ok(member) => {
                check_may_be(nacos, sender, &member.address)?;
                Some(nacos.reported(&member))
            }
            Err(BadReport::Illegal) => None,
            Err(BadReport::Unreadable(error)) => return Err(error.into()),
        };
        Ok(Reply::json(report_answer(is_member)))
    }

    /// Members are taken out, until the list of this member changes. The others are told if whoever
    /// asks wants them to be.
    pub(super) fn take_leaving(
        &self,
        nacos: &Arc<Adapter>,
        call: &Call<'_>,
    ) -> Result<Answer, ApiError> {
        const DONE: &str = r#"{"code":200,"message":null,"data":"ok"}"#;
        sender(nacos, call)?;
        let leaving: Vec<String> = read_list(call.body, MOST_LEAVING).map_err(|error| {
            ApiError::bad_request(format!("the body must be a list of addresses; {error}"))
        })?;
        let shown = leaving.join(",");
        tracing::info!(members = cut(&shown, 1_024), "a call takes members off the list");
        nacos.remove(&leaving);
        if !call.params.flag_lenient("notifyOtherMembers", true) {
            return Ok(Reply::json(DONE).into());
        }
        let (nacos, body) = (Arc::clone(nacos), String::from_utf8_lossy(call.body).into_owned());
        Ok(Answer::Later(Box::pin(async move {
            nacos.tell_leaving(&body).await;
            Reply::json(DONE)
        })))
    }
}

/// Who sends a request.
///
/// # Errors
/// 403 for a stranger.
fn sender(nacos: &Adapter, call: &Call<'_>) -> Result<Sender, ApiError> {
    nacos.sender(call.peer.ip(), call.headers).ok_or_else(|| {
        let ip = call.peer.ip();
        ApiError::forbidden(format!("{ip} is no member of this cluster, or does not prove it"))
    })
}

fn check_may_be(nacos: &Adapter, sender: Sender, address: &str) -> Result<(), ApiError> {
    match nacos.may_be(sender, address) {
        true => Ok(()),
        false => Err(ApiError::forbidden(format!(
            "this does not come from {}; see cluster.nacos.trust_unknown_peers",
            cut(address, 64)
        ))),
    }
}

fn check_is_member(nacos: &Adapter, peer: &RaftPeer) -> Result<(), ApiError> {
    match nacos.is_member(&peer.ip) {
        true => Ok(()),
        false => Err(not_on_the_list("server", &peer.ip)),
    }
}

fn not_on_the_list(what: &str, address: &str) -> ApiError {
    ApiError::bad_request(format!("{what}: {} is not in serverlist", cut(address, 64)))
}

fn keeps_nothing() -> ApiError {
    ApiError::bad_request("this member keeps no persistent data of Nacos servers and leads nobody")
}

/// # Errors
/// 415 for anything but JSON.
fn require_json(call: &Call<'_>) -> Result<(), ApiError> {
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let media = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let text = format!("Content type '{}' not supported", cut(media, 64));
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

fn take_datums(nacos: &Adapter, sender: Sender, call: &Call<'_>) -> Result<Reply, ApiError> {
    require_json(call)?;
    nacos.take_sent(sender, &parse_datums(call.body)?);
    Ok(Reply::ok())
}

fn compare(nacos: &Arc<Adapter>, sender: Sender, call: &Call<'_>) -> Result<Answer, ApiError> {
    require_json(call)?;
    let source = call.params.required("source")?.into_owned();
    check_may_be(nacos, sender, &source)?;
    let checksums = parse_checksums(call.body)?;
    let nacos = Arc::clone(nacos);
    Ok(Answer::Later(Box::pin(async move {
        nacos.compare(&source, checksums).await;
        Reply::ok()
    })))
}

fn compare_health(
    nacos: &Arc<Adapter>,
    sender: Sender,
    call: &Call<'_>,
) -> Result<Answer, ApiError> {
    let message = parse_statuses(call.body)?;
    if !nacos.is_member(&message.source) {
        return Err(not_on_the_list("ip", &message.source));
    }
    check_may_be(nacos, sender, &message.source)?;
    let Some(statuses) = message.statuses else { return Ok(Reply::ok().into()) };
    let nacos = Arc::clone(nacos);
    Ok(Answer::Later(Box::pin(async move {
        nacos.compare_health(&message.source, &statuses).await;
        Reply::ok()
    })))
}

/// What servers told each other before there were reports. Nothing in it is of use.
fn legacy_status(nacos: &Adapter, call: &Call<'_>) -> Result<Reply, ApiError> {
    let status = call.params.required("serverStatus")?;
    let fields: Vec<&str> = status.split('#').collect();
    match (fields.get(1), fields.len()) {
        (Some(address), 4..) if !nacos.is_member(address) => {
            Err(not_on_the_list("server", address))
        }
        _ => Ok(Reply::ok()),
    }
}

/// A body that may be compressed.
///
/// # Errors
/// 400 for what cannot be unpacked, 413 for what is too large.
fn unpacked(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body.to_vec());
    }
    let mut unpacked = Vec::new();
    let mut decoder = GzDecoder::new(body).take(MOST_BEAT_BYTES + 1);
    decoder
        .read_to_end(&mut unpacked)
        .map_err(|error| ApiError::bad_request(format!("the body cannot be unpacked: {error}")))?;
    match unpacked.len() as u64 > MOST_BEAT_BYTES {
        true => Err(ApiError::too_large(format!("more than {MOST_BEAT_BYTES} bytes unpacked"))),
        false => Ok(unpacked),
    }
}
