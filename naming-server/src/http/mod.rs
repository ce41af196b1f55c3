//! HTTP: from the socket to a [`Handler`] and back.
//!
//! ```text
//! listen -> socket (time-outs) -> hyper http1 -> exchange -> Handler::handle -> Reply
//!                                                  body, params, agent, CORS
//! ```
//!
//! Handlers are synchronous: the shell has read the whole body before it calls them, and nothing
//! they do may wait. What has to, a write on its way to another member, they give back as
//! [`Answer::Later`].
//!
//! Some requests never get that far, since hyper answers them itself, without a body: 400 for what
//! is no HTTP, 414 for a request target above 65,534 bytes, 431 for a head above its limit or with
//! more than 100 headers. Among the 400s are targets with a raw `"`, `<` or `>` in the query or
//! with bytes that are not UTF-8; the parser cannot be told otherwise. They must be
//! percent-encoded there, in form bodies they need not be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use crate::naming::Clearance;

mod accept;
mod agent;
mod answer;
mod body;
mod connected;
mod console;
mod cors;
mod discovery;
mod error;
mod everywhere;
mod exchange;
mod form;
mod large;
mod list;
mod listen;
mod modern;
mod origins;
mod params;
mod reply;
mod shared;
mod socket;
mod source;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod v1;
mod views;

pub(crate) use accept::{Accept, Stream, accept_each};
pub(crate) use agent::{Agent, AgentKind};
pub(crate) use answer::Answer;
pub(crate) use connected::{
    Activity, Address, Connected, ConnectedCounts, Connection, Destination, Nobody,
};
pub(crate) use cors::may_be_of_foreign_page;
pub(crate) use discovery::Wanted;
pub(crate) use error::{ApiError, ErrorPage, no_such_api};
pub(crate) use everywhere::connect as connect_members;
pub(crate) use large::{LargeAnswers, MOST_ANSWER_BYTES};
pub(crate) use list::{ListError, read_list};
pub(crate) use listen::{ConnectionStats, Protocols, serve};
pub(crate) use modern::{ConsolePort, Front, rows};
pub use origins::{AllowedOrigins, NotOrigins};
pub(crate) use params::{Params, not_a_number};
pub(crate) use reply::Reply;
pub(crate) use shared::OtherProtocol;
pub(crate) use source::{ConnectionLimits, Place, Source, Sources, Visit};
pub(crate) use tls::{Welcomed, welcome};

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request. It runs on a thread of the runtime, so it must not block; a panic in
    /// it is answered with 500.
    fn handle(&self, call: &Call<'_>) -> Answer;

    /// For whom a path is, by what is known before a body has been read.
    fn door(&self, _parts: &Parts, _peer: SocketAddr) -> Door {
        Door::Public
    }

    /// Whether there are other members, for whom connections are kept free.
    fn has_members(&self) -> bool {
        false
    }

    /// Whether requests may have waited for long before they are read. Writes of clients that have
    /// hung up are refused then.
    fn may_be_late(&self) -> bool {
        false
    }

    /// A body sent to this path was too large and has been refused.
    fn note_too_large(&self, _path: &str) {}
}

/// For whom a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody.
    Public,
    /// Members who are not known yet. Bodies are small; an answer of 200 says that the other end
    /// knows, or has heard, how a member greets.
    Greeting,
    /// Members who have greeted, with bodies of so many bytes. An answer of 200 proves that the
    /// other end is a member.
    Calls(usize),
    /// Members who prove nothing but are believed, with bodies of so many bytes.
    Believed(usize),
}

/// One request, whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The method as sent; HEAD and OPTIONS too, but for CORS preflights.
    pub(crate) method: &'a Method,
    /// The path without trailing slashes and with single ones only; `/` is the least. Below the context path it is what
    /// follows it (`/v1/ns/instance`), elsewhere the whole path (`/metrics`): see
    /// `under_context`. Not percent-decoded, no route needs it.
    pub(crate) path: &'a str,
    /// Whether the request named the context path. Routes that hold with and without it, such as
    /// `/metrics`, ignore this; those of the API require it. Always true if the context path is
    /// `/`.
    pub(crate) under_context: bool,
    /// The whole path with single slashes, without the query.
    pub(crate) uri: &'a str,
    /// The query as sent, without the `?`.
    pub(crate) query: Option<&'a str>,
    /// Parameters of query and form.
    pub(crate) params: &'a Params<'a>,
    /// Who calls.
    pub(crate) agent: Agent<'a>,
    /// All headers.
    pub(crate) headers: &'a HeaderMap,
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// The body, empty if there is none. Forms are in `params` already.
    pub(crate) body: &'a Bytes,
    /// The user who has proved to have sent it; `None` where no proof is asked for.
    pub(crate) user: Option<&'a str>,
    /// What has been checked of it so far.
    pub(crate) clearance: Clearance,
}

/// How much of what the server accepts from its connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Prefix of the API's paths, without a slash at the end: `/nacos`, or empty.
    pub(crate) context_path: String,
    /// Origins whose pages may read and write, beyond the server's own.
    pub(crate) allowed_origins: AllowedOrigins,
    /// Connections open at a time. One more is accepted and closed at once: its client learns
    /// immediately that it must go elsewhere, which a full backlog would not tell it.
    pub(crate) connections: Arc<ConnectionLimits>,
    /// Bytes of one request body.
    pub(crate) max_body_bytes: usize,
    /// Bytes of all request bodies being received at a time.
    pub(crate) max_buffered_body_bytes: usize,
    /// The same of those from one address.
    pub(crate) max_buffered_body_bytes_per_source: usize,
    /// Bytes of request line and headers together. The request target alone may have 65,534
    /// bytes, a limit of the parser that cannot be raised; longer ones are answered 414.
    pub(crate) max_header_bytes: usize,
    /// Bytes of all heads being received at a time, beyond the first 16 KiB of each.
    pub(crate) max_buffered_header_bytes: usize,
    /// From the first byte of a request to the end of its headers.
    pub(crate) header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub(crate) body_timeout: Duration,
    /// Between two requests, and for how long a client may leave an answer unread.
    pub(crate) idle_timeout: Duration,
    /// From the shutdown signal to the forced end of the last connection.
    pub(crate) drain_timeout: Duration,
}
