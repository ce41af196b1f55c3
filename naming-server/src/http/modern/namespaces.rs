//! Names of namespaces: `/v2/console/namespace`, `/v3/admin/core/namespace`,
//! `/v3/console/core/namespace`.
//!
//! The registry never looks at them: any namespace id works, with or without a name.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::envelope::{data, written};
use super::error::{Code, Fault};
use super::form;
use crate::http::v1::Api;
use crate::http::{Answer, Call};
use crate::naming::{MAX_NAMESPACE_ID, NotMade, is_public, random_id};
use crate::registry::Namespace;
use crate::text::cut;

/// Configurations a namespace may hold with Nacos; shown, never used.
const QUOTA: u32 = 200;

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
        let named = api.naming().namespaces();
        let named = named.iter().map(|(id, namespace)| self.shown(id, namespace));
        let all: Vec<Value> = std::iter::once(self.public()).chain(named).collect();
        data(&json!(all)).into()
    }

    fn detail(self, api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
        let id = given_id(call, "namespaceId")?;
        if is_public(&id) {
            return Ok(data(&self.public()).into());
        }
        let namespace = api.naming().namespace(&id).ok_or_else(|| unknown(&id))?;
        Ok(data(&self.shown(&id, &namespace)).into())
    }

    fn create(self, api: &Api, call: &Call<'_>, id: &str) -> Result<Answer, Fault> {
        let namespace = named(call)?;
        match api.naming().create_namespace(&call.caller(), id, namespace) {
            Ok(write) => Ok(written(write, |()| Ok(data(&json!(true))))),
            Err(NotMade::NoId) => {
                let reason = "Param 'namespaceId' is illegal, it has other characters than \
                              0-9a-zA-Z-_ or is too long";
                Err(Fault::bad(Code::Namespace, reason))
            }
            Err(NotMade::Exists) => {
                Err(Fault::bad(self.exists, format!("namespaceId [{id}] already exist")))
            }
            Err(NotMade::TooMany(reason)) => Err(Fault::bad(Code::Namespace, reason)),
            Err(NotMade::Refused(error)) => Err(error.into()),
        }
    }
}

fn unknown(id: &str) -> Fault {
    let reason = format!("namespaceId [{}] not exist", cut(id, MAX_NAMESPACE_ID));
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
    let write = api.naming().update_namespace(&call.caller(), &id, named(call)?);
    let id = id.into_owned();
    let reply = move |was_there| match was_there {
        true => Ok(data(&json!(true))),
        false => Err(unknown(&id)),
    };
    Ok(written(write, reply))
}

/// Forgets the name; what is registered in the namespace stays. One that has no name is as good as
/// forgotten.
pub(super) fn delete(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "namespaceId")?;
    let write = api.naming().delete_namespace(&call.caller(), &id);
    Ok(written(write, |()| Ok(data(&json!(true)))))
}

/// How many have this id.
pub(super) fn check(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "namespaceId")?;
    let exists = api.naming().has_namespace(&id);
    Ok(data(&json!(u8::from(exists))).into())
}

/// Whether one has this id.
pub(super) fn exists(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = call.params.or("customNamespaceId", "");
    let exists = !id.is_empty() && api.naming().has_namespace(&id);
    Ok(data(&json!(exists)).into())
}
