//! Names of namespaces: `/v2/console/namespace`, `/v3/admin/core/namespace`,
//! `/v3/console/core/namespace`.
//!
//! The registry never looks at them: any namespace id works, with or without a name.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::envelope::{data, written};
use super::error::{Code, Fault};
use super::form;
use crate::http::v1::{Api, MAX_NAMESPACES, is_id, is_public, random_id};
use crate::http::{Answer, Call};
use crate::registry::{Content, NAMESPACES, Namespace};
use crate::text::cut;

/// Configurations a namespace may hold with Nacos; shown, never used.
const QUOTA: u32 = 200;
/// Bytes of an id that are shown.
const MAX_SHOWN: usize = 128;

/// How a version names and shows namespaces.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// The id of the public namespace.
    public: &'static str,
    /// The type of all others.
    kind: u8,
    /// The number for one that exists already.
    exists: Code,
}

const V2: Shape = Shape { public: "", kind: 2, exists: Code::Namespace };
const V3: Shape = Shape { public: "public", kind: 1, exists: Code::NamespaceExists };

impl Shape {
    fn shown(self, id: &str, namespace: &Namespace) -> Value {
        let description = &*namespace.description;
        json!({
            "namespace": id,
            "namespaceShowName": &*namespace.name,
            "namespaceDesc": Some(description).filter(|text| !text.is_empty()),
            "quota": QUOTA,
            "configCount": 0,
            "type": self.kind,
        })
    }

    fn public(self) -> Value {
        json!({
            "namespace": self.public,
            "namespaceShowName": "public",
            "namespaceDesc": "Default Namespace",
            "quota": QUOTA,
            "configCount": 0,
            "type": 0,
        })
    }

    fn list(self, api: &Api) -> Answer {
        let named = api.registry.namespaces();
        let named = named.iter().map(|(id, namespace)| self.shown(id, namespace));
        let all: Vec<Value> = std::iter::once(self.public()).chain(named).collect();
        data(&json!(all)).into()
    }

    fn detail(self, api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
        let id = given_id(call, "namespaceId")?;
        if is_public(&id) {
            return Ok(data(&self.public()).into());
        }
        let namespace = api.registry.find_namespace(&id).ok_or_else(|| unknown(&id))?;
        Ok(data(&self.shown(&id, &namespace)).into())
    }

    fn create(self, api: &Api, call: &Call<'_>, id: &str) -> Result<Answer, Fault> {
        let namespace = named(call)?;
        if !is_id(id) {
            let reason = "Param 'namespaceId' is illegal, it has other characters than 0-9a-zA-Z-_ \
                          or is too long";
            return Err(Fault::bad(Code::Namespace, reason));
        }
        if is_public(id) || api.registry.find_namespace(id).is_some() {
            let reason = format!("namespaceId [{id}] already exist");
            return Err(Fault::bad(self.exists, reason));
        }
        if api.registry.namespaces().len() >= MAX_NAMESPACES {
            let reason = format!("the limit of {MAX_NAMESPACES} namespaces is reached");
            return Err(Fault::bad(Code::Namespace, reason));
        }
        Ok(write(api, id, Some(Content::Namespace(namespace))))
    }
}

fn unknown(id: &str) -> Fault {
    let reason = format!("namespaceId [{}] not exist", cut(id, MAX_SHOWN));
    Fault::new(StatusCode::NOT_FOUND, Code::NoNamespace, reason)
}

/// An id that must be given, but may be empty: that is the public namespace.
fn given_id(call: &Call<'_>, name: &str) -> Result<String, Fault> {
    let id = call.params.raw(name).ok_or_else(|| Fault::missing(name))?;
    Ok(id.trim().to_owned())
}

fn named(call: &Call<'_>) -> Result<Namespace, Fault> {
    let name = form::required(call, "namespaceName")?;
    let description = call.params.or("namespaceDesc", "");
    form::check_shown("namespaceName", &name, Code::Namespace)?;
    let namespace = Namespace::new("namespaceName", &name, &description);
    namespace.map_err(|error| Fault::from(error).numbered(Code::Namespace))
}

fn write(api: &Api, id: &str, content: Option<Content>) -> Answer {
    written(api.writes().write_record(NAMESPACES, id, content), |()| Ok(data(&json!(true))))
}

/// All, as 2.x shows them.
pub(super) fn list(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(V2.list(api))
}

/// All, as 3.x shows them.
pub(super) fn admin_list(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(V3.list(api))
}

/// One, as 2.x shows it.
pub(super) fn detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    V2.detail(api, call)
}

/// One, as 3.x shows it.
pub(super) fn admin_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    V3.detail(api, call)
}

/// Makes one over 2.x.
pub(super) fn create(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    V2.create(api, call, &form::required(call, "namespaceId")?)
}

/// Makes one over 3.x.
pub(super) fn admin_create(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    V3.create(api, call, &form::required(call, "namespaceId")?)
}

/// Makes one for the console, which may leave the id to the server.
pub(super) fn console_create(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    match call.params.optional("customNamespaceId") {
        Some(id) => V3.create(api, call, &id),
        None => V3.create(api, call, &random_id()),
    }
}

/// Names one anew.
pub(super) fn update(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "namespaceId")?;
    let namespace = named(call)?;
    if api.registry.find_namespace(&id).is_none() {
        return Err(unknown(&id));
    }
    Ok(write(api, &id, Some(Content::Namespace(namespace))))
}

/// Forgets the name; what is registered in the namespace stays. One that has no name is as good as
/// forgotten.
pub(super) fn delete(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "namespaceId")?;
    // Of what is unknown no trace must remain.
    if api.registry.find_namespace(&id).is_none() {
        return Ok(data(&json!(true)).into());
    }
    Ok(write(api, &id, None))
}

/// How many have this id.
pub(super) fn check(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "namespaceId")?;
    let exists = is_public(&id) || api.registry.find_namespace(&id).is_some();
    Ok(data(&json!(u8::from(exists))).into())
}

/// Whether one has this id.
pub(super) fn exists(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = call.params.or("customNamespaceId", "");
    let exists = !id.is_empty() && (is_public(&id) || api.registry.find_namespace(&id).is_some());
    Ok(data(&json!(exists)).into())
}
