//! Durable records for a backup, and back from one: what `naming-server export` and
//! `naming-server restore` ask.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::modern::envelope::{data, long_data, written};
use crate::http::modern::error::Fault;
use crate::http::modern::form;
use crate::http::v1::Api;
use crate::http::{Answer, Call};
use crate::naming::Step;
use crate::registry::{Cursor, Item};

/// Steps of one call.
const MOST_STEPS: usize = 2_000;

/// The body of a restoration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Steps {
    steps: Vec<StepForm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepForm {
    item: Item,
    /// Whether the record goes.
    #[serde(default)]
    remove: bool,
    /// Whether nothing checks the health of the instance.
    #[serde(default)]
    by_hand: bool,
}

/// A page of what is durable.
pub(in crate::http::modern) fn backup(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let after = match call.params.optional("after") {
        None => Cursor::default(),
        Some(text) => Cursor::parse(&text)
            .map_err(|_| Fault::illegal("after", "it is not the next of an earlier page"))?,
    };
    let with_accounts = form::flag(call, "accounts")?.unwrap_or(true);
    let _look = api.naming().look_at_all()?;
    let page = api.naming().backup_page(&call.caller(), &after, with_accounts)?;
    let next = page.next.map_or(Value::Null, |next| json!(next.text()));
    // Without authentication there are no users to be restored.
    let takes = api.naming().auth().is_some();
    let items = page.items.join(",");
    let json = format!("{{\"items\":[{items}],\"takesAccounts\":{takes},\"next\":{next}}}");
    Ok(long_data(api, &json, "after")?.never_cached().into())
}

/// Steps of a restoration, with what became of each: null, or why it was not done.
pub(in crate::http::modern) fn restore(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let Steps { steps } = serde_json::from_slice(call.body)
        .map_err(|error| Fault::illegal("body", format_args!("it is no list of steps: {error}")))?;
    if steps.len() > MOST_STEPS {
        let reason = format!("it has more than {MOST_STEPS} steps");
        return Err(Fault::illegal("steps", reason));
    }
    let step = |StepForm { item, remove, by_hand }| Step { item, is_removal: remove, by_hand };
    let steps = steps.into_iter().map(step).collect();
    let write = api.naming().restore(&call.caller(), steps);
    Ok(written(write, |outcomes| {
        Ok(data(&json!(outcomes.into_iter().map(Result::err).collect::<Vec<_>>())))
    }))
}
