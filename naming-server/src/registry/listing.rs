//! The answer to a request for a list: three shapes around the rendered hosts.

use bytes::Bytes;
use naming_model::ServiceKey;

use super::json::{push_number, push_string};
use super::view::{Flavour, View};

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
/// service in which nothing was found, otherwise the full one. Field order is that of Nacos.
pub(crate) fn list_reply(view: Option<&View>, reply: &ListReply<'_>) -> Bytes {
    match view {
        None => short(reply),
        Some(view) if !view.has_candidates => empty(view, reply),
        Some(view) => full(view, reply),
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
    push_middle(&mut out, view, reply);
    out.push_str(",\"hosts\":[],\"metadata\":");
    out.push_str(&view.metadata);
    out.push('}');
    out.into()
}

fn full(view: &View, reply: &ListReply<'_>) -> Bytes {
    let mut tail = String::with_capacity(320);
    tail.push(',');
    push_middle(&mut tail, view, reply);
    tail.push_str(",\"metadata\":");
    tail.push_str(&view.metadata);
    tail.push('}');
    const HEAD: &[u8] = b"{\"hosts\":";
    let mut out = Vec::with_capacity(HEAD.len() + view.hosts.len() + tail.len());
    out.extend_from_slice(HEAD);
    out.extend_from_slice(&view.hosts);
    out.extend_from_slice(tail.as_bytes());
    out.into()
}

/// What the full and the empty object have in common.
fn push_middle(out: &mut String, view: &View, reply: &ListReply<'_>) {
    out.push_str("\"dom\":");
    push_string(
        out,
        match reply.flavour {
            Flavour::Grouped => reply.service.grouped(),
            Flavour::Ungrouped => reply.service.service(),
        },
    );
    out.push_str(",\"name\":");
    push_string(out, reply.service.grouped());
    out.push_str(",\"cacheMillis\":");
    push_number(out, reply.cache_ms);
    out.push_str(",\"lastRefTime\":");
    push_number(out, reply.wall_ms);
    out.push_str(",\"checksum\":\"");
    out.push_str(&view.checksum);
    out.push_str("\",\"useSpecifiedURL\":false,\"clusters\":");
    push_string(out, reply.clusters);
    out.push_str(",\"env\":");
    push_string(out, reply.env);
}
