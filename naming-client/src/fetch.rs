//! Asking for the list of a service, over whatever is spoken.

use std::net::IpAddr;

use hyper::Method;
use naming_model::InstanceList;

use crate::call::{Answer, Call, Core, PushTarget, read_json};
use crate::error::Error;
use crate::names::ServiceQuery;
use crate::servers::Preference;

/// A list and who gave it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) list: InstanceList,
    pub(crate) host: Option<IpAddr>,
    /// Whether the server tells changes by itself, and surely.
    pub(crate) is_told: bool,
}

/// How a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Asks for UDP pushes.
    pub(crate) push: Option<PushTarget>,
    /// Asks to be told changes, if that goes over a connection.
    pub(crate) subscribe: bool,
    pub(crate) preference: Preference,
    pub(crate) patient: bool,
}

/// Asks for the list of `query` once.
pub(crate) async fn fetch(
    core: &Core,
    query: &ServiceQuery,
    manner: Manner,
) -> Result<Fetched, Error> {
    #[cfg(feature = "grpc")]
    if let Some(fetched) = fetch_by_grpc(core, query, manner).await? {
        return Ok(fetched);
    }
    let params = core
        .params()
        .with("serviceName", query.service().grouped())
        .with("groupName", query.service().group())
        .with("clusters", query.cluster_text())
        .with("healthyOnly", "false");
    let mut call = Call::new(Method::GET, "/v1/ns/instance/list", params);
    (call.push, call.preference, call.patient) = (manner.push, manner.preference, manner.patient);
    let Answer { value: list, server } = core.call(&call, |body| read_list(body, query)).await?;
    let host = server.known_route().map(|route| route.remote.to_canonical());
    Ok(Fetched { list, host, is_told: false })
}

#[cfg(feature = "grpc")]
async fn fetch_by_grpc(
    core: &Core,
    query: &ServiceQuery,
    manner: Manner,
) -> Result<Option<Fetched>, Error> {
    use crate::grpc::{Ask, Request, ask, read_list};

    let service = query.service();
    // A connection has one subscription for a service: to all clusters, of which we take ours.
    let build = |_: &_| match manner.subscribe {
        true => Request::subscribe(&core.namespace, service, true).map(Some),
        false => Request::query(&core.namespace, service, query.cluster_text()).map(Some),
    };
    let read = |body: &bytes::Bytes| {
        let (found, mut list) = read_list(body)?;
        if found != *service {
            return Err(format!("the list of {found}"));
        }
        list.hosts = query.filter(list.hosts);
        Ok(list)
    };
    Ok(match ask(core, manner.patient, build, read).await? {
        Ask::Answered(list, session) => {
            Some(Fetched { list, host: Some(session.host()), is_told: manner.subscribe })
        }
        Ask::ByHttp => None,
    })
}

/// A list that names another service is no answer, whoever mixed it up on the way.
fn read_list(body: &[u8], query: &ServiceQuery) -> Result<InstanceList, String> {
    let list: InstanceList = read_json(body)?;
    let service = query.service();
    if ["", service.grouped(), service.service()].contains(&list.name.as_str()) {
        return Ok(list);
    }
    Err(format!("the list of {:?}", list.name))
}
