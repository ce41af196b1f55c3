//! One request and its answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_TYPE, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::body::BodyBudget;
use super::reply::ReplyBody;
use super::socket::Progress;
use super::{Agent, Answer, ApiError, Call, Handler, HttpSettings, Later, Params, Reply};

/// How often a request is handled at most because it was not known who asks.
const MOST_AGAIN: usize = 3;

/// What all connections share.
pub(super) struct Exchange<H> {
    handler: Arc<H>,
    settings: HttpSettings,
    bodies: BodyBudget,
}

impl<H: Handler> Exchange<H> {
    pub(super) fn new(handler: Arc<H>, settings: HttpSettings) -> Self {
        Self { handler, settings, bodies: BodyBudget::default() }
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Whether it is worth looking if clients have hung up.
    pub(super) fn may_be_late(&self) -> bool {
        self.handler.may_be_late()
    }

    /// Reads what is left of a request, has it answered and adds what every answer gets. Requests
    /// without a body, nearly all, are answered at once unless they wait for another member.
    pub(super) fn respond<'a>(
        &'a self,
        peer: SocketAddr,
        progress: &'a Progress,
        request: Request<Incoming>,
    ) -> Answering<impl Future<Output = Response<ReplyBody>> + 'a> {
        progress.begin_request();
        let (parts, body) = request.into_parts();
        let rest = if body.is_end_stream() {
            match self.answer_if_awaited(&parts, &Bytes::new(), peer, progress) {
                Answered::Now(response) => {
                    progress.end_request();
                    return Answering::Done(Some(response));
                }
                later => Rest::Answer(later),
            }
        } else {
            Rest::Body(body)
        };
        Answering::Waiting(Box::pin(async move {
            let (body, answered) = match rest {
                Rest::Answer(answered) => (Bytes::new(), answered),
                Rest::Body(body) => self.receive(&parts, body, peer, progress).await,
            };
            let response = self.settle(&parts, &body, peer, answered).await;
            progress.end_request();
            response
        }))
    }

    async fn receive(
        &self,
        parts: &Parts,
        body: Incoming,
        peer: SocketAddr,
        progress: &Progress,
    ) -> (Bytes, Answered) {
        let limit = self.handler.most_body_bytes(parts.uri.path());
        let limit = limit.unwrap_or(self.settings.max_body_bytes);
        match self.bodies.read(body, limit, &self.settings).await {
            Ok(body) => {
                let answered = self.answer_if_awaited(parts, &body, peer, progress);
                (body, answered)
            }
            Err(error) => {
                progress.refuse();
                if error.status == StatusCode::PAYLOAD_TOO_LARGE {
                    self.handler.note_too_large(parts.uri.path());
                }
                let close = HeaderValue::from_static("close");
                let reply = Reply::from(error).with_header(CONNECTION, close);
                (Bytes::new(), Answered::Now(reply.into_response()))
            }
        }
    }

    /// Waits for what an answer waits for.
    async fn settle(
        &self,
        parts: &Parts,
        body: &Bytes,
        peer: SocketAddr,
        mut answered: Answered,
    ) -> Response<ReplyBody> {
        for _ in 0..MOST_AGAIN {
            let Answered::Again(check) = answered else { return answered.finish().await };
            answered = match check.await {
                Some(reply) => Answered::Now(dressed(reply, parts.headers.get(ORIGIN))),
                None => self.answer(parts, body, peer),
            };
        }
        answered.finish().await
    }

    /// A write that nobody waits for any more is not begun: its client has turned to another
    /// member while this process was stopped.
    fn answer_if_awaited(
        &self,
        parts: &Parts,
        body: &Bytes,
        peer: SocketAddr,
        progress: &Progress,
    ) -> Answered {
        if progress.has_hung_up() && !parts.method.is_safe() {
            let error = ApiError::unavailable("the server was stopped, and you have hung up");
            return Answered::Now(dressed(error.into(), parts.headers.get(ORIGIN)));
        }
        self.answer(parts, body, peer)
    }

    fn answer(&self, parts: &Parts, body: &Bytes, peer: SocketAddr) -> Answered {
        let headers = &parts.headers;
        let (path, under_context) = locate(&self.settings.context_path, parts.uri.path());
        let origin = headers.get(ORIGIN);
        if let Some(origin) = origin
            && parts.method == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            let is_naming = under_context && is_naming_path(path);
            return Answered::Now(preflight(origin, headers, is_naming));
        }

        let form = is_form(parts).then_some(&**body);
        let answer = if form.is_some_and(|form| form.starts_with(GZIP_MAGIC)) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            ApiError::new(status, "compressed request bodies are not supported").into()
        } else {
            self.call(&Call {
                method: &parts.method,
                path,
                under_context,
                uri: parts.uri.path(),
                query: parts.uri.query(),
                params: &Params::parse(parts.uri.query(), form),
                agent: Agent::from_headers(headers),
                headers,
                peer,
                body,
                user: None,
            })
        };

        match answer {
            Answer::Now(reply) => Answered::Now(dressed(reply, origin)),
            Answer::Later(later) => Answered::Later(later, origin.cloned()),
            Answer::Again(check) => Answered::Again(check),
        }
    }

    fn call(&self, call: &Call<'_>) -> Answer {
        catch_unwind(AssertUnwindSafe(|| self.handler.handle(call))).unwrap_or_else(|_| {
            tracing::error!(method = %call.method, path = call.uri, "a request handler panicked");
            ApiError::internal("internal error").into()
        })
    }
}

/// What is missing of a response.
enum Rest {
    Body(Incoming),
    Answer(Answered),
}

/// A response, or what will become one with the origin that asked for it.
enum Answered {
    Now(Response<ReplyBody>),
    Later(Later<Reply>, Option<HeaderValue>),
    Again(Later<Option<Reply>>),
}

impl Answered {
    async fn finish(self) -> Response<ReplyBody> {
        match self {
            Self::Now(response) => response,
            // A task of its own: it goes on when the client goes away and this future is dropped.
            Self::Later(later, origin) => {
                let reply = tokio::spawn(later).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a write has failed");
                    ApiError::internal("internal error").into()
                });
                dressed(reply, origin.as_ref())
            }
            // The users change faster than they can be verified.
            Self::Again(_) => {
                Reply::from(ApiError::unavailable("please try again later")).into_response()
            }
        }
    }
}

fn dressed(reply: Reply, origin: Option<&HeaderValue>) -> Response<ReplyBody> {
    let mut response = reply.into_response();
    if let Some(origin) = origin {
        allow_origin(&mut response, origin);
    }
    response
}

/// An answer that is there or will be.
pub(super) enum Answering<F> {
    Done(Option<Response<ReplyBody>>),
    Waiting(Pin<Box<F>>),
}

impl<F: Future<Output = Response<ReplyBody>>> Future for Answering<F> {
    type Output = Result<Response<ReplyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Done(response) => {
                Poll::Ready(Ok(response.take().expect("nobody polls a future that is done")))
            }
            Self::Waiting(waiting) => waiting.as_mut().poll(context).map(Ok),
        }
    }
}

/// Two bytes no form begins with. Some clients announce `Content-Encoding: gzip` on plain bodies,
/// so the announcement is worth nothing.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// The path relative to the context path, and whether it was below it at all.
fn locate<'a>(context_path: &str, path: &'a str) -> (&'a str, bool) {
    let path = path.trim_end_matches('/');
    let or_root = |path: &'a str| if path.is_empty() { "/" } else { path };
    match path.strip_prefix(context_path) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (or_root(rest), true),
        _ => (or_root(path), false),
    }
}

fn is_naming_path(path: &str) -> bool {
    path.strip_prefix("/v1/ns").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the body holds parameters: a write that says so. A body without a content type is not
/// guessed at, no client sends one.
fn is_form(parts: &Parts) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    matches!(parts.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
        && parts.headers.get(CONTENT_TYPE).is_some_and(|value| {
            let media = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            media.trim_ascii().eq_ignore_ascii_case(FORM)
        })
}

/// Browsers ask before they send a write to another origin. Like Nacos: yes to everything, except
/// for the naming API.
fn preflight(origin: &HeaderValue, asked: &HeaderMap, naming_api: bool) -> Response<ReplyBody> {
    if naming_api {
        return Reply::text("Invalid CORS request")
            .with_status(StatusCode::FORBIDDEN)
            .into_response();
    }
    let mut response = Reply::text("").into_response();
    allow_origin(&mut response, origin);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("18000"));
    let echoes = [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ];
    for (request, allow) in echoes {
        if let Some(value) = asked.get(request) {
            headers.insert(allow, value.clone());
        }
    }
    response
}

fn allow_origin(response: &mut Response<ReplyBody>, origin: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_relative_to_the_context_path() {
        assert_eq!(locate("/nacos", "/nacos/v1/ns/instance//"), ("/v1/ns/instance", true));
        assert_eq!(locate("/nacos", "/nacos"), ("/", true));
        assert_eq!(locate("/nacos", "/nacos/"), ("/", true));
        assert_eq!(locate("/nacos", "/nacosx/v1"), ("/nacosx/v1", false));
        assert_eq!(locate("/nacos", "/metrics"), ("/metrics", false));
        assert_eq!(locate("/nacos", "/"), ("/", false));
        assert_eq!(locate("/nacos", "*"), ("*", false));
        assert_eq!(locate("", "/v1/ns"), ("/v1/ns", true));
        assert_eq!(locate("", "/"), ("/", true));
    }

    #[test]
    fn forms_are_told_by_method_and_content_type() {
        let form = |method: Method, content_type: Option<&str>| {
            let mut request = Request::builder().method(method);
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            is_form(&request.body(()).unwrap().into_parts().0)
        };
        assert!(form(Method::POST, Some("application/x-www-form-urlencoded")));
        assert!(form(Method::PUT, Some("Application/X-WWW-Form-Urlencoded ; charset=GBK")));
        assert!(!form(Method::GET, Some("application/x-www-form-urlencoded")));
        assert!(!form(Method::POST, Some("application/x-www-form-urlencoded-not")));
        assert!(!form(Method::POST, Some("application/json")));
        assert!(!form(Method::POST, None));
    }
}
