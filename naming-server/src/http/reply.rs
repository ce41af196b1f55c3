//! What a handler gives back.

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

/// The content types this server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentType {
    /// Plain text.
    Text,
    /// JSON.
    Json,
    /// JSON, announced as servers of Nacos announce it since 2.x.
    PlainJson,
    /// A page for people.
    Html,
    /// A part of such a page: a script, a style sheet, an image.
    Script,
    Style,
    Svg,
    /// The OpenMetrics text format.
    Metrics,
    /// What members say to each other.
    Bytes,
}

impl ContentType {
    /// Checked when this is compiled: the check of a text costs as much as the rest of a header.
    fn header(self) -> HeaderValue {
        static TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
        static JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
        static PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json");
        static HTML: HeaderValue = HeaderValue::from_static("text/html;charset=UTF-8");
        static SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript;charset=UTF-8");
        static STYLE: HeaderValue = HeaderValue::from_static("text/css;charset=UTF-8");
        static SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");
        static METRICS: HeaderValue =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        static BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
        match self {
            Self::Text => TEXT.clone(),
            Self::Json => JSON.clone(),
            Self::PlainJson => PLAIN_JSON.clone(),
            Self::Html => HTML.clone(),
            Self::Script => SCRIPT.clone(),
            Self::Style => STYLE.clone(),
            Self::Svg => SVG.clone(),
            Self::Metrics => METRICS.clone(),
            Self::Bytes => BYTES.clone(),
        }
    }
}

/// A body on its way out: one frame of two pieces.
pub(super) type ReplyBody = Full<Chain<Bytes, Bytes>>;

/// What goes with every page.
const PAGE_HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
];

/// The answer to one request.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) status: StatusCode,
    /// Type of `body`.
    pub(crate) content_type: ContentType,
    /// The body, or all of it before `tail`; shared, not copied.
    pub(crate) body: Bytes,
    /// What follows `body`; mostly nothing. The two leave in one write without being joined.
    pub(crate) tail: Bytes,
    /// More headers; almost always empty, which costs nothing.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    fn new(content_type: ContentType, body: Bytes) -> Self {
        let tail = Bytes::new();
        Self { status: StatusCode::OK, content_type, body, tail, headers: Vec::new() }
    }

    /// 200 `ok`, the answer to most writes.
    pub(crate) fn ok() -> Self {
        Self::new(ContentType::Text, Bytes::from_static(b"ok"))
    }

    /// 200 with a text.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        Self::new(ContentType::Text, body.into())
    }

    /// 200 with JSON that is already written out.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::new(ContentType::Json, body.into())
    }

    /// 200 with JSON of which the greater part is kept somewhere.
    pub(crate) fn json_in_parts(body: Bytes, tail: Bytes) -> Self {
        Self { tail, ..Self::json(body) }
    }

    /// 200 with a page. The caller has escaped what it put in; should that fail, the policy
    /// header keeps a browser from running it. No page of others may frame it, no cache keeps it,
    /// and the pages that it links to do not learn its address.
    pub(crate) fn html(body: impl Into<Bytes>) -> Self {
        let guards = PAGE_HEADERS
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Self { headers: guards.collect(), ..Self::new(ContentType::Html, body.into()) }
    }

    /// 200 with a page or a part of one; what goes with it is the caller's business.
    pub(super) fn part(content_type: ContentType, body: Bytes) -> Self {
        Self::new(content_type, body)
    }

    /// The same answer, which no cache may keep: it holds secrets.
    pub(crate) fn never_cached(self) -> Self {
        self.with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// 200 with metrics in the OpenMetrics text format.
    pub(crate) fn metrics(body: impl Into<Bytes>) -> Self {
        Self::new(ContentType::Metrics, body.into())
    }

    /// 200 with bytes that only members understand.
    pub(crate) fn bytes(body: Bytes) -> Self {
        Self::new(ContentType::Bytes, body)
    }

    /// The same answer, which if it is JSON does not say in which charset.
    pub(crate) fn without_charset(self) -> Self {
        match self.content_type {
            ContentType::Json => Self { content_type: ContentType::PlainJson, ..self },
            _ => self,
        }
    }

    /// The same answer with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same answer with one more header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(Full::new(self.body.chain(self.tail)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.header());
        // Refusals repeat texts of the request: a browser must not take one for a page.
        if self.status != StatusCode::OK {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}
