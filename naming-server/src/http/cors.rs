//! Requests that a page in a browser sends, and the headers that let pages of other origins read
//! the answer.
//!
//! A visitor's browser reaches servers that the author of a page does not. So only the server's own
//! pages, and those that the operator lists, may write or read. A browser names the origin of the
//! page in every request but plain GETs and HEADs.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName, HeaderValue, ORIGIN, USER_AGENT, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::reply::ReplyBody;
use super::{AllowedOrigins, ApiError, Reply};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What every browser's `User-Agent` begins with, and no SDK's.
const BROWSER: &[u8] = b"Mozilla/";

/// What an answer says about the origins that may read it.
pub(super) enum Cors {
    /// Nothing: no origin but the server's own may.
    Silent,
    /// Nothing to this sender, but others get another answer: no cache may mix them up.
    Varies,
    /// This origin may.
    Allows(HeaderValue),
}

impl Cors {
    /// For the answer to a request.
    pub(super) fn of(headers: &HeaderMap, allowed: &AllowedOrigins) -> Self {
        if allowed.is_empty() {
            return Self::Silent;
        }
        match headers.get(ORIGIN).filter(|origin| allowed.contains(origin.as_bytes())) {
            Some(origin) => Self::Allows(origin.clone()),
            None => Self::Varies,
        }
    }

    /// The response to send.
    pub(super) fn dress(self, reply: Reply) -> Response<ReplyBody> {
        let mut response = reply.into_response();
        let headers = response.headers_mut();
        if let Self::Allows(origin) = &self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if !matches!(self, Self::Silent) {
            headers.insert(VARY, HeaderValue::from_static("Origin"));
        }
        response
    }
}

/// The answer to what a browser asks before it sends a write of another origin, and to such a
/// write; `None` for all else.
pub(super) fn answer(parts: &Parts, allowed: &AllowedOrigins) -> Option<Response<ReplyBody>> {
    let headers = &parts.headers;
    let origin = headers.get(ORIGIN)?;
    let is_listed = allowed.contains(origin.as_bytes());
    let asks = parts.method == Method::OPTIONS;
    if asks && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return Some(match is_listed || is_own(origin, headers) {
            true => preflight(headers, allowed),
            false => {
                let refusal = Reply::text("Invalid CORS request");
                refusal.with_status(StatusCode::FORBIDDEN).into_response()
            }
        });
    }
    let is_welcome = parts.method.is_safe() || is_listed || is_own(origin, headers);
    (!is_welcome).then(|| {
        let error = "a page of another origin may not write here, see http.allowed_origins";
        Reply::from(ApiError::forbidden(error)).into_response()
    })
}

/// Whether a request is one that the page of another origin may have made a browser send without
/// naming that origin, as a link or an image: a plain GET. Browsers that say nothing about the page
/// count, too.
pub(crate) fn may_be_of_foreign_page(headers: &HeaderMap) -> bool {
    if let Some(origin) = headers.get(ORIGIN) {
        return !is_own(origin, headers);
    }
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(BROWSER)),
    }
}

/// Whether a page came from this server. Which of `http` and `https` the visitor used is known to a
/// proxy in between only.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    let host = headers.get(HOST).map(HeaderValue::as_bytes).filter(|host| !host.is_empty());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// Yes to everything for 18,000 seconds, as Nacos.
fn preflight(asked: &HeaderMap, allowed: &AllowedOrigins) -> Response<ReplyBody> {
    let mut response = Cors::of(asked, allowed).dress(Reply::text(""));
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("18000"));
    let echoes = [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ];
    for (request, allow) in echoes {
        if let Some(value) = asked.get(request) {
            headers.insert(allow, value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_page_is_the_servers_own_if_it_came_from_where_the_request_goes() {
        let is_own = |origin, host| {
            let headers = headers(&[("origin", origin), ("host", host)]);
            is_own(&headers[ORIGIN], &headers)
        };
        assert!(is_own("http://10.0.0.1:8848", "10.0.0.1:8848"));
        assert!(is_own("https://registry.example", "Registry.Example"));
        for (origin, host) in [
            ("http://10.0.0.1:8849", "10.0.0.1:8848"),
            ("http://10.0.0.1", "10.0.0.1:8848"),
            ("http://evil.example", "10.0.0.1:8848"),
            ("http://10.0.0.1:8848.evil.example", "10.0.0.1:8848"),
            ("file://10.0.0.1:8848", "10.0.0.1:8848"),
            ("null", "null"),
            ("http://", ""),
        ] {
            assert!(!is_own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn a_get_of_a_browser_is_believed_if_the_browser_says_whose_it_is() {
        let foreign = |pairs: &[_]| may_be_of_foreign_page(&headers(pairs));
        let mozilla = ("user-agent", "Mozilla/5.0 (X11)");
        assert!(!foreign(&[]));
        assert!(!foreign(&[("user-agent", "Nacos-Java-Client:v1.4.8")]));
        assert!(foreign(&[mozilla]));
        assert!(foreign(&[mozilla, ("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[mozilla, ("sec-fetch-site", "same-site")]));
        assert!(!foreign(&[mozilla, ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[mozilla, ("sec-fetch-site", "none")]));
        assert!(foreign(&[("origin", "http://evil.example"), ("host", "h")]));
        assert!(!foreign(&[mozilla, ("origin", "http://h"), ("host", "h")]));
    }
}
