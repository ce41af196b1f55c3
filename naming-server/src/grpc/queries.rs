//! Requests that read: the instances of a service, the names of services, subscriptions.

use super::answer::{Answer, Fields};
use super::body::{ListRequest, QueryRequest, SubscribeRequest};
use super::dispatch::Request;
use super::names::{group_of, namespace_of, service_of};
use super::refusal::Refusal;
use crate::naming::{Access, InfoQuery, Need};
use crate::registry::{Action, Page};

/// Names in one answer; who wants more asks for the next page.
const MOST_NAMES: i64 = 10_000;
/// Bytes of the text of clusters in a request.
const MOST_CLUSTERS: usize = 1_024;

impl Request<'_> {
    /// The list is made after the subscription: every change is in it, or is pushed.
    pub(super) async fn subscribe(&self) -> Result<Answer, Refusal> {
        let request: SubscribeRequest = self.read()?;
        let service = service_of(request.names())?;
        check_clusters("clusters", &request.clusters)?;
        let sender = self.admit(Access::Read, &Need::Service(Action::Read, &service)).await?;
        let (clusters, connection) = (&*request.clusters, self.connection);
        let subscribe = |pusher: &_| match request.subscribe {
            true => connection.subscribe(pusher, &service, clusters),
            false => {
                connection.unsubscribe(&service);
                Ok(())
            }
        };
        let caller = self.caller(&sender);
        let naming = &self.front.naming;
        // Who unsubscribes does not look at the list.
        let asked = InfoQuery { clusters, healthy_only: false, is_believed: request.subscribe };
        let info = naming.service_info(&caller, &service, asked, subscribe)?;
        let fields = Fields::new().text("message", "success").json("serviceInfo", info.json);
        Ok(self.success(fields))
    }

    pub(super) async fn query(&self) -> Result<Answer, Refusal> {
        let request: QueryRequest = self.read()?;
        let service = service_of(request.names())?;
        check_clusters("cluster", &request.cluster)?;
        let sender = self.admit(Access::Read, &Need::Service(Action::Read, &service)).await?;
        let (caller, once) = (self.caller(&sender), |_: &_| Ok(()));
        let asked = InfoQuery {
            clusters: &request.cluster,
            healthy_only: request.healthy_only,
            is_believed: true,
        };
        let info = self.front.naming.service_info(&caller, &service, asked, once)?;
        Ok(self.success(Fields::new().json("serviceInfo", info.json)))
    }

    pub(super) async fn list(&self) -> Result<Answer, Refusal> {
        let request: ListRequest = self.read()?;
        let namespace = namespace_of(request.names())?;
        let group = group_of(request.names())?;
        let sender = self.admit(Access::Read, &Need::Namespace(Action::Read, namespace)).await?;
        if request.page_size > MOST_NAMES {
            let text = format!("Param 'pageSize' is illegal, it is above {MOST_NAMES}");
            return Err(Refusal::bad_request(text));
        }
        let page = Page::new(request.page_no, request.page_size);
        let caller = self.caller(&sender);
        let (count, names) = self.front.naming.service_names(&caller, namespace, group, page)?;
        let fields = Fields::new().number("count", count);
        Ok(self.success(fields.texts("serviceNames", names.iter().map(String::as_str))))
    }
}

fn check_clusters(parameter: &str, clusters: &str) -> Result<(), Refusal> {
    if clusters.len() > MOST_CLUSTERS {
        let text =
            format!("Param '{parameter}' is illegal, it is longer than {MOST_CLUSTERS} bytes");
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}
