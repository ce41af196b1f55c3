//! The filter before client writes of instances: what a Java server owns is passed on to it.
//!
//! Among servers of our make a write goes its own way (`registry/routed.rs`). To a Java server it
//! goes as the request that it is, all parameters in the query. When the owner has carried it out
//! it is made here, too, so that its client finds it; when the owner cannot or does not want to, it
//! is made here and told to the owner later.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use naming_model::{CODE_UNKNOWN_INSTANCE, DEFAULT_CLUSTER, InstanceKey, RecordKey, ServiceKey};
use serde::Deserialize;

use super::Api;
use super::beat::parse_beat;
use super::route::{Route, Servers};
use crate::http::{Agent, Answer, ApiError, Call, Params, Reply};
use crate::nacos::{Adapter, CallError, Owner, Redirect, RetainedWrite};
use crate::naming::Clearance;

/// What the owner says if it does not take itself for it.
const NOT_RESPONSIBLE: &str = "invalid redirect request";

impl Api {
    /// The answer to a write that is not for this server; `None` for whatever is answered here.
    pub(super) fn redirect(&self, route: Route, call: &Call<'_>) -> Option<Answer> {
        let nacos = self.nacos.as_ref().filter(|_| route.spec().servers == Servers::Pass)?;
        // What is wrong with it is said by its handler.
        let service = match route {
            Route::LegacyBeat => self.legacy_service(call).ok()?,
            _ => call.service().ok()?,
        };
        let from_server = call.agent.text.contains("Nacos-Server");
        if self.is_about_persistent(route, call, &service) {
            let text = "this member keeps no persistent instances for servers of Nacos: register \
                        them with it";
            return from_server.then(|| ApiError::bad_request(text).into());
        }
        let Owner::Foreign(owner) = nacos.owner(&service) else { return None };
        let write = written_instance(call).map(|id| RetainedWrite { service: service.clone(), id });
        if from_server {
            // Whoever passed it on has another view. Nothing is passed on twice: it is kept, and
            // told to the owner when all agree.
            if !is_beat(route) {
                write.into_iter().for_each(|write| nacos.retain(write));
            }
            return None;
        }
        let told = self.naming.told(call.clearance);
        let redirected = Redirected {
            api: self.me.upgrade()?,
            nacos: Arc::clone(nacos),
            route,
            service,
            write,
            call: OwnedCall::of(call, told),
        };
        // A beat counts at once; what is wrong with it shows, too.
        match is_beat(route).then(|| self.handle_here(route, &Call { clearance: told, ..*call })) {
            Some(Ok(Answer::Now(here))) if here.status == StatusCode::OK => {
                Some(Answer::Later(Box::pin(redirected.beat(owner, here))))
            }
            Some(Ok(answer)) => Some(answer),
            Some(Err(error)) => Some(error.into()),
            None => Some(Answer::Later(Box::pin(redirected.write(owner)))),
        }
    }

    /// Persistent instances are kept by members of our make alone.
    fn is_about_persistent(&self, route: Route, call: &Call<'_>, service: &ServiceKey) -> bool {
        let params = call.params;
        match route {
            Route::InstanceRegister | Route::InstanceUpdate => !self.is_ephemeral(params),
            Route::InstanceDeregister => {
                let Some(id) = written_instance(call) else { return false };
                RecordKey::parse(&id).is_some_and(|key| {
                    self.removed_instance(params, service, &key.instance).is_persistent
                })
            }
            Route::MetadataBatchUpdate | Route::MetadataBatchDelete => {
                params.or("consistencyType", "") == "persist"
            }
            Route::InstanceBeat | Route::LegacyBeat => {
                let text = params.optional("beat");
                let form = text.as_deref().and_then(|text| parse_beat(text).ok());
                form.is_some_and(|form| !form.ephemeral)
            }
            _ => {
                let given = params.optional("ephemeral");
                let given = given.map(|_| params.flag_numeric("ephemeral", true));
                let Some(id) = written_instance(call) else { return false };
                RecordKey::parse(&id).is_some_and(|key| {
                    self.registry.choose_kind(service, &key.instance, given).is_persistent
                })
            }
        }
    }
}

pub(super) fn is_beat(route: Route) -> bool {
    matches!(route, Route::InstanceBeat | Route::LegacyBeat)
}

/// The key of the one instance that a request is about, if it is about one.
pub(super) fn written_instance(call: &Call<'_>) -> Option<String> {
    let params = call.params;
    let text = params.optional("beat");
    let form = text.as_deref().and_then(|text| parse_beat(text).ok());
    let (ip, port, cluster) = match &form {
        Some(form) => (form.ip.clone()?, form.port, form.cluster().map(str::to_owned)),
        None => {
            let cluster = params.optional("clusterName").or_else(|| params.optional("cluster"));
            let ip = params.optional("ip")?;
            (ip, params.int("port", 0).ok()?, cluster.map(std::borrow::Cow::into_owned))
        }
    };
    let cluster = cluster.unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
    let port = u16::try_from(port).ok()?;
    let text = RecordKey::ephemeral(InstanceKey { ip: &ip, port, cluster: &cluster }).text();
    RecordKey::parse(&text).is_some().then_some(text)
}

/// A request that outlives its connection.
pub(super) struct OwnedCall {
    method: Method,
    path: String,
    under_context: bool,
    uri: String,
    query: String,
    headers: HeaderMap,
    peer: SocketAddr,
    user: Option<String>,
    clearance: Clearance,
}

impl OwnedCall {
    pub(super) fn of(call: &Call<'_>, clearance: Clearance) -> Self {
        Self {
            method: call.method.clone(),
            path: call.path.to_owned(),
            under_context: call.under_context,
            uri: call.uri.to_owned(),
            query: call.params.to_query(),
            headers: call.headers.clone(),
            peer: call.peer,
            user: call.user.map(str::to_owned),
            clearance,
        }
    }

    pub(super) fn with<R>(&self, run: impl FnOnce(&Call<'_>) -> R) -> R {
        run(&Call {
            method: &self.method,
            path: &self.path,
            under_context: self.under_context,
            uri: &self.uri,
            query: Some(&self.query),
            params: &Params::parse(Some(&self.query), None),
            agent: Agent::from_headers(&self.headers),
            headers: &self.headers,
            peer: self.peer,
            body: &Bytes::new(),
            user: self.user.as_deref(),
            clearance: self.clearance,
        })
    }

    pub(super) fn redirect(&self) -> Redirect {
        Redirect {
            method: self.method.clone(),
            uri: self.uri.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            is_vouched_for: self.user.is_some(),
        }
    }
}

/// A write on its way to a Java server.
struct Redirected {
    api: Arc<Api>,
    nacos: Arc<Adapter>,
    route: Route,
    service: ServiceKey,
    write: Option<RetainedWrite>,
    call: OwnedCall,
}

/// What became of it.
enum Sent {
    /// The owner has carried it out.
    Done(Bytes),
    /// It says what is wrong with the request.
    Wrong(StatusCode, Bytes),
    /// Nobody wants it who can be asked.
    Nowhere,
}

impl Redirected {
    async fn write(self, owner: Arc<str>) -> Reply {
        match self.send(owner).await {
            Sent::Done(body) => {
                // What the handler says is of no account: the owner has said yes.
                self.make_here().await;
                Reply::json(body)
            }
            Sent::Wrong(status, body) => Reply::json(body).with_status(status),
            Sent::Nowhere => {
                let here = self.make_here().await;
                if here.status == StatusCode::OK {
                    self.write.into_iter().for_each(|write| self.nacos.retain(write));
                }
                here
            }
        }
    }

    /// `here` is the answer that this server would give.
    async fn beat(self, owner: Arc<str>, here: Reply) -> Reply {
        match self.send(Arc::clone(&owner)).await {
            Sent::Done(body) if is_unknown(&body) && !is_unknown(&here.body) => {
                // It is held here: the owner has lost it, and its client need not know.
                if let Some(RetainedWrite { id, .. }) = &self.write {
                    self.nacos.register_held(&owner, &self.service, id).await;
                }
                here
            }
            Sent::Done(body) => Reply::json(body),
            Sent::Wrong(..) | Sent::Nowhere => here,
        }
    }

    /// Sends it to the owner, and if that is gone to the next one.
    async fn send(&self, mut owner: Arc<str>) -> Sent {
        let redirect = self.call.redirect();
        for _ in 0..2 {
            match self.nacos.caller().redirect(&owner, &redirect).await {
                Ok((StatusCode::OK, body)) => return Sent::Done(body),
                Ok((status, body)) if is_about_request(status, &body) => {
                    return Sent::Wrong(status, body);
                }
                Ok((status, _)) => {
                    tracing::debug!(%owner, %status, "a Java owner took no write");
                }
                Err(error) => {
                    tracing::debug!(%owner, %error, "a Java owner did not answer");
                    if error == CallError::Refused {
                        self.nacos.is_gone(&owner);
                    }
                }
            }
            match self.nacos.owner(&self.service) {
                Owner::Foreign(next) if next != owner => owner = next,
                _ => return Sent::Nowhere,
            }
        }
        Sent::Nowhere
    }

    /// Has it carried out here, or by another member of our make if that owns the service now.
    async fn make_here(&self) -> Reply {
        let answer = self.call.with(|call| self.api.handle_here(self.route, call));
        match Answer::from(answer) {
            Answer::Now(reply) => reply,
            Answer::Later(later) => later.await,
            Answer::Again(_) => ApiError::internal("internal error").into(),
        }
    }
}

/// Whether an answer says what is wrong with the request, so that others would say the same. Java
/// says so with 500 and `caused:`.
pub(super) fn is_about_request(status: StatusCode, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    match status.as_u16() {
        408 | 429 => false,
        400..=499 => !text.contains(NOT_RESPONSIBLE),
        500 => text.starts_with("caused:"),
        _ => false,
    }
}

fn is_unknown(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Beat {
        code: i64,
    }
    let code = serde_json::from_slice(body).map(|Beat { code }| code);
    code.is_ok_and(|code| code == i64::from(CODE_UNKNOWN_INSTANCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_request_are_told_from_those_of_the_owner() {
        let status = |number| StatusCode::from_u16(number).unwrap();
        assert!(is_about_request(status(500), b"caused: weight is bad;"));
        assert!(is_about_request(status(400), b"caused: Param 'ip' is required.;"));
        assert!(is_about_request(status(403), b""));
        let views = br#"{"status":400,"message":"receive invalid redirect request from peer 1"}"#;
        assert!(!is_about_request(status(400), views));
        assert!(!is_about_request(status(500), b"java.net.ConnectException"));
        assert!(!is_about_request(status(503), b"server is DOWNnow"));
    }

    #[test]
    fn unknown_instances_are_read_from_answers_to_beats() {
        assert!(is_unknown(br#"{"clientBeatInterval":5000,"code":20404}"#));
        assert!(!is_unknown(
            br#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#
        ));
        assert!(!is_unknown(b"ok"));
    }
}
