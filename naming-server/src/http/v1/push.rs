//! Subscribing by asking for a list, and who has subscribed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use naming_model::ServiceKey;
use serde_json::{Value, json};

use super::Api;
use super::paging::PAGE_SIZE;
use crate::http::everywhere::{Scope, SubscriberRow, Subscribers, later, merged, of_scope};
use crate::http::{AgentKind, Answer, ApiError, Call, Reply};
use crate::networks::bare;
use crate::push::{AgentFamily, Subscriber};
use crate::registry::{Flavour, Page};

/// Subscribers on one page.
const MOST_ON_PAGE: usize = 10_000;

impl Api {
    /// Whom to tell of changes: the caller, if it asks for that and understands what it is told. It
    /// wants packets at this port, and says that this is its address, which is read only if needed.
    pub(in crate::http) fn subscriber(
        &self,
        call: &Call<'_>,
        service: &ServiceKey,
        clusters: &str,
        flavour: Flavour,
        udp_port: i32,
        named: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<Subscriber> {
        if udp_port <= 0 {
            return None;
        }
        let switches = self.registry.switches.load();
        if !switches.push_enabled || !call.agent.pushable(&switches.push_versions) {
            return None;
        }
        let port = u16::try_from(udp_port).ok()?;
        let (ip, place) = self.pusher.place(call.peer.ip(), named());
        Some(Subscriber {
            service: service.clone(),
            address: SocketAddr::new(ip, port),
            place,
            clusters: clusters.into(),
            agent: call.agent.text.into(),
            flavour,
            family: match call.agent.kind {
                AgentKind::Go => AgentFamily::Go,
                AgentKind::Dns => AgentFamily::Dns,
                AgentKind::C => AgentFamily::Cpp,
                _ => AgentFamily::Other,
            },
            app: call.params.or("app", "").into(),
            tenant: call.params.or("tid", "").into(),
        })
    }

    pub(super) fn subscribers(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        let number = call.params.int("pageNo", 1)?;
        let size = call.params.int(PAGE_SIZE, 1_000)?;
        let page = Page::new(number.into(), size.into());
        // The others are asked unless the caller says otherwise, as by servers of Nacos.
        let scope = match call.params.flag_lenient("aggregation", true) {
            true => Scope::All,
            false => Scope::Member(self.address().into()),
        };
        let most = page.end();
        later(self, async move |api: Arc<Self>| {
            let ask = Subscribers { service: service.as_str().to_owned(), most };
            let parts = of_scope(&api, &scope, &ask).await;
            let count: usize = parts.told.iter().map(|(_, part)| part.count).sum();
            let on_page = page.count_of(count);
            if on_page > MOST_ON_PAGE {
                let reason =
                    format!("{on_page} subscribers are on this page, the limit is {MOST_ON_PAGE}");
                return Err(ApiError::illegal(PAGE_SIZE, reason));
            }
            let rows = parts.told.into_iter().map(|(_, part)| part).collect();
            let shown: Vec<Value> =
                merged(rows, page).iter().map(|row| subscriber_json(&service, row)).collect();
            let mut list = json!({ "subscribers": shown, "count": count });
            if !parts.silent.is_empty() {
                list["unanswered"] = json!(parts.silent);
            }
            api.answers.json(list.to_string())
        })
    }

    pub(super) fn push_state(&self, call: &Call<'_>) -> Reply {
        let (detail, reset) =
            (call.params.flag_strict("detail", false), call.params.flag_strict("reset", false));
        let state = self.pusher.state(detail);
        let ratio = state.ratio();
        let mut reply = json!({
            "succeed": state.succeed, "total": state.total, "ratio": ratio, "reset": reset,
        });
        if detail {
            reply["data"] = json!(state.outstanding);
        }
        if reset {
            self.pusher.reset();
        }
        Reply::json(reply.to_string())
    }
}

/// The address that the caller gives itself. Host names are not looked up: that would take time,
/// and clients send addresses.
pub(super) fn named_ip(call: &Call<'_>) -> Option<IpAddr> {
    bare(&call.params.optional("clientIP")?).parse().ok()
}

fn subscriber_json(service: &ServiceKey, subscriber: &SubscriberRow) -> Value {
    let SubscriberRow { address, agent, app, .. } = subscriber;
    json!({
        "addrStr": address.to_string(),
        "agent": agent,
        "app": app,
        "ip": address.ip().to_canonical().to_string(),
        "namespaceId": service.namespace(),
        "serviceName": service.grouped(),
    })
}
