//! Requests that read: the instances of a service, the names of services, subscriptions.

use naming_model::{GROUP_SEPARATOR, ServiceKey};

use super::answer::{Answer, Fields, code};
use super::body::{ListRequest, QueryRequest, SubscribeRequest};
use super::dispatch::Request;
use super::names::{group_of, namespace_of, service_of};
use super::refusal::Refusal;
use crate::naming::Need;
use crate::push::SubscribeRefused;
use crate::registry::{Action, GroupFilter, Page};

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
        self.admit(&Need::Service(Action::Read, &service)).await?;
        if request.subscribe {
            self.check_recovered(&service)?;
            let (pusher, clusters) = (self.front.naming.pusher(), &*request.clusters);
            match self.connection.subscribe(pusher, &service, clusters) {
                // Without pushes clients poll.
                Ok(()) | Err(SubscribeRefused::Disabled) => {}
                Err(refused) => return Err(Refusal::Typed(code::OVER_LIMIT, refused.to_string())),
            }
        } else {
            self.connection.unsubscribe(&service);
        }
        let info = self.front.registry().service_info(&service, &request.clusters, false);
        let fields = Fields::new().text("message", "success").json("serviceInfo", info.json);
        Ok(self.success(fields))
    }

    pub(super) async fn query(&self) -> Result<Answer, Refusal> {
        let request: QueryRequest = self.read()?;
        let service = service_of(request.names())?;
        check_clusters("cluster", &request.cluster)?;
        self.admit(&Need::Service(Action::Read, &service)).await?;
        self.check_recovered(&service)?;
        let (clusters, healthy_only) = (&request.cluster, request.healthy_only);
        let info = self.front.registry().service_info(&service, clusters, healthy_only);
        Ok(self.success(Fields::new().json("serviceInfo", info.json)))
    }

    /// Checks that an empty list would be the truth.
    fn check_recovered(&self, service: &ServiceKey) -> Result<(), Refusal> {
        let checked = self.front.naming.check_recovered(service);
        checked.map_err(|closed| Refusal::Again(code::STARTING, closed.to_string()))
    }

    pub(super) async fn list(&self) -> Result<Answer, Refusal> {
        let request: ListRequest = self.read()?;
        let namespace = namespace_of(request.names())?;
        let group = group_of(request.names())?;
        self.admit(&Need::Namespace(Action::Read, namespace)).await?;
        if request.page_size > MOST_NAMES {
            let text = format!("Param 'pageSize' is illegal, it is above {MOST_NAMES}");
            return Err(Refusal::bad_request(text));
        }
        let page = Page::new(request.page_no, request.page_size);
        let mut names = Vec::new();
        let index = &self.front.registry().index;
        let count = index.names(namespace, GroupFilter::One(group), page, |_, rest, _| {
            names.push(rest.split(GROUP_SEPARATOR).next().unwrap_or_default().to_owned());
        });
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
