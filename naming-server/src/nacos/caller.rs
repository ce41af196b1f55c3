//! Calls to servers of Nacos, with the headers that those of Java send each other.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_CHARSET, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use naming_http::{Form, HttpClient};
use naming_model::ServiceKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::member::{PeerMember, parse_report};
use super::wire::{CallError, connections, lost, ok};
use super::{
    BadMessage, InstanceStatus, PeerDatum, PeerIdentity, parse_datums, parse_instance_statuses,
    parse_json, render_keys,
};

/// Within which a report must be answered.
const REPORT_DEADLINE: Duration = Duration::from_millis(2_500);
/// Within which lists and checksums must be answered. Java waits for ever for lists.
const LIST_DEADLINE: Duration = Duration::from_secs(15);
/// Within which everything that a member holds must have been read.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Within which a redirected write must be answered.
const REDIRECT_DEADLINE: Duration = Duration::from_secs(2);
/// Redirected writes under way at a time; further ones wait for their turn, within their deadline.
/// A Java server works on two hundred requests at a time.
const MOST_REDIRECTS: usize = 512;
/// Bytes of the lists in one answer. Java sends any number; 256 MiB are half a million instances.
/// They are read as they come and given up at this ceiling.
pub(crate) const MOST_LIST_BYTES: usize = 256 << 20;
/// Bytes of any other answer.
const MOST_ANSWER_BYTES: usize = 8 << 20;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
const FORM: HeaderValue =
    HeaderValue::from_static("application/x-www-form-urlencoded;charset=UTF-8");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("client-version");
const REQUEST_SOURCE: HeaderName = HeaderName::from_static("request-source");
const NACOS_SERVER: HeaderName = HeaderName::from_static("nacos-server");

/// What a report was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    /// The member is up.
    Up,
    /// It knows no reports (404, 501): its state stays as it was.
    Unknown,
    /// It fails.
    Failed {
        /// Nobody listens there.
        refused: bool,
        /// What happened.
        reason: String,
    },
}

/// A write to be carried out by the owner of its service.
#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    /// Its method.
    pub(crate) method: Method,
    /// Its path as sent, with the context path.
    pub(crate) uri: String,
    /// All its parameters, encoded.
    pub(crate) query: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Whether this member vouches for it: its sender has proved the right to it, or this member
    /// itself makes it. A server of Nacos asks nothing more of a request with the identity.
    pub(crate) is_vouched_for: bool,
}

/// Makes the calls. Cheap to share.
#[derive(Debug)]
pub(crate) struct Caller {
    calls: HttpClient,
    own: HeaderValue,
    agent: HeaderValue,
    version: HeaderValue,
    identity: Option<PeerIdentity>,
    context_path: String,
    redirects: Semaphore,
}

impl Caller {
    /// Calls as the member with this address, which pretends to be of this version.
    ///
    /// # Errors
    /// What cannot stand in a header.
    pub(crate) fn new(
        own: &str,
        version: &str,
        context_path: &str,
        identity: Option<PeerIdentity>,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        Ok(Self {
            calls: connections(),
            own: HeaderValue::from_str(own)?,
            agent: HeaderValue::from_str(&format!("Nacos-Server:{version}"))?,
            version: HeaderValue::from_str(version)?,
            identity,
            context_path: context_path.to_owned(),
            redirects: Semaphore::new(MOST_REDIRECTS),
        })
    }

    /// The header by which members know each other, if they use one.
    pub(crate) fn identity(&self) -> Option<&PeerIdentity> {
        self.identity.as_ref()
    }

    /// A path of the API as it is sent.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.context_path)
    }

    /// Tells a member of this one.
    pub(crate) async fn report(&self, to: &str, body: String) -> Reported {
        #[derive(Deserialize)]
        struct Answer {
            code: i64,
        }
        let headers = [(CONTENT_TYPE, JSON), (NACOS_SERVER, self.version.clone())];
        let path = "/v1/core/cluster/report";
        let call = self.call(to, Method::POST, path, headers, body, REPORT_DEADLINE);
        let failed = |refused, reason| Reported::Failed { refused, reason };
        match call.await {
            Ok(body) => match serde_json::from_slice(&body) {
                Ok(Answer { code: 0 | 200 }) => Reported::Up,
                Ok(Answer { code }) => failed(false, format!("it answered with code {code}")),
                Err(error) => failed(false, error.to_string()),
            },
            Err(CallError::Status { status, .. }) if matches!(status.as_u16(), 404 | 501) => {
                Reported::Unknown
            }
            Err(CallError::Refused) => failed(true, CallError::Refused.to_string()),
            Err(error) => failed(false, error.to_string()),
        }
    }

    /// Asks a member what it is. Says nothing of this one, so it may be asked before this one is
    /// ready.
    pub(crate) async fn describe(&self, member: &str) -> Result<PeerMember, CallError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let headers = [(USER_AGENT, self.agent.clone()), (CONTENT_TYPE, JSON)];
        let path = "/v1/core/cluster/self";
        let body = self.call(member, Method::GET, path, headers, "", REPORT_DEADLINE).await?;
        let answer: Answer<'_> = parse_json("a member", &body)?;
        parse_report(answer.data.get().as_bytes())
            .map_err(|error| BadMessage::new(error.to_string()).into())
    }

    /// Sends lists of services.
    pub(crate) async fn put_datums(&self, to: &str, body: String) -> Result<(), CallError> {
        let headers = [
            (USER_AGENT, self.agent.clone()),
            (CLIENT_VERSION, self.version.clone()),
            // It is not compressed. Java says so all the same.
            (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            (CONTENT_TYPE, JSON),
        ];
        let path = "/v1/ns/distro/datum";
        self.call(to, Method::PUT, path, headers, body, LIST_DEADLINE).await.map(drop)
    }

    /// Sends the checksums of everything that this member owns.
    pub(crate) async fn put_checksums(&self, to: &str, body: String) -> Result<(), CallError> {
        let headers = [
            (USER_AGENT, self.agent.clone()),
            (CLIENT_VERSION, self.version.clone()),
            (CONTENT_TYPE, JSON),
        ];
        let own = self.own.to_str().unwrap_or_default();
        let path = format!("/v1/ns/distro/checksum?source={own}");
        self.call(to, Method::PUT, &path, headers, body, LIST_DEADLINE).await.map(drop)
    }

    /// Asks for the lists of these services, as a server: one that is not up yet would refuse
    /// everybody else.
    pub(crate) async fn datums_of(
        &self,
        member: &str,
        services: &[ServiceKey],
    ) -> Result<Vec<PeerDatum>, CallError> {
        let headers = [
            (USER_AGENT, self.agent.clone()),
            (CLIENT_VERSION, self.version.clone()),
            (CONTENT_TYPE, JSON),
        ];
        let body = render_keys(services.iter());
        let (path, deadline) = ("/v1/ns/distro/datum", LIST_DEADLINE);
        let call = self.request(member, Method::GET, path, headers, body)?;
        let body = ok(self.calls.exchange(call, MOST_LIST_BYTES, deadline).await?)?;
        Ok(parse_datums(&body)?)
    }

    /// Asks for all lists.
    pub(crate) async fn all_datums(&self, member: &str) -> Result<Vec<PeerDatum>, CallError> {
        let path = "/v1/ns/distro/datums?encoding=UTF-8&nofix=1";
        let call = self.request(member, Method::GET, path, self.asking(), "")?;
        let body = ok(self.calls.exchange(call, MOST_LIST_BYTES, LOAD_DEADLINE).await?)?;
        Ok(parse_datums(&body)?)
    }

    /// Sends the checksums of services, health included.
    pub(crate) async fn post_statuses(&self, to: &str, body: String) -> Result<(), CallError> {
        let headers = [(USER_AGENT, self.agent.clone()), (CONTENT_TYPE, JSON)];
        let path = "/v1/ns/service/status";
        self.call(to, Method::POST, path, headers, body, LIST_DEADLINE).await.map(drop)
    }

    /// Asks for the health of the instances of a service.
    pub(crate) async fn statuses_of(
        &self,
        member: &str,
        service: &ServiceKey,
    ) -> Result<Vec<InstanceStatus>, CallError> {
        let query = Form::of(&[("key", service.as_str()), ("encoding", "UTF-8"), ("nofix", "1")]);
        let path = format!("/v1/ns/instance/statuses?{}", query.as_str());
        let body = self.call(member, Method::GET, &path, self.asking(), "", LIST_DEADLINE).await?;
        Ok(parse_instance_statuses(&body)?)
    }

    /// Tells a member that others are none any more.
    pub(crate) async fn tell_leaving(&self, to: &str, body: String) -> Result<(), CallError> {
        let path = "/v1/core/cluster/server/leave?notifyOtherMembers=false";
        let headers = [(CONTENT_TYPE, JSON)];
        self.call(to, Method::POST, path, headers, body, REPORT_DEADLINE).await.map(drop)
    }

    /// Has a write carried out. Returns whatever the member says.
    pub(crate) async fn redirect(
        &self,
        to: &str,
        redirect: &Redirect,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let Redirect { method, uri, query, headers, is_vouched_for } = redirect;
        let separator = if query.is_empty() { "" } else { "&" };
        let target = format!("http://{to}{uri}?{query}{separator}encoding=UTF-8&nofix=1");
        let request = Request::builder().method(method).uri(target);
        let mut request = request.body(Full::default()).map_err(lost)?;
        let sent = request.headers_mut();
        sent.extend(headers.clone());
        HOP_BY_HOP.iter().for_each(|name| drop(sent.remove(*name)));
        for (name, value) in self.asking() {
            sent.insert(name, value);
        }
        dress(sent, self.identity.as_ref().filter(|_| *is_vouched_for));
        let late = |_| CallError::Lost(format!("no turn within {REDIRECT_DEADLINE:?}"));
        let turn = tokio::time::timeout(REDIRECT_DEADLINE, self.redirects.acquire());
        let _turn = turn.await.map_err(late)?;
        Ok(self.calls.exchange(request, MOST_ANSWER_BYTES, REDIRECT_DEADLINE).await?)
    }

    fn asking(&self) -> [(HeaderName, HeaderValue); 4] {
        [
            (USER_AGENT, self.agent.clone()),
            (CLIENT_VERSION, self.version.clone()),
            (REQUEST_SOURCE, self.own.clone()),
            (CONTENT_TYPE, FORM),
        ]
    }

    async fn call(
        &self,
        member: &str,
        method: Method,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let request = self.request(member, method, path, headers, body)?;
        ok(self.calls.exchange(request, MOST_ANSWER_BYTES, deadline).await?)
    }

    fn request(
        &self,
        member: &str,
        method: Method,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: impl Into<Bytes>,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let uri = format!("http://{member}{}{path}", self.context_path);
        let request = Request::builder().method(method).uri(uri);
        let mut request = request.body(Full::new(body.into())).map_err(lost)?;
        request.headers_mut().extend(headers);
        dress(request.headers_mut(), self.identity.as_ref());
        Ok(request)
    }
}

/// Adds what goes with all calls, and the identity that proves that they are a member's. Answers
/// come as they are: Java compresses none unless asked.
fn dress(headers: &mut HeaderMap, identity: Option<&PeerIdentity>) {
    headers.insert(ACCEPT_CHARSET, HeaderValue::from_static("UTF-8"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(identity) = identity {
        identity.insert(headers);
    }
}

/// Headers that are about one connection only, or about a body that is not passed on.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "content-length",
    "content-encoding",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_listens_to_is_told_apart() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let caller = Caller::new("127.0.0.1:1", "1.3.2", "/nacos", None).unwrap();
            let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = free.local_addr().unwrap().to_string();
            drop(free);
            assert_eq!(caller.describe(&address).await, Err(CallError::Refused));
            let reported = caller.report(&address, String::new()).await;
            assert!(matches!(reported, Reported::Failed { refused: true, .. }), "{reported:?}");
        });
    }
}
