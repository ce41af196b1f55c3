//! What an operator looks at and changes: members, clients, namespaces, users, instances.

use std::collections::BTreeMap;

use hyper::Method;
use naming_http::Form;
use naming_model::{Instance, InstanceKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Core;
use crate::client::NamingClient;
use crate::error::Error;
use crate::generations::{Place, call_first, data, done};
use crate::names::ServiceName;

/// Users and clients asked for in one page.
const PAGE_SIZE: &str = "1000";

/// The calls of operators; [`NamingClient::operator`] gives it. They need the rights of an
/// administrator where servers ask for users.
///
/// Each call is tried as servers of 3.x have it, then as those of 2.x and 1.x. What a server does
/// not have at all fails with [`Error::NoServer`] or [`Error::Refused`] and its status, such as 404.
#[derive(Debug, Clone, Copy)]
pub struct Operator<'a> {
    client: &'a NamingClient,
}

/// A server of a cluster, as another shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterMember {
    /// Host and port.
    pub address: String,
    /// `UP`, `DOWN` or another word of the server.
    pub state: String,
    /// The version it says of itself, empty if it says none.
    pub version: String,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamespaceEntry {
    /// The id that clients name.
    pub id: String,
    /// The name that people read.
    pub name: String,
}

/// A client that a server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RegistryClient {
    /// Its id.
    pub id: String,
    /// `connection` or `ipPort`, as far as the server tells.
    pub kind: String,
    /// Its address, as far as the server tells.
    pub address: String,
    /// What it calls itself.
    pub version: String,
}

/// What an operator sets of an instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceSettings {
    /// Its weight, 0 to 10,000; `None` to leave it.
    pub weight: Option<f64>,
    /// Whether it gets calls; `None` to leave it.
    pub enabled: Option<bool>,
    /// Its metadata; `None` to leave it.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(client: &'a NamingClient) -> Self {
        Self { client }
    }

    fn core(&self) -> &Core {
        &self.client.inner.core
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        places: &[(&'static str, Form)],
    ) -> Result<T, Error> {
        self.client.inner.check_open()?;
        let place =
            |(path, params): &(&'static str, Form)| Place::new(Method::GET, path, params.clone());
        let places = places.iter().map(place).collect();
        call_first(self.core(), places, true, |_, body| data(body)).await
    }

    async fn write(
        &self,
        method: Method,
        places: Vec<(&'static str, Form)>,
        is_repeatable: bool,
    ) -> Result<(), Error> {
        self.client.inner.check_open()?;
        let place = |(path, params)| Place::new(method.clone(), path, params);
        let places = places.into_iter().map(place).collect();
        call_first(self.core(), places, is_repeatable, |_, body| done(body)).await
    }

    /// The servers of the cluster, as the one that is asked sees them.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn members(&self) -> Result<Vec<ClusterMember>, Error> {
        #[derive(Deserialize)]
        struct Member {
            address: String,
            #[serde(default)]
            state: String,
            #[serde(default, rename = "extendInfo")]
            more: Value,
        }
        let paths = [
            ("/v3/admin/core/cluster/node/list", Form::default()),
            ("/v2/core/cluster/node/list", Form::default()),
            ("/v1/core/cluster/nodes", Form::default()),
        ];
        let members: Vec<Member> = self.get(&paths).await?;
        let entry = |member: Member| ClusterMember {
            version: member.more["version"].as_str().unwrap_or_default().to_owned(),
            address: member.address,
            state: member.state,
        };
        Ok(members.into_iter().map(entry).collect())
    }

    /// The namespaces.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn namespaces(&self) -> Result<Vec<NamespaceEntry>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Namespace {
            namespace: String,
            #[serde(default)]
            namespace_show_name: String,
        }
        let paths = [
            ("/v3/admin/core/namespace/list", Form::default()),
            ("/v2/console/namespace/list", Form::default()),
            ("/v1/console/namespaces", Form::default()),
        ];
        let found: Vec<Namespace> = self.get(&paths).await?;
        let entry = |one: Namespace| NamespaceEntry {
            // Servers before 3.0 show the default one without an id.
            id: match one.namespace.is_empty() {
                true => naming_model::DEFAULT_NAMESPACE.to_owned(),
                false => one.namespace,
            },
            name: one.namespace_show_name,
        };
        Ok(found.into_iter().map(entry).collect())
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// Those of any call; [`Error::Refused`] or [`Error::NoServer`] if there is one with that id.
    pub async fn create_namespace(&self, id: &str, name: &str) -> Result<(), Error> {
        let of = |key: &str| {
            let params = Form::default().with(key, id).with("namespaceName", name);
            params.with("namespaceDesc", name)
        };
        let places = vec![
            ("/v3/admin/core/namespace", of("namespaceId")),
            ("/v2/console/namespace", of("namespaceId")),
            ("/v1/console/namespaces", of("customNamespaceId")),
        ];
        self.write(Method::POST, places, false).await
    }

    /// Removes a namespace.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_namespace(&self, id: &str) -> Result<(), Error> {
        let params = || Form::default().with("namespaceId", id);
        let places = vec![
            ("/v3/admin/core/namespace", params()),
            ("/v2/console/namespace", params()),
            ("/v1/console/namespaces", params()),
        ];
        self.write(Method::DELETE, places, true).await
    }

    /// The names of the users.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn users(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            page_items: Vec<User>,
        }
        #[derive(Deserialize)]
        struct User {
            username: String,
        }
        let page = || Form::default().with("pageNo", "1").with("pageSize", PAGE_SIZE);
        let paths = [
            ("/v3/auth/user/list", page().with("search", "accurate")),
            ("/v1/auth/users", page().with("search", "accurate")),
        ];
        let page: Page = self.get(&paths).await?;
        Ok(page.page_items.into_iter().map(|user| user.username).collect())
    }

    /// Makes a user.
    ///
    /// # Errors
    /// Those of any call; one if there is a user of that name.
    pub async fn create_user(&self, user: &str, password: &str) -> Result<(), Error> {
        let params = || Form::default().with("username", user).with("password", password);
        let places = vec![("/v3/auth/user", params()), ("/v1/auth/users", params())];
        self.write(Method::POST, places, false).await
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn set_password(&self, user: &str, password: &str) -> Result<(), Error> {
        let params = || Form::default().with("username", user).with("newPassword", password);
        let places = vec![("/v3/auth/user", params()), ("/v1/auth/users", params())];
        self.write(Method::PUT, places, true).await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_user(&self, user: &str) -> Result<(), Error> {
        let params = || Form::default().with("username", user);
        let places = vec![("/v3/auth/user", params()), ("/v1/auth/users", params())];
        self.write(Method::DELETE, places, true).await
    }

    /// The ids of the clients that the server asked knows. Servers of 1.x know none.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn client_ids(&self) -> Result<Vec<String>, Error> {
        let paths = [
            ("/v3/admin/ns/client/list", Form::default()),
            ("/v2/ns/client/list", Form::default()),
        ];
        self.get(&paths).await
    }

    /// What the server asked knows of a client.
    ///
    /// # Errors
    /// One that [says "not found"](Error::is_not_found) if it knows no such client.
    pub async fn client(&self, id: &str) -> Result<RegistryClient, Error> {
        let params = || Form::default().with("clientId", id);
        let paths = [("/v3/admin/ns/client", params()), ("/v2/ns/client", params())];
        let detail: Value = self.get(&paths).await?;
        let text = |name: &str| match &detail[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let address = match text("clientIp") {
            ip if ip.is_empty() => ip,
            ip => format!("{ip}:{}", text("clientPort")),
        };
        Ok(RegistryClient {
            id: id.to_owned(),
            kind: text("clientType"),
            address,
            version: text("version"),
        })
    }

    /// Sets what an operator may set of an instance; what is `None` stays. This reads and then
    /// writes: a change that somebody else makes between the two is lost.
    ///
    /// # Errors
    /// [`Error::NoInstance`] if there is no such instance, and those of any call.
    pub async fn set_instance(
        &self,
        service: &ServiceName,
        key: InstanceKey<'_>,
        settings: &InstanceSettings,
    ) -> Result<(), Error> {
        let mut instance = self.find(service, key).await?;
        instance.weight = settings.weight.unwrap_or(instance.weight);
        instance.enabled = settings.enabled.unwrap_or(instance.enabled);
        if let Some(metadata) = &settings.metadata {
            instance.metadata.clone_from(metadata);
        }
        instance.check()?;
        let metadata = serde_json::to_string(&instance.metadata)
            .map_err(|error| Error::Request(error.to_string()))?;
        let more = |params: Form| {
            params
                .with("clusterName", &instance.cluster)
                .with("ip", &instance.ip)
                .with("port", &instance.port.to_string())
                .with("weight", &instance.weight.to_string())
                .with("enabled", if instance.enabled { "true" } else { "false" })
                .with("ephemeral", if instance.ephemeral { "true" } else { "false" })
                .with("metadata", &metadata)
        };
        let places = vec![
            ("/v3/admin/ns/instance", more(self.about(service, service.service()))),
            ("/v2/ns/instance", more(self.about(service, service.service()))),
            ("/v1/ns/instance", more(self.about(service, service.grouped()))),
        ];
        self.write(Method::PUT, places, true).await
    }

    fn about(&self, service: &ServiceName, name: &str) -> Form {
        let params = self.core().params().with("serviceName", name);
        params.with("groupName", service.group())
    }

    /// The instance as it is now, be it closed for calls: lists for clients leave such out.
    async fn find(&self, service: &ServiceName, key: InstanceKey<'_>) -> Result<Instance, Error> {
        let of = |name: &str| {
            let params = self.about(service, name).with("clusterName", key.cluster);
            let params = params.with("cluster", key.cluster).with("ip", key.ip);
            params.with("port", &key.port.to_string())
        };
        let paths = [
            ("/v3/admin/ns/instance", of(service.service())),
            ("/v2/ns/instance", of(service.service())),
            ("/v1/ns/instance", of(service.grouped())),
        ];
        let mut found: Value = self.get(&paths).await?;
        // Servers before 3.0 do not tell which kind it is, nor whether it is open for calls: the
        // list of a client does, as far as it shows the instance.
        if found.get("ephemeral").is_none() {
            let list = self.client.instances(service).await?;
            if let Some(known) = list.find(key) {
                return Ok(known.clone());
            }
            found["enabled"] = false.into();
        }
        serde_json::from_value(found).map_err(|error| Error::Request(error.to_string()))
    }
}

impl NamingClient {
    /// The calls of operators: members, clients, namespaces, users, settings of instances.
    pub fn operator(&self) -> Operator<'_> {
        Operator::new(self)
    }
}
