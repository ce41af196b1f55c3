//! The answer to a request for a list: three shapes around the rendered hosts.

use bytes::Bytes;
use naming_model::ServiceKey;

use super::host::push_names;
use super::json::{push_number, push_string};
use super::query::Flavour;
use super::view::View;

/// What varies from one answer to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListReply<'a> {
    pub(crate) service: &'a ServiceKey,
    pub(crate) flavour: Flavour,
    /// When the client should ask again, in milliseconds.
    pub(crate) cache_ms: u64,
    /// Echo of the clusters asked for.
    pub(crate) clusters: &'a str,
    /// Echo of the environment asked for.
    pub(crate) env: &'a str,
    /// Wall clock of this server in milliseconds.
    pub(crate) wall_ms: u64,
}

/// Writes the answer: the short object for an unknown service (`None`), the empty one for a
/// service in which nothing was found, otherwise the full one. Field order is that of Nacos. In two
/// parts, so that what all answers share is not copied; the second may be empty.
pub(crate) fn list_reply(view: Option<&View>, reply: &ListReply<'_>) -> [Bytes; 2] {
    match view {
        None => [short(reply), Bytes::new()],
        Some(view) if !view.has_candidates => [empty(view, reply), Bytes::new()],
        Some(view) => [view.opening.clone(), ending(view, reply)],
    }
}

fn short(reply: &ListReply<'_>) -> Bytes {
    let mut out = String::with_capacity(160);
    out.push_str("{\"name\":");
    push_string(&mut out, reply.service.grouped());
    out.push_str(",\"clusters\":");
    push_string(&mut out, reply.clusters);
    out.push_str(",\"cacheMillis\":");
    push_number(&mut out, reply.cache_ms);
    out.push_str(",\"hosts\":[]}");
    out.into()
}

fn empty(view: &View, reply: &ListReply<'_>) -> Bytes {
    let mut out = String::with_capacity(320);
    out.push('{');
    push_names(&mut out, reply.service, reply.flavour);
    push_middle(&mut out, view, reply);
    out.push_str(",\"hosts\":[],\"metadata\":");
    out.push_str(view.metadata());
    out.push('}');
    out.into()
}

/// What follows the opening of the view.
fn ending(view: &View, reply: &ListReply<'_>) -> Bytes {
    let mut out = String::with_capacity(192 + view.metadata().len() + reply.clusters.len());
    push_middle(&mut out, view, reply);
    out.push_str(",\"metadata\":");
    out.push_str(view.metadata());
    out.push('}');
    out.into()
}

/// What the full and the empty object have in common, from the value of `cacheMillis` on.
fn push_middle(out: &mut String, view: &View, reply: &ListReply<'_>) {
    push_number(out, reply.cache_ms);
    out.push_str(",\"lastRefTime\":");
    push_number(out, reply.wall_ms);
    out.push_str(",\"checksum\":\"");
    out.push_str(view.checksum());
    out.push_str("\",\"useSpecifiedURL\":false,\"clusters\":");
    push_string(out, reply.clusters);
    out.push_str(",\"env\":");
    push_string(out, reply.env);
}
