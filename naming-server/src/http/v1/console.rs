//! `/v1/console/*`: health of the process, and the names of namespaces.

use std::hash::{BuildHasher, RandomState};

use hyper::StatusCode;
use naming_model::is_unprintable;
use serde_json::{Value, json};

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{Content, NAMESPACES, Namespace};
use crate::text::cut;

/// Namespaces kept; more are refused.
pub(in crate::http) const MAX_NAMESPACES: usize = 1_000;
/// Bytes of an id.
const MAX_ID: usize = 128;
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
    pub(in crate::http) fn why_no_clients(&self) -> Option<String> {
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
            json!(self.namespace_exists(&params.or("customNamespaceId", "")))
        } else if params.or("show", "") == "all" {
            self.one_namespace(&params.or("namespaceId", ""))?
        } else {
            json!({ "code": 200, "message": null, "data": self.all_namespaces() })
        };
        Ok(Reply::json(shown.to_string()))
    }

    /// False if the id is no id or taken, as with Nacos. Two members that create the same one at
    /// the same moment may both say true; the later name stays.
    pub(super) fn create_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.or("customNamespaceId", "");
        let namespace = named(call, "namespaceName")?;
        let id = if id.is_empty() { random_id().into() } else { id };
        if !is_id(&id) || self.namespace_exists(&id) {
            return Ok(Reply::json("false").into());
        }
        if self.registry.namespaces().len() >= MAX_NAMESPACES {
            let text = format!("the limit of {MAX_NAMESPACES} namespaces is reached");
            return Err(ApiError::bad_request(text));
        }
        let content = Some(Content::Namespace(namespace));
        Ok(self.write_namespace(&id, content))
    }

    pub(super) fn update_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.required("namespace")?;
        let namespace = named(call, "namespaceShowName")?;
        if self.registry.find_namespace(&id).is_none() {
            return Ok(Reply::json("false").into());
        }
        let content = Some(Content::Namespace(namespace));
        Ok(self.write_namespace(&id, content))
    }

    /// Forgets the name. What is registered in the namespace stays.
    pub(super) fn delete_namespace(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let id = call.params.required("namespaceId")?;
        // Of what is unknown no trace must remain.
        if self.registry.find_namespace(&id).is_none() {
            return Ok(Reply::json("true").into());
        }
        Ok(self.write_namespace(&id, None))
    }

    fn write_namespace(&self, id: &str, content: Option<Content>) -> Answer {
        let write = self.writes.write_record(NAMESPACES, id, content);
        write.map(|result| Reply::from(result.map(|()| Reply::json("true")))).into()
    }

    fn namespace_exists(&self, id: &str) -> bool {
        is_public(id) || self.registry.find_namespace(id).is_some()
    }

    /// The public namespace, which has no id here, and the named ones by id.
    fn all_namespaces(&self) -> Vec<Value> {
        let named = self.registry.namespaces();
        let named = named.iter().map(|(id, namespace)| shown(id, &namespace.name, 2));
        std::iter::once(shown("", "public", 0)).chain(named).collect()
    }

    fn one_namespace(&self, id: &str) -> Result<Value, ApiError> {
        let (mut object, description) = match self.registry.find_namespace(id) {
            Some(Namespace { name, description }) => (shown(id, &name, 2), description),
            None if is_public(id) => (shown("", "public", 0), "Public Namespace".into()),
            None => {
                let text = format!("namespace {} is not found!", cut(id, MAX_ID));
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

pub(in crate::http) fn is_public(id: &str) -> bool {
    id.is_empty() || id == naming_model::DEFAULT_NAMESPACE
}

pub(in crate::http) fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(plain)
}

/// An id in the form of a random UUID. It must be unique, not secret.
pub(in crate::http) fn random_id() -> String {
    let (a, b) = (RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(is_id("dev_1-a") && is_id(&random_id()) && random_id() != random_id());
        for bad in ["", "a b", "ä", "a/b", &"a".repeat(129)] {
            assert!(!is_id(bad), "{bad}");
        }
        assert!(is_public("") && is_public("public") && !is_public("dev"));
    }
}
