//! Errors as clients see them.

use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use naming_model::NameError;
use serde_json::json;
use time::OffsetDateTime;

use super::Call;
use super::reply::Reply;

/// A request that failed: the status that says what kind of failure it is and a text that names
/// it. SDKs look for parts of the text, so it is that of Nacos wherever Nacos has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    /// Status of the answer.
    pub(crate) status: StatusCode,
    /// The text, without the `caused: ...;` around it.
    pub(crate) message: String,
}

impl ApiError {
    /// An error of any status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the request can never work as it is.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: the value of a parameter cannot be used; `reason` begins with "it".
    pub(crate) fn illegal(parameter: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_request(format!("Param '{parameter}' is illegal, {reason}"))
    }

    /// 403: not allowed.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: what was asked for does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 408: the rest of the request did not come in time.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, message)
    }

    /// 413: the body is larger than the limit.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 500: our fault. Clients try the next server.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 501: this server does not offer that.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 503: not now. Clients try the next server.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        Self::text(format!("caused: {};", error.message)).with_status(error.status)
    }
}

impl<E: Into<ApiError>> From<Result<Self, E>> for Reply {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(|error| error.into().into())
    }
}

/// The answer to a method and path nobody handles: 501 below `/v1/ns/`, which is what clients of
/// the naming API expect, and 404 elsewhere.
pub(crate) fn no_such_api(call: &Call<'_>) -> Reply {
    if call.under_context && (call.path.starts_with("/v1/ns/") || call.path == "/v1/ns") {
        let message = format!("no such api:{}:{}", call.method, call.uri);
        error_page(call, StatusCode::NOT_IMPLEMENTED, &message)
    } else {
        error_page(call, StatusCode::NOT_FOUND, "No message available")
    }
}

/// An error that is not about a parameter: JSON, or a small page if the caller prefers HTML.
pub(crate) fn error_page(call: &Call<'_>, status: StatusCode, message: &str) -> Reply {
    ErrorPage::of(call).reply(status, message)
}

/// What is to be known of a request to answer it with an [`error_page`] later.
pub(crate) struct ErrorPage {
    uri: String,
    prefers_html: bool,
}

impl ErrorPage {
    /// For this request.
    pub(crate) fn of(call: &Call<'_>) -> Self {
        Self { uri: call.uri.to_owned(), prefers_html: prefers_html(call.headers) }
    }

    /// The page.
    pub(crate) fn reply(&self, status: StatusCode, message: &str) -> Reply {
        let error = status.canonical_reason().unwrap_or("Unknown");
        let reply = if self.prefers_html {
            Reply::html(format!(
                "<!DOCTYPE html><html><head><title>{code} {error}</title></head>\
                 <body><h1>{code} {error}</h1><p>{message}</p></body></html>",
                code = status.as_u16(),
                message = escape_html(message),
            ))
        } else {
            let page = json!({
                "timestamp": rfc3339(OffsetDateTime::now_utc()),
                "status": status.as_u16(),
                "error": error,
                "message": message,
                "path": self.uri,
            });
            Reply::json(page.to_string())
        };
        reply.with_status(status)
    }
}

/// Whether `Accept` ranks HTML above JSON. Wildcards count for JSON, but an explicit mention of
/// HTML comes first among equals.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (mut html, mut json) = ((0.0, usize::MAX), (0.0, usize::MAX));
    for (position, range) in accept.split(',').enumerate() {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
        let quality: f32 = quality.parse().unwrap_or(0.0);
        let best = match media.as_str() {
            "text/html" | "application/xhtml+xml" => &mut html,
            "application/json" => &mut json,
            _ => continue,
        };
        if quality > best.0 {
            *best = (quality, position);
        }
    }
    html.0 > json.0 || html.0 > 0.0 && html.0 >= json.0 && html.1 < json.1
}

/// Makes a text safe between tags and inside quoted attributes.
fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A time as `2026-01-31T23:59:59.123+00:00`.
fn rfc3339(time: OffsetDateTime) -> String {
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, millis) = time.to_hms_milli();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn html_is_for_those_who_prefer_it() {
        let prefers = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            prefers_html(&headers)
        };
        assert!(!prefers_html(&HeaderMap::new()));
        assert!(prefers("text/html"));
        assert!(prefers("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"));
        assert!(prefers("application/json;q=0.5, text/html"));
        assert!(!prefers("application/json, text/html"));
        assert!(!prefers("*/*"));
        assert!(!prefers("text/html;q=0"));
        assert!(!prefers(",;q=,;;text/html"));
    }

    #[test]
    fn times_are_written_as_dates() {
        let at = |millis: i128| {
            rfc3339(OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap())
        };
        assert_eq!(at(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999+00:00");
        assert_eq!(at(951_782_400_007), "2000-02-29T00:00:00.007+00:00");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape_html("<a href='\"&'>"), "&lt;a href=&#39;&quot;&amp;&#39;&gt;");
    }

    #[test]
    fn an_error_wraps_its_text_like_nacos_does() {
        let reply = Reply::from(ApiError::from(NameError::EmptyGroup));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            reply.body,
            "caused: Param 'serviceName' is illegal, groupName can't be empty;".as_bytes()
        );
    }
}
