//! What a row of the route table says, and how a request finds its row.

use distro_net::PATH_PREFIX;

use super::Api;
use super::rights::Right;
use crate::http::{Answer, ApiError, Call, Reply};

mod table;

pub(super) use table::ENTRIES;
pub(in crate::http) use table::Route;

/// All that is to be known of a route. There is no default: a row that leaves something out does
/// not compile, nor does a write that anybody may send.
#[derive(Debug)]
pub(super) struct RouteSpec {
    /// The name in metrics and audit lines.
    pub(super) label: &'static str,
    /// Whether it changes something.
    pub(super) class: Class,
    /// What must be open for it.
    pub(super) gate: Gate,
    /// What its sender must be allowed.
    pub(super) right: Right,
    /// Whether it has an audit line.
    pub(super) audit: Audit,
    /// What servers of Nacos have to do with it.
    pub(super) servers: Servers,
    pub(super) handler: Handler,
}

/// Carries out a request of a route.
pub(super) type Handler = fn(&Api, &Call<'_>) -> Result<Answer, ApiError>;

/// Whether a route changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing.
    Reads,
    /// Something, by whatever method.
    Writes,
    /// What other servers want, or the first administrator: it asks for proof itself.
    Talks,
}

/// What must be open for a request of the naming API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// This server must take requests, and know enough to answer this one.
    Whole,
    /// This server must take requests. Operators and health checks ask a server that is not ready,
    /// too.
    Status,
    /// Nothing: it opens the gate, is what servers say to each other, or is no part of the naming
    /// API.
    Nothing,
}

/// Whether a request has an audit line. Registrations, deregistrations and beats have none: the
/// events tell of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audit {
    Line,
    NoLine,
}

/// What servers of Nacos have to do with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Servers {
    /// Nothing more than everybody.
    Same,
    /// They ask each other.
    Ask,
    /// They pass it on to the owner of the service, after they have checked its sender.
    Pass,
}

/// A method and a path, and the route that they lead to.
pub(super) struct Entry {
    method: Verb,
    path: &'static str,
    /// Whether more may follow the path.
    is_open_ended: bool,
    /// Whether it also holds without the context path.
    is_everywhere: bool,
    route: Route,
}

/// A method as far as routes tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Delete,
    Patch,
    /// In the table: any. Of a request: one that only such rows answer.
    Any,
}

impl Entry {
    /// A path that ends with `*` stands for all that begin so, one that begins with `~` holds with
    /// and without the context path.
    pub(super) const fn new(method: Verb, path: &'static str, route: Route) -> Self {
        let (is_everywhere, path) = match path.as_bytes() {
            [b'~', ..] => (true, path.split_at(1).1),
            _ => (false, path),
        };
        let (is_open_ended, path) = match path.as_bytes() {
            [.., b'*'] => (true, path.split_at(path.len() - 1).0),
            _ => (false, path),
        };
        Self { method, path, is_open_ended, is_everywhere, route }
    }

    #[cfg(test)]
    pub(super) fn method(&self) -> Verb {
        self.method
    }

    /// A path that leads here.
    #[cfg(test)]
    pub(super) fn example(&self) -> String {
        if self.is_open_ended { format!("{}x", self.path) } else { self.path.to_owned() }
    }

    fn matches(&self, method: Verb, path: &str) -> bool {
        if self.is_open_ended {
            return (self.method == method || self.method == Verb::Any)
                && path.starts_with(self.path);
        }
        self.method == method && path == self.path
    }
}

/// What is told of a method and a path of 1.x.
pub(in crate::http) struct Told {
    /// `*` for any.
    pub(in crate::http) method: &'static str,
    /// With a `*` at the end if more may follow.
    pub(in crate::http) path: String,
    /// Whether anybody may send it.
    pub(in crate::http) is_open: bool,
    pub(in crate::http) is_write: bool,
    /// The name under which it is taken down, if it is.
    pub(in crate::http) action: Option<&'static str>,
}

/// All methods and paths of 1.x.
pub(in crate::http) fn entries() -> impl Iterator<Item = Told> {
    ENTRIES.iter().map(|entry| {
        let row = entry.route.spec();
        Told {
            method: entry.method.name(),
            path: format!("{}{}", entry.path, if entry.is_open_ended { "*" } else { "" }),
            is_open: matches!(row.right, Right::Open | Right::PushState),
            is_write: row.class == Class::Writes,
            action: (row.audit == Audit::Line).then_some(row.label),
        }
    })
}

/// What the handler of a request of 1.x gives that needs no right.
#[cfg(test)]
pub(in crate::http) fn handle_first(api: &Api, call: &Call<'_>) -> Option<Answer> {
    (find_route(call)?.spec().handler)(api, call).ok()
}

impl Verb {
    /// As in a request; `*` for any.
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Any => "*",
        }
    }

    fn of(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            _ => Self::Any,
        }
    }
}

impl RouteSpec {
    /// What this says of a write is checked when it is compiled.
    pub(super) const fn checked(self) -> Self {
        if matches!(self.class, Class::Writes) {
            assert!(!matches!(self.right, Right::Open), "a write needs a right");
        }
        if matches!(self.audit, Audit::Line) {
            assert!(!matches!(self.class, Class::Reads), "only writes have audit lines");
        }
        self
    }
}

impl Route {
    /// The name in metrics and audit lines.
    pub(in crate::http) fn label(self) -> &'static str {
        self.spec().label
    }

    /// The method and path of what clients ask for all the time, for those who know these by their
    /// paths. All else is known by its label.
    pub(in crate::http) fn method_and_path(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::InstanceList => ("GET", "/v1/ns/instance/list"),
            Self::InstanceBeat => ("PUT", "/v1/ns/instance/beat"),
            Self::InstanceRegister => ("POST", "/v1/ns/instance"),
            Self::InstanceDeregister => ("DELETE", "/v1/ns/instance"),
            Self::InstanceUpdate => ("PUT", "/v1/ns/instance"),
            Self::InstancePatch => ("PATCH", "/v1/ns/instance"),
            Self::InstanceDetail => ("GET", "/v1/ns/instance"),
            Self::ServiceList => ("GET", "/v1/ns/service/list"),
            Self::CatalogServices => ("GET", "/v1/ns/catalog/services"),
            Self::OperatorMetrics => ("GET", "/v1/ns/operator/metrics"),
            Self::Login => ("POST", "/v1/auth/users/login"),
            _ => return None,
        })
    }
}

/// The route of a request, if there is one: the first in the table, which begins with the routes
/// that are asked for most. HEAD is GET, except in the naming API. Methods that Nacos does not offer
/// on a path are no route either.
pub(super) fn find_route(call: &Call<'_>) -> Option<Route> {
    let method = match call.method.as_str() {
        // Load balancers probe with HEAD. The answer is that to GET; the shell leaves its body out.
        "HEAD" if !call.is_naming() => Verb::Get,
        method => Verb::of(method),
    };
    find(method, call.path, call.under_context)
}

fn find(method: Verb, path: &str, under_context: bool) -> Option<Route> {
    let found = ENTRIES
        .iter()
        .find(|entry| (under_context || entry.is_everywhere) && entry.matches(method, path));
    found.map(|entry| entry.route)
}

/// The handler of a route that is answered at once.
pub(super) fn now(reply: Result<Reply, ApiError>) -> Result<Answer, ApiError> {
    reply.map(Answer::Now)
}

const _: () = {
    let (prefix, bytes) = (PATH_PREFIX.as_bytes(), table::PEER_PATH.as_bytes());
    assert!(bytes.len() == prefix.len() + 2, "the path of members is that of distro-net");
    let mut at = 0;
    while at < prefix.len() {
        assert!(bytes[at + 1] == prefix[at], "the path of members is that of distro-net");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique() {
        let mut labels: Vec<_> = Route::ALL.iter().map(|route| route.spec().label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Route::ALL.len());
    }

    #[test]
    fn every_row_has_a_path_that_leads_to_it() {
        for route in Route::ALL {
            let mut own = ENTRIES.iter().filter(|entry| entry.route == *route).peekable();
            assert!(own.peek().is_some(), "{route:?}");
            for entry in own {
                assert_eq!(find(entry.method, entry.path, true), Some(*route), "{}", entry.path);
                let outside = find(entry.method, entry.path, false);
                assert_eq!(outside, entry.is_everywhere.then_some(*route), "{}", entry.path);
            }
        }
    }

    #[test]
    fn methods_that_nacos_does_not_offer_are_no_route() {
        let find = |method, path: &str| find(method, &format!("/v1/ns/{path}"), true);
        assert_eq!(find(Verb::Get, "instance/beat"), None);
        assert_eq!(find(Verb::Post, "api/list"), None);
        assert_eq!(find(Verb::Get, "api/list"), Some(Route::InstanceList));
        assert_eq!(find(Verb::Post, "service/names"), None);
        assert_eq!(find(Verb::Get, "ops/metrics"), Some(Route::OperatorMetrics));
        assert_eq!(find(Verb::Put, "health/checkers"), None);
        assert_eq!(find(Verb::Any, "distro/whatever"), Some(Route::PeerProtocol));
        assert_eq!(find(Verb::Any, "instance"), None);
    }
}
