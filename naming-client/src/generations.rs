//! Calls that each generation of servers has at another place.

use hyper::Method;
use naming_http::Form;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::{Call, Core};
use crate::error::{Error, Failure};

/// One place of a call, and what is sent there.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) params: Form,
}

impl Place {
    pub(crate) fn new(method: Method, path: &'static str, params: Form) -> Self {
        Self { method, path, params }
    }
}

/// Makes the call at the first place that the servers know. `read` is told the path.
///
/// # Errors
/// Those of the last place if none is known, and otherwise those of the one that is.
pub(crate) async fn call_first<T>(
    core: &Core,
    places: Vec<Place>,
    is_repeatable: bool,
    read: impl Fn(&str, &[u8]) -> Result<T, String>,
) -> Result<T, Error> {
    let mut last = Error::Request("the call has no place".to_owned());
    for Place { method, path, params } in places {
        let mut call = Call::new(method, path, params);
        (call.repeatable, call.patient) = (is_repeatable, false);
        match core.call(&call, |body| read(path, body)).await {
            Ok(answer) => return Ok(answer.value),
            Err(error) if is_unknown(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Whether the servers have no such call.
fn is_unknown(error: &Error) -> bool {
    let says_so = |status: u16| matches!(status, 404 | 405 | 410 | 501);
    match error {
        Error::Refused { status, .. } => says_so(*status) && !error.is_not_found(),
        Error::NoServer { attempts } => {
            !attempts.is_empty()
                && !error.is_not_found()
                && attempts.iter().all(|attempt| match &attempt.failure {
                    Failure::Status { status, .. } => says_so(*status),
                    _ => false,
                })
        }
        _ => false,
    }
}

/// The `data` of an answer of 2.x or 3.x, or the whole answer of one of 1.x.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn data<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let data = match value {
        Value::Object(mut fields) if fields.contains_key("data") => {
            match fields.get("code").and_then(Value::as_i64) {
                None | Some(0 | 200) => fields.remove("data").unwrap_or_default(),
                Some(code) => return Err(format!("code {code}: {}", fields["data"])),
            }
        }
        other => other,
    };
    serde_json::from_value(data).map_err(|error| error.to_string())
}

/// For answers that say nothing but that it is done.
///
/// # Errors
/// They say something else.
pub(crate) fn done(body: &[u8]) -> Result<(), String> {
    let text = body.trim_ascii();
    if text == b"ok" || text == b"true" {
        return Ok(());
    }
    match data::<Value>(text)? {
        Value::Bool(false) => Err("the server says false".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_generations_are_read() {
        let names = |text: &str| data::<Vec<String>>(text.as_bytes());
        assert_eq!(names(r#"["a"]"#).unwrap(), ["a"]);
        assert_eq!(names(r#"{"code":0,"message":"success","data":["a"]}"#).unwrap(), ["a"]);
        assert_eq!(names(r#"{"code":200,"message":null,"data":["a"]}"#).unwrap(), ["a"]);
        assert!(names(r#"{"code":22001,"data":"no"}"#).unwrap_err().contains("22001"));
        assert!(names("<html>").is_err());
        assert!(done(b"ok").is_ok() && done(b"true").is_ok());
        assert!(done(br#"{"code":0,"message":"success","data":true}"#).is_ok());
        assert!(done(b"false").is_err() && done(br#"{"code":200,"data":false}"#).is_err());
    }
}
