//! The document, from descriptions of rows.

use serde_json::{Map, Value, json};

use super::parameters::{Kind, Parameter, of};

/// What the document says of one row.
#[derive(Debug, Clone)]
pub(in crate::http::modern) struct Described {
    /// `*` for any.
    pub(in crate::http::modern) method: &'static str,
    /// Below the context path; `*` at the end for all below.
    pub(in crate::http::modern) path: String,
    /// Whether the sender must prove who it is while authentication is on.
    pub(in crate::http::modern) is_open: bool,
    pub(in crate::http::modern) is_write: bool,
    /// The name under which it is taken down, if it is.
    pub(in crate::http::modern) action: Option<&'static str>,
    /// Whether only the port for consoles answers it.
    pub(in crate::http::modern) is_of_console: bool,
    /// Of which API it is.
    pub(in crate::http::modern) tag: &'static str,
}

/// Requests of 2.x and 3.x whose answers have no envelope: a method and a path, or a path for all.
const BARE: &[(&str, &str)] = &[
    ("PATCH", "/v2/ns/instance"),
    ("PUT", "/v2/ns/instance/beat"),
    ("*", "/v2/ns/instance/statuses/*"),
    ("*", "/v2/core/loader/current"),
    ("*", "/v2/core/loader/cluster"),
    ("*", "/v2/core/loader/reloadCurrent"),
    ("*", "/v2/core/loader/reloadClient"),
    ("*", "/v2/core/loader/smartReloadCluster"),
    ("*", "/v3/auth/user/login"),
    ("*", "/v3/console/server/state"),
    ("*", "/v3/console/server/announcement"),
    ("*", "/v3/console/server/guide"),
    ("*", "/v3/openapi.json"),
];

/// Whether all answers to a request, but those that refuse its sender, have the envelope.
fn has_envelope(row: &Described, method: &str) -> bool {
    let is_bare = |(of, path): &(&str, &str)| *path == row.path && (*of == "*" || *of == method);
    row.tag != "1.x" && row.tag != "pages" && !BARE.iter().any(is_bare)
}

/// Methods that a row for any method is shown with.
const ANY: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// The OpenAPI document about these rows, whose paths stand below the context path.
pub(in crate::http::modern) fn document(rows: impl Iterator<Item = Described>) -> Value {
    let mut paths = Map::new();
    for row in rows {
        let methods = if row.method == "*" { &ANY[..] } else { std::slice::from_ref(&row.method) };
        let item = paths.entry(templated(&row.path)).or_insert_with(|| json!({}));
        if row.is_of_console {
            item["servers"] = json!([{ "url": "/", "description": "console.port" }]);
        } else if let Some(item) = item.as_object_mut() {
            // The page of consoles is on the main port, too, and that comes last.
            item.remove("servers");
        }
        for method in methods {
            item[method.to_lowercase()] = operation(&row, method);
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "naming-server",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "see LICENSE" },
            "description": "Parameters may come in the query or in a form body; here they stand in \
                            the query. Answers of 2.x and 3.x are {\"code\":0,\"message\":\"success\",\
                            \"data\":...}; docs/http-api-2x.md tells what is in data.",
        },
        "servers": [{ "url": "/nacos", "description": "the context path (context_path)" }],
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "accessToken": { "type": "apiKey", "in": "header", "name": "accessToken" },
            },
            "schemas": { "Envelope": envelope() },
        },
        "paths": paths,
    })
}

fn envelope() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "integer", "description": "0, or why the request is refused" },
            "message": { "type": "string" },
            "data": {},
        },
    })
}

/// What may follow an open-ended path is a parameter of it.
fn templated(path: &str) -> String {
    path.strip_suffix('*').map_or_else(|| path.to_owned(), |begin| format!("{begin}{{rest}}"))
}

fn operation(row: &Described, method: &str) -> Value {
    let mut parameters: Vec<Value> = of(row.method, &row.path).into_iter().map(parameter).collect();
    if row.path.ends_with('*') {
        parameters.push(json!({
            "name": "rest", "in": "path", "required": true, "schema": { "type": "string" },
        }));
    }
    let name = |text: &str| {
        let words =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("_")
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "done" }));
    for (status, text) in [
        ("400", "the request can never work as it is; the text names the parameter"),
        ("403", "no right to it"),
        ("404", "there is no such thing"),
        ("409", "it is there already"),
        ("501", "not offered"),
        ("503", "not now"),
    ] {
        responses.insert(status.to_owned(), json!({ "description": text }));
    }
    if has_envelope(row, method) {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Envelope" } } });
        for status in ["200", "400", "404", "409", "501"] {
            responses[status]["content"] = content.clone();
        }
    }
    let mut operation = json!({
        "operationId": format!("{}_{}", method.to_lowercase(), name(&row.path)),
        "tags": [row.tag],
        "parameters": parameters,
        "responses": responses,
    });
    if row.is_write {
        operation["x-changes-something"] = json!(true);
    }
    if let Some(action) = row.action {
        operation["x-audit"] = json!(action);
    }
    if !row.is_open {
        operation["security"] = json!([{ "bearer": [] }, { "accessToken": [] }]);
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Whole => json!({ "type": "integer" }),
        Kind::Port => json!({ "type": "integer", "minimum": 0, "maximum": 65_535 }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Flag => json!({ "type": "boolean" }),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "schema": schema,
        "example": parameter.example,
    })
}
