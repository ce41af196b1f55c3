//! `/v1/console/*`: health of the process, and the names of namespaces.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hyper::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Api, COMPATIBLE_VERSION};
use crate::http::{ApiError, Call, Reply};

/// Namespaces kept; more are refused.
const MAX_NAMESPACES: usize = 1_000;
/// Bytes of an id.
const MAX_ID: usize = 128;
/// Bytes of a name or description.
const MAX_TEXT: usize = 256;
/// Configurations a namespace may hold with Nacos; shown, never used.
const QUOTA: u32 = 200;

/// What people called the namespaces. The registry never looks at it: any namespace id works,
/// with or without a name here.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    named: Mutex<BTreeMap<String, Namespace>>,
}

#[derive(Debug)]
struct Namespace {
    name: String,
    description: String,
}

impl Api {
    pub(super) fn alive(&self) -> Result<Reply, ApiError> {
        Ok(Reply::text("OK"))
    }

    /// Whether clients should be sent here. A member says why not.
    pub(super) fn ready(&self) -> Result<Reply, ApiError> {
        match self.why_not_ready() {
            None => self.alive(),
            Some(reason) => Ok(Reply::text(reason).with_status(StatusCode::SERVICE_UNAVAILABLE)),
        }
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
        let state = json!({
            "version": COMPATIBLE_VERSION,
            "standalone_mode": if self.cluster.is_some() { "cluster" } else { "standalone" },
            "function_mode": "naming",
        });
        Ok(Reply::json(state.to_string()))
    }

    pub(super) fn read_namespaces(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let params = call.params;
        let shown = if params.flag_lenient("checkNamespaceIdExist", false) {
            json!(self.namespaces.exists(&params.or("customNamespaceId", "")))
        } else if params.or("show", "") == "all" {
            self.namespaces.one(&params.or("namespaceId", ""))?
        } else {
            json!({ "code": 200, "message": null, "data": self.namespaces.all() })
        };
        Ok(Reply::json(shown.to_string()))
    }

    pub(super) fn create_namespace(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let id = call.params.or("customNamespaceId", "");
        let namespace = Namespace::from_call(call, "namespaceName")?;
        let created = self.namespaces.create(&id, namespace)?;
        Ok(Reply::json(created.to_string()))
    }

    pub(super) fn update_namespace(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let id = call.params.required("namespace")?;
        let namespace = Namespace::from_call(call, "namespaceShowName")?;
        let updated = self.namespaces.update(&id, namespace);
        Ok(Reply::json(updated.to_string()))
    }

    /// Forgets the name. What is registered in the namespace stays.
    pub(super) fn delete_namespace(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let id = call.params.required("namespaceId")?;
        self.namespaces.named.lock().remove(&*id);
        Ok(Reply::json("true"))
    }
}

impl Namespace {
    fn from_call(call: &Call<'_>, name: &str) -> Result<Self, ApiError> {
        let text = call.params.required(name)?.into_owned();
        let description = call.params.or("namespaceDesc", "").into_owned();
        for (parameter, text) in [(name, &text), ("namespaceDesc", &description)] {
            if text.len() > MAX_TEXT {
                let text = format!("Param '{parameter}' is longer than {MAX_TEXT} bytes");
                return Err(ApiError::bad_request(text));
            }
        }
        Ok(Self { name: text, description })
    }
}

impl Namespaces {
    fn exists(&self, id: &str) -> bool {
        is_public(id) || self.named.lock().contains_key(id)
    }

    /// The public namespace, which has no id here, and the named ones by id.
    fn all(&self) -> Vec<Value> {
        let named = self.named.lock();
        let named = named.iter().map(|(id, namespace)| shown(id, &namespace.name, 2));
        std::iter::once(shown("", "public", 0)).chain(named).collect()
    }

    fn one(&self, id: &str) -> Result<Value, ApiError> {
        let named = self.named.lock();
        let (mut object, description) = match named.get(id) {
            Some(namespace) => (shown(id, &namespace.name, 2), &*namespace.description),
            None if is_public(id) => (shown("", "public", 0), "Public Namespace"),
            None => return Err(ApiError::not_found(format!("namespace {id} is not found!"))),
        };
        object["namespaceDesc"] = json!(description);
        Ok(object)
    }

    /// False if the id is no id or taken, as with Nacos.
    fn create(&self, id: &str, namespace: Namespace) -> Result<bool, ApiError> {
        let id = if id.is_empty() { random_id() } else { id.to_owned() };
        let mut named = self.named.lock();
        if !is_id(&id) || is_public(&id) || named.contains_key(&id) {
            return Ok(false);
        }
        if named.len() >= MAX_NAMESPACES {
            let text = format!("the limit of {MAX_NAMESPACES} namespaces is reached");
            return Err(ApiError::bad_request(text));
        }
        named.insert(id, namespace);
        Ok(true)
    }

    fn update(&self, id: &str, namespace: Namespace) -> bool {
        self.named.lock().get_mut(id).map(|known| *known = namespace).is_some()
    }
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

fn is_public(id: &str) -> bool {
    id.is_empty() || id == naming_model::DEFAULT_NAMESPACE
}

fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(plain)
}

/// An id in the form of a random UUID. It must be unique, not secret.
fn random_id() -> String {
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

    fn namespace() -> Namespace {
        Namespace { name: "n".to_owned(), description: String::new() }
    }

    #[test]
    fn ids_are_checked_and_taken_once() {
        let namespaces = Namespaces::default();
        assert!(namespaces.create("dev_1-a", namespace()).unwrap());
        for bad in ["dev_1-a", "public", "a b", "ä", "a/b", &"a".repeat(129)] {
            assert!(!namespaces.create(bad, namespace()).unwrap(), "{bad}");
        }
        assert!(namespaces.exists("dev_1-a") && namespaces.exists("") && !namespaces.exists("x"));
    }

    #[test]
    fn there_is_a_limit() {
        let namespaces = Namespaces::default();
        for _ in 0..MAX_NAMESPACES {
            assert!(namespaces.create("", namespace()).unwrap());
        }
        let error = namespaces.create("one-more", namespace()).unwrap_err();
        assert!(error.message.contains("1000"), "{}", error.message);
        assert_eq!(namespaces.all().len(), MAX_NAMESPACES + 1);
    }
}
