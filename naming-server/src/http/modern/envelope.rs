//! The envelope of answers: `{"code":0,"message":"success","data":...}`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::error::Fault;
use crate::http::everywhere::Silent;
use crate::http::v1::Api;
use crate::http::{Answer, MOST_ANSWER_BYTES, Reply};
use crate::registry::Write;

/// What stands before the data.
const OPENING: &str = "{\"code\":0,\"message\":\"success\",\"data\":";

/// The answer to a write that says no more than that it is done.
pub(super) fn done() -> Reply {
    Reply::json("{\"code\":0,\"message\":\"success\",\"data\":\"ok\"}")
}

/// Data in the envelope.
pub(super) fn data(data: &Value) -> Reply {
    Reply::json(format!("{OPENING}{data}}}"))
}

/// Data that may be long, as JSON.
///
/// # Errors
/// 400 if it is longer than one answer may be; `parameter` is what to ask less by. 503 while too
/// many long answers are on their way.
pub(super) fn long_data(api: &Api, json: &str, parameter: &str) -> Result<Reply, Fault> {
    if json.len() > MOST_ANSWER_BYTES {
        let reason =
            format!("the answer would have more than {MOST_ANSWER_BYTES} bytes; ask for less");
        return Err(Fault::illegal(parameter, reason));
    }
    Ok(api.answers.json(format!("{OPENING}{json}}}"))?)
}

/// Data of all members, as JSON, and beside it those whose part is missing.
///
/// # Errors
/// As [`long_data`].
pub(super) fn data_of_members(
    api: &Api,
    json: &str,
    silent: &[Silent],
    parameter: &str,
) -> Result<Reply, Fault> {
    if silent.is_empty() {
        return long_data(api, json, parameter);
    }
    let mut json = json.to_owned();
    // The envelope ends behind it.
    let _ = write!(json, ",\"unanswered\":{}", json!(silent));
    long_data(api, &json, parameter)
}

/// The answer to a write: what `reply` makes of its outcome.
pub(super) fn written<T: Send + 'static, E: Into<Fault> + Send + 'static>(
    write: Write<Result<T, E>>,
    reply: impl FnOnce(T) -> Result<Reply, Fault> + Send + 'static,
) -> Answer {
    write
        .map(move |outcome| match outcome.map_err(E::into).and_then(reply) {
            Ok(reply) => reply,
            Err(fault) => fault.into(),
        })
        .into()
}

/// The answer to a write that says no more than that it is done.
pub(super) fn write_done<T: Send + 'static, E: Into<Fault> + Send + 'static>(
    write: Write<Result<T, E>>,
) -> Answer {
    written(write, |_| Ok(done()))
}
