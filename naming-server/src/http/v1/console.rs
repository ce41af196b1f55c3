//! `/v1/console/*`: health of the process, and the names of namespaces.

use hyper::StatusCode;
use naming_model::is_unprintable;
use serde_json::{Value, json};

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::naming::{MAX_NAMESPACE_ID, NamingError, NotMade, is_public, random_id};
use crate::registry::{Namespace, Write};
use crate::text::cut;

/// Configurations a namespace may hold with Nacos; shown, never used.
const QUOTA: u32 = 200;

impl Api {
    pub(super) fn alive(&self) -> Result<Reply, ApiError> {
        Ok(Reply::text("OK"))
    }

    /// Whether clients should be sent here. A member says why not, and so does who was closed by
    /// an operator. A disk that fails is no reason: reads, beats and ephemeral instances need none,
    /// and another member may have the same trouble. It is said all the same.
    pub(super) fn ready(&self) -> Result<Reply, ApiError> {
        if let Some(reason) = self.why_no_clients() {
            return Ok(Reply::text(reason).with_status(StatusCode::SERVICE_UNAVAILABLE));
        }
        let failing = self.not_saved();
        if failing.is_empty() {
            return self.alive();
        }
        Ok(Reply::text(format!("OK, degraded: {} cannot be saved", failing.join(" and "))))
    }

    /// The same as the framework of Nacos says it, for probes that were made for that.
    pub(super) fn actuator_health(&self) -> Result<Reply, ApiError> {
        Ok(match self.why_no_clients() {
            None => Reply::json("{\"status\":\"UP\"}"),
            Some(_) => Reply::json("{\"status\":\"OUT_OF_SERVICE\"}")
                .with_status(StatusCode::SERVICE_UNAVAILABLE),
        })
    }

    /// Why clients should not be sent here, if they should not.
    pub(crate) fn why_no_clients(&self) -> Option<String> {
        let overridden = self.registry.switches.load().overridden_status;
        match overridden.filter(|status| status.takes_nothing()) {
            Some(status) => Some(format!("the status of the server is set to {}", status.name())),
            None => self.why_not_ready().map(str::to_owned),
        }
    }

    /// What the disk does not take at present. The causes are for those who may read the log.
    fn not_saved(&self) -> Vec<&'static str> {
        let durable = self.keeper.as_ref().is_some_and(|keeper| keeper.failure().is_some());
        let cached = self.cache.as_ref().is_some_and(|cache| cache.stats().is_failing());
        let all = [(durable, "durable data"), (cached, "ephemeral instances")];
        all.into_iter().filter(|(fails, _)| *fails).map(|(_, name)| name).collect()
    }

    /// Why this member does not answer reads, if it does not.
    pub(super) fn why_not_ready(&self) -> Option<&'static str> {
        let cluster = self.cluster.as_ref()?;
        if cluster.writes.may_read(self.registry.clock.tick()) {
            return None;
        }
        // The published reason is some hundred milliseconds old; without one it has just come out
        // of a pause.
        Some(
            self.control
                .status()
                .why_not_ready
                .unwrap_or("was stopped; comparing data with others"),
        )
    }

    pub(super) fn server_state(&self) -> Result<Reply, ApiError> {
        Ok(Reply::json(self.state_of_v1().to_string()))
    }

    pub(super) fn read_namespaces(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let params = call.params;
        let shown = if params.flag_lenient("checkNamespaceIdExist", false) {
            json!(self.naming.has_namespace(&params.or("customNamespaceId", "")))
        } else if params.or("show", "") == "all" {
            self.one_namespace(&params.or("namespaceId", ""))?
        } else {
            json!({ "code": 200, "message": null, "data": self.all_namespaces() })
        };
        Ok(Reply::json(shown.to_string()))
    }

    /// False if the id is no id or taken, as with Nacos.
    pub(super) fn create_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.or("customNamespaceId", "");
        let namespace = named(call, "namespaceName")?;
        let id = if id.is_empty() { random_id().into() } else { id };
        match self.naming.create_namespace(&call.caller(), &id, namespace) {
            Ok(write) => Ok(written(write.map(|outcome| outcome.map(|()| true)))),
            Err(NotMade::NoId | NotMade::Exists) => Ok(Reply::json("false").into()),
            Err(NotMade::TooMany(text)) => Err(ApiError::bad_request(text)),
            Err(NotMade::Refused(error)) => Err(error.into()),
        }
    }

    pub(super) fn update_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.required("namespace")?;
        let namespace = named(call, "namespaceShowName")?;
        Ok(written(self.naming.update_namespace(&call.caller(), &id, namespace)))
    }

    /// Forgets the name. What is registered in the namespace stays.
    pub(super) fn delete_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.required("namespaceId")?;
        let write = self.naming.delete_namespace(&call.caller(), &id);
        Ok(written(write.map(|outcome| outcome.map(|()| true))))
    }

    /// The public namespace, which has no id here, and the named ones by id.
    fn all_namespaces(&self) -> Vec<Value> {
        let named = self.naming.namespaces();
        let named = named.iter().map(|(id, namespace)| shown(id, &namespace.name, 2));
        std::iter::once(shown("", "public", 0)).chain(named).collect()
    }

    fn one_namespace(&self, id: &str) -> Result<Value, ApiError> {
        let (mut object, description) = match self.naming.namespace(id) {
            Some(Namespace { name, description }) => (shown(id, &name, 2), description),
            None if is_public(id) => (shown("", "public", 0), "Public Namespace".into()),
            None => {
                let text = format!("namespace {} is not found!", cut(id, MAX_NAMESPACE_ID));
                return Err(ApiError::not_found(text));
            }
        };
        object["namespaceDesc"] = json!(description);
        Ok(object)
    }
}

/// Something that consoles show, in the envelope of 1.x.
pub(super) fn said(data: &Value) -> Reply {
    Reply::json(json!({ "code": 200, "message": null, "data": data }).to_string())
}

/// Whether it was done, as Nacos says it.
fn written(write: Write<Result<bool, NamingError>>) -> Answer {
    let said = |done: bool| Reply::json(if done { "true" } else { "false" });
    write.map(move |outcome| Reply::from(outcome.map(said).map_err(ApiError::from))).into()
}

fn named(call: &Call<'_>, parameter: &str) -> Result<Namespace, ApiError> {
    let name = call.params.required(parameter)?;
    if name.chars().any(is_unprintable) {
        return Err(ApiError::illegal(parameter, "it has control characters"));
    }
    Ok(Namespace::new(parameter, &name, &call.params.or("namespaceDesc", ""))?)
}

fn shown(id: &str, name: &str, kind: u8) -> Value {
    json!({
        "namespace": id,
        "namespaceShowName": name,
        "quota": QUOTA,
        "configCount": 0,
        "type": kind,
    })
}
