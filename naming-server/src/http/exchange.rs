//! One request and its answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};

use super::body::{BodySettings, Budgets};
use super::cors::{self, Cors};
use super::form::Body;
use super::reply::ReplyBody;
use super::socket::{Progress, Standing};
use super::{Agent, Answer, ApiError, Call, Door, Handler, HttpSettings, Params, Reply};
use crate::naming::Clearance;
use crate::registry::Later;

/// How often a request is handled at most because it was not known who asks.
const MOST_AGAIN: usize = 3;

/// What all connections share.
pub(super) struct Exchange<H> {
    handler: Arc<H>,
    settings: HttpSettings,
    bodies: Budgets,
}

impl<H: Handler> Exchange<H> {
    pub(super) fn new(handler: Arc<H>, settings: HttpSettings) -> Self {
        let bodies = Budgets::new(BodySettings {
            timeout: settings.body_timeout,
            most_bytes: settings.max_body_bytes,
            most_bytes_of_all: settings.max_buffered_body_bytes,
            most_bytes_of_source: settings.max_buffered_body_bytes_per_source,
        });
        Self { handler, settings, bodies }
    }

    /// Whether connections are kept free for members.
    pub(super) fn has_members(&self) -> bool {
        self.handler.has_members()
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
        if progress.is_reserved() && self.handler.door(&parts, peer) == Door::Public {
            // One of those that are kept free for members.
            progress.refuse();
            progress.end_request();
            let error = ApiError::unavailable("too many connections");
            let close = HeaderValue::from_static("close");
            let reply = Reply::from(error).with_header(CONNECTION, close);
            return Answering::Done(Some(reply.into_response()));
        }
        let rest = if body.is_end_stream() {
            match self.answer_if_awaited(&parts, &Body::default(), peer, progress) {
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
                Rest::Answer(answered) => (Body::default(), answered),
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
    ) -> (Body, Answered) {
        let door = self.handler.door(parts, peer);
        let read = match self.bodies.read(body, door, progress).await {
            Ok(bytes) => Body::of(parts, bytes, self.settings.max_body_bytes).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(body) => {
                let answered = self.answer_if_awaited(parts, &body, peer, progress);
                if let Answered::Now(response) = &answered
                    && response.status() == StatusCode::OK
                {
                    match door {
                        Door::Greeting => progress.rise(Standing::Greeted),
                        Door::Calls(_) => progress.rise(Standing::Member),
                        Door::Public | Door::Believed(_) => {}
                    }
                }
                (body, answered)
            }
            Err(error) => {
                progress.refuse();
                if error.status == StatusCode::PAYLOAD_TOO_LARGE {
                    self.handler.note_too_large(&single_slashes(parts.uri.path()));
                }
                let close = HeaderValue::from_static("close");
                let reply = Reply::from(error).with_header(CONNECTION, close);
                (Body::default(), Answered::Now(reply.into_response()))
            }
        }
    }

    /// Waits for what an answer waits for.
    async fn settle(
        &self,
        parts: &Parts,
        body: &Body,
        peer: SocketAddr,
        mut answered: Answered,
    ) -> Response<ReplyBody> {
        for _ in 0..MOST_AGAIN {
            let Answered::Again(check) = answered else { return answered.finish().await };
            answered = match check.await {
                Some(reply) => Answered::Now(self.cors(&parts.headers).dress(reply)),
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
        body: &Body,
        peer: SocketAddr,
        progress: &Progress,
    ) -> Answered {
        if progress.has_hung_up() && !parts.method.is_safe() {
            let error = ApiError::unavailable("the server was stopped, and you have hung up");
            return Answered::Now(self.cors(&parts.headers).dress(error.into()));
        }
        self.answer(parts, body, peer)
    }

    fn answer(&self, parts: &Parts, body: &Body, peer: SocketAddr) -> Answered {
        let headers = &parts.headers;
        if let Some(response) = cors::answer(parts, &self.settings.allowed_origins) {
            return Answered::Now(response);
        }
        let uri = single_slashes(parts.uri.path());
        let (path, under_context) = locate(&self.settings.context_path, &uri);
        let form = body.is_form.then_some(&*body.bytes);
        let answer = if form.is_some_and(|form| form.starts_with(GZIP_MAGIC)) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            ApiError::new(status, "compressed request bodies are not supported").into()
        } else {
            self.call(&Call {
                method: &parts.method,
                path,
                under_context,
                uri: &uri,
                query: parts.uri.query(),
                params: &Params::parse(parts.uri.query(), form),
                agent: Agent::from_headers(headers),
                headers,
                peer,
                body: &body.bytes,
                user: None,
                clearance: Clearance::default(),
            })
        };

        match answer {
            Answer::Now(reply) => Answered::Now(self.cors(headers).dress(reply)),
            Answer::Later(later) => Answered::Later(later, self.cors(headers)),
            Answer::Again(check) => Answered::Again(check),
        }
    }

    fn cors(&self, headers: &HeaderMap) -> Cors {
        Cors::of(headers, &self.settings.allowed_origins)
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

/// A response, or what will become one for the page that asked for it.
enum Answered {
    Now(Response<ReplyBody>),
    Later(Later<Reply>, Cors),
    Again(Later<Option<Reply>>),
}

impl Answered {
    async fn finish(self) -> Response<ReplyBody> {
        match self {
            Self::Now(response) => response,
            // A task of its own: it goes on when the client goes away and this future is dropped.
            Self::Later(later, cors) => {
                let reply = tokio::spawn(later).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a write has failed");
                    ApiError::internal("internal error").into()
                });
                cors.dress(reply)
            }
            // The users change faster than they can be verified.
            Self::Again(_) => {
                Reply::from(ApiError::unavailable("please try again later")).into_response()
            }
        }
    }
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

/// The path with one slash wherever there are several: clients whose server address ends in a slash
/// ask for `//nacos/v1`. Whoever looks at a path sees this one, be it to route the request, to see
/// who may send it, or to limit it.
fn single_slashes(path: &str) -> Cow<'_, str> {
    if !path.as_bytes().windows(2).any(|two| two == b"//") {
        return Cow::Borrowed(path);
    }
    let mut single = String::with_capacity(path.len());
    for part in path.split_inclusive('/') {
        if part != "/" || !single.ends_with('/') {
            single.push_str(part);
        }
    }
    Cow::Owned(single)
}

/// The path relative to the context path, and whether it was below it at all.
fn locate<'a>(context_path: &str, path: &'a str) -> (&'a str, bool) {
    let path = path.trim_end_matches('/');
    let or_root = |path: &'a str| if path.is_empty() { "/" } else { path };
    match path.strip_prefix(context_path) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (or_root(rest), true),
        _ => (or_root(path), false),
    }
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
    fn several_slashes_are_one() {
        let cases = [
            ("//nacos/v1/ns", "/nacos/v1/ns"),
            ("///nacos////v1/ns///", "/nacos/v1/ns/"),
            ("//", "/"),
            ("/a/b/", "/a/b/"),
            ("*", "*"),
            ("", ""),
        ];
        for (path, single) in cases {
            assert_eq!(single_slashes(path), single, "{path}");
        }
    }
}
