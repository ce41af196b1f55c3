//! The APIs of Nacos 2.x and 3.x: `/v2/*`, `/v3/*`, the probes and the pages for Prometheus.
//!
//! ```text
//! Front::handle -> find (rows) -> gate -> admit (rights) -> handler -> envelope
//! ```
//!
//! One row stands for each kind of request ([`table`]); a handler reads a typed form, calls the
//! same use cases as the 1.x API, and formats. Gate, rights, audit and counts are those of
//! [`v1`](super::v1).

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;

use super::v1::{Admission, Api, Right, Route, Write, entries, note_refusal};
use super::{Answer, Call, ErrorPage, Reply, no_such_api};
use crate::naming::Clearance;

mod accounts;
mod actuator;
mod clients;
mod clients_of_service;
mod envelope;
mod error;
mod form;
mod instance;
mod list;
mod members;
mod namespaces;
mod openapi;
mod operator;
mod own;
mod ports;
mod probes;
mod prometheus;
mod rows_auth;
mod rows_own;
mod rows_v2;
mod rows_v3;
mod service;
mod service_list;
mod shape;
mod table;

use error::{Code, Fault};
pub(crate) use ports::{ConsolePort, Front};
use table::{Class, Gate, Handler, Row};

/// Where the rows for the paths below the context path stand, and those of the console port.
static MAIN: LazyLock<Table> =
    LazyLock::new(|| Table::of(&[rows_v2::ROWS, rows_v3::ROWS, rows_auth::ROWS, rows_own::ROWS]));
static CONSOLE: LazyLock<Table> =
    LazyLock::new(|| Table::of(&[rows_v3::CONSOLE_ROWS, rows_auth::ROWS, rows_own::ROWS]));

/// Rows by path.
struct Table {
    exact: HashMap<&'static str, Vec<Numbered>>,
    /// Those for all paths below one.
    below: Vec<Numbered>,
}

/// A row with its place among all.
#[derive(Clone, Copy)]
struct Numbered {
    row: &'static Row,
    number: usize,
}

/// All rows, in the order of their numbers.
fn all_rows() -> impl Iterator<Item = &'static Row> {
    let lists =
        [rows_v2::ROWS, rows_v3::ROWS, rows_v3::CONSOLE_ROWS, rows_auth::ROWS, rows_own::ROWS];
    lists.into_iter().flatten()
}

/// Method and path of each row, in the order of their numbers.
pub(crate) fn rows() -> Vec<(&'static str, &'static str)> {
    all_rows().map(|row| (row.method, row.path)).collect()
}

/// The OpenAPI document of everything that is served, as JSON; made once.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| openapi::document(described()).to_string().into());

/// The OpenAPI document.
fn api_document(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(Reply::json(DOCUMENT.clone()).into())
}

/// All rows of all APIs as the document shows them.
fn described() -> impl Iterator<Item = openapi::Described> {
    let of_console = |row: &Row| rows_v3::CONSOLE_ROWS.iter().any(|other| std::ptr::eq(other, row));
    let modern = all_rows().map(move |row| openapi::Described {
        method: row.method,
        path: row.path.to_owned(),
        is_open: row.right() == Right::Open,
        is_write: matches!(row.class, Class::Write(..) | Class::OpenWrite(_)),
        action: row.action(),
        is_of_console: of_console(row),
        tag: match row.path.get(..3) {
            Some("/v2") => "2.x",
            Some("/v3") => "3.x",
            _ => "pages",
        },
    });
    let first = entries().map(|entry| openapi::Described {
        method: entry.method,
        path: entry.path,
        is_open: entry.is_open,
        is_write: entry.is_write,
        action: entry.action,
        is_of_console: false,
        tag: "1.x",
    });
    modern.chain(first)
}

/// What is at a path.
enum Found {
    Row(Numbered),
    /// The path is known, but not with this method.
    OtherMethod,
    Nothing,
}

impl Table {
    fn of(lists: &[&'static [Row]]) -> Self {
        let mut exact: HashMap<_, Vec<Numbered>> = HashMap::new();
        let mut below = Vec::new();
        for row in lists.iter().copied().flatten() {
            let number = all_rows().position(|other| std::ptr::eq(other, row));
            let numbered = Numbered { row, number: number.unwrap_or(usize::MAX) };
            match row.path.ends_with("/*") {
                true => below.push(numbered),
                false => exact.entry(row.path).or_default().push(numbered),
            }
        }
        Self { exact, below }
    }

    fn find(&self, method: &str, path: &str) -> Found {
        // Load balancers probe with HEAD. The answer is that to GET; the shell leaves its body out.
        let method = if method == "HEAD" { "GET" } else { method };
        let is_below = |row: &&Numbered| {
            let prefix = row.row.path.trim_end_matches('*');
            path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
        };
        let mut at_path = false;
        let exact = self.exact.get(path).into_iter().flatten();
        for row in exact.chain(self.below.iter().filter(is_below)) {
            if row.row.method == method || row.row.method == "*" {
                return Found::Row(*row);
            }
            at_path = true;
        }
        if at_path { Found::OtherMethod } else { Found::Nothing }
    }
}

/// The answer to a request below the context path; `None` if it is to another API.
fn handle(api: &Api, call: &Call<'_>) -> Option<Answer> {
    if !call.under_context || !is_modern(call.path) {
        return None;
    }
    Some(answer(api, call, MAIN.find(call.method.as_str(), call.path)))
}

/// The answer to a request to the console port.
fn handle_console(api: &Api, call: &Call<'_>) -> Answer {
    answer(api, call, CONSOLE.find(call.method.as_str(), call.path))
}

/// Whether a path is one of these APIs. Tells the paths of 1.x at their second letters.
fn is_modern(path: &str) -> bool {
    match path.as_bytes() {
        [b'/', b'v', version, b'/', ..] => matches!(version, b'2' | b'3'),
        _ => ["/prometheus", "/actuator/prometheus"].iter().any(|known| {
            path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
    }
}

fn answer(api: &Api, call: &Call<'_>, found: Found) -> Answer {
    let started = Instant::now();
    // What has no row counts with what has no route.
    let unknown = Route::ALL.len();
    let Numbered { row, number } = match found {
        Found::Row(row) => row,
        Found::OtherMethod => {
            let message = format!("Request method '{}' is not supported", call.method);
            let page = ErrorPage::of(call).reply(StatusCode::METHOD_NOT_ALLOWED, &message);
            return api.note_answer(unknown, None, None, page.into());
        }
        Found::Nothing => return api.note_answer(unknown, None, None, no_such_api(call).into()),
    };
    let mut change = row.action().map(|action| api.watch(action, call));
    let answer = match gate(api, row, call) {
        Err(fault) => {
            let refusal = Reply::from(fault);
            if let Some(change) = change.take() {
                note_refusal(change, &refusal);
            }
            refusal.into()
        }
        Ok(clearance) => {
            let clearance = change.iter().fold(clearance, |kept, change| change.clear(kept));
            let call = &Call { clearance, ..*call };
            let is_login = row.path == rows_auth::LOGIN;
            let admission = Admission {
                right: row.right(),
                // A log-in is about the user that it names.
                is_proved: !is_login && api.has_identity(call.headers),
                changes_by_get: row.changes_by_get(),
                is_login,
            };
            let handle = |call: &Call<'_>| {
                shared(api, row, call).unwrap_or_else(|| carry_out(api, row.handler, call))
            };
            api.admit_to(admission, call, change.as_mut(), handle)
        }
    };
    let answer = match answer {
        Answer::Now(reply) => Answer::Now(reply.without_charset()),
        Answer::Later(later) => {
            Answer::Later(Box::pin(async move { later.await.without_charset() }))
        }
        again => again,
    };
    api.note_answer(unknown + 1 + number, Some(started), change, answer)
}

fn carry_out(api: &Api, handler: Handler, call: &Call<'_>) -> Answer {
    handler(api, call).unwrap_or_else(Answer::from)
}

/// The answer to a write of an instance that is for a Java server of 2.x.
fn shared(api: &Api, row: &Row, call: &Call<'_>) -> Option<Answer> {
    let write = match (row.method, row.path) {
        ("PUT", "/v2/ns/instance/beat") => Write::Beat,
        ("POST", "/v2/ns/instance" | "/v3/client/ns/instance") => Write::Register,
        ("DELETE", "/v2/ns/instance" | "/v3/client/ns/instance") => Write::Deregister,
        ("PUT" | "PATCH", "/v2/ns/instance") => Write::Set,
        _ => return None,
    };
    let handler = row.handler;
    api.share(write, call, move |api, call| carry_out(api, handler, call))
}

/// What a request has that may pass, or its refusal.
fn gate(api: &Api, row: &Row, call: &Call<'_>) -> Result<Clearance, Fault> {
    let asks_registry = match row.gate {
        Gate::None => return Ok(call.clearance),
        Gate::Status => false,
        Gate::Registry => true,
    };
    let passed = api.pass(asks_registry, call);
    passed.map_err(|(status, text)| Fault::new(status, Code::ServerError, text))
}

#[cfg(test)]
mod tests;
