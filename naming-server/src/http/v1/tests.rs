//! The rows of the route table, as strangers find them.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use distro_net::TcpConnector;
use hyper::{HeaderMap, Method, StatusCode};
use tokio::net::UdpSocket;

use super::rights::Right;
use super::route::{Audit as Line, Class, ENTRIES, Verb, find_route};
use super::*;
use crate::app::{App, Resources, Sockets};
use crate::auth::{AuthSettings, TokenKey, TokenKeys};
use crate::http::{Agent, Params, Reply};
use crate::membership::Origin;
use crate::naming::Clearance;

/// A server with authentication and without users.
async fn server() -> App {
    let signing = TokenKey::parse("YSBrZXkgb2YgdGVzdHMsIGFuZCBvZiB0ZXN0cyBvbmx5").unwrap();
    let keys = TokenKeys { signing, previous: None };
    let auth = AuthSettings::new(&keys, Duration::from_secs(60), false).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
    let resources = Resources { auth: Some(auth), ..Resources::default() };
    let origin = Origin::new("127.0.0.1:8848".parse().unwrap());
    App::new(&crate::Config::default(), origin, None, sockets, resources)
}

fn method_of(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::GET,
        Verb::Post | Verb::Any => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Patch => Method::PATCH,
    }
}

/// The answer to a request without credentials, if it is there at once.
fn ask(api: &Api, method: &Method, path: &str) -> (Route, Option<Reply>) {
    let query = "serviceName=g@@s&ip=10.0.0.1&port=80&key=public%23%23g@@s&dom=g@@s";
    let call = Call {
        method,
        path,
        under_context: true,
        uri: path,
        query: Some(query),
        params: &Params::parse(Some(query), None),
        agent: Agent::parse("stranger"),
        headers: &HeaderMap::new(),
        peer: SocketAddr::from(([127, 0, 0, 1], 4_000)),
        body: &Bytes::new(),
        user: None,
        clearance: Clearance::default(),
    };
    let route = find_route(&call).unwrap();
    match api.handle(&call) {
        Answer::Now(reply) => (route, Some(reply)),
        Answer::Later(_) | Answer::Again(_) => (route, None),
    }
}

#[tokio::test]
async fn no_row_with_a_right_is_carried_out_without_credentials() {
    let app = server().await;
    let recorded = || app.api.audit.counts().recorded.load(Relaxed);
    for entry in ENTRIES {
        let before = recorded();
        let method = method_of(entry.method());
        let (route, reply) = ask(&app.api, &method, &entry.example());
        let row = route.spec();
        let place = format!("{method} {}", entry.example());
        let is_refused = reply.is_some_and(|reply| {
            reply.status == StatusCode::FORBIDDEN
                && String::from_utf8_lossy(&reply.body).contains("unknown user!")
        });
        // The counts of pushes are for everybody, as long as nothing more is asked for.
        let is_open = matches!(row.right, Right::Open | Right::PushState);
        assert_eq!(is_refused, !is_open, "{place}");
        assert_eq!(recorded() - before, u64::from(row.audit == Line::Line), "{place}");
    }
    assert_eq!(app.api.registry.service_count(), 0);
}

#[test]
fn no_write_needs_no_more_than_a_look() {
    for route in Route::ALL {
        let row = route.spec();
        if row.class == Class::Writes {
            let looks = matches!(
                row.right,
                Right::Open | Right::Service(crate::registry::Action::Read) | Right::Statuses
            );
            assert!(!looks, "{}", row.label);
        }
    }
}
