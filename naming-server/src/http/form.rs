//! Bodies that hold parameters: `application/x-www-form-urlencoded`, and `multipart/form-data`,
//! which is written anew in the first form, so that all routes read one.

use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use multer::Multipart;

use super::error::ApiError;
use super::params::MAX_PAIRS;
use crate::text::cut;

/// Bytes of a name that is shown in an error.
const MAX_SHOWN: usize = 64;

/// A request's body, read whole.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether the bytes are parameters in the form of a query.
    pub(super) is_form: bool,
}

impl Body {
    /// Of a request with these bytes; its form has `limit` bytes at most.
    ///
    /// # Errors
    /// 400 for a form of parts that is broken, has too many parts, a part without a name, or a
    /// file; 413 if it is larger than the limit as a form of the other kind.
    pub(super) async fn of(parts: &Parts, bytes: Bytes, limit: usize) -> Result<Self, ApiError> {
        match Kind::of(parts) {
            Kind::Other => Ok(Self { bytes, is_form: false }),
            Kind::Encoded => Ok(Self { bytes, is_form: true }),
            Kind::OfParts(content_type) => {
                let text = content_type.to_str().unwrap_or_default();
                let boundary = multer::parse_boundary(text).map_err(broken)?;
                let bytes = encode_parts(bytes, boundary, limit).await?;
                Ok(Self { bytes, is_form: true })
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Other,
    Encoded,
    OfParts(&'a HeaderValue),
}

impl<'a> Kind<'a> {
    /// A body holds parameters if it is that of a write that says so. A body without a content type
    /// is not guessed at, no client sends one.
    fn of(parts: &'a Parts) -> Self {
        if !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            return Self::Other;
        }
        let Some(content_type) = parts.headers.get(CONTENT_TYPE) else { return Self::Other };
        let media = content_type.as_bytes().split(|byte| *byte == b';').next();
        let media = media.unwrap_or_default().trim_ascii();
        if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Self::Encoded
        } else if media.eq_ignore_ascii_case(b"multipart/form-data") {
            Self::OfParts(content_type)
        } else {
            Self::Other
        }
    }
}

/// The parts as `name=value&…`. The whole body is there, so nothing waits.
async fn encode_parts(bytes: Bytes, boundary: String, limit: usize) -> Result<Bytes, ApiError> {
    let mut form = Multipart::new(BodyDataStream::new(Full::new(bytes)), boundary);
    let mut encoded = Vec::new();
    let mut count = 0;
    while let Some(part) = form.next_field().await.map_err(broken)? {
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(ApiError::bad_request("a part of the form has no name"));
        };
        if part.file_name().is_some() {
            let reason = "it is a file; send the value as text";
            return Err(ApiError::illegal(cut(&name, MAX_SHOWN), reason));
        }
        count += 1;
        if count > MAX_PAIRS {
            let text = format!("the form has more than {MAX_PAIRS} parts");
            return Err(ApiError::bad_request(text));
        }
        let value = part.bytes().await.map_err(broken)?;
        if !encoded.is_empty() {
            encoded.push(b'&');
        }
        escape(&mut encoded, name.as_bytes());
        encoded.push(b'=');
        escape(&mut encoded, &value);
        if encoded.len() > limit {
            return Err(ApiError::too_large(format!("the form is larger than {limit} bytes")));
        }
    }
    Ok(encoded.into())
}

/// Escapes what has a meaning in a form; all other bytes stand for themselves there.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b'&' => out.extend_from_slice(b"%26"),
            b'+' => out.extend_from_slice(b"%2B"),
            b'=' => out.extend_from_slice(b"%3D"),
            byte => out.push(byte),
        }
    }
}

fn broken(error: multer::Error) -> ApiError {
    ApiError::bad_request(format!("the multipart form is broken: {error}"))
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::super::Params;
    use super::*;

    fn parts(method: Method, content_type: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(body: impl Into<Bytes>, limit: usize) -> Result<Body, ApiError> {
        let parts = parts(Method::POST, Some("multipart/form-data; boundary=\"b b\""));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Body::of(&parts, body.into(), limit))
    }

    fn part(name: &str, value: &str) -> String {
        format!("--b b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn refused(body: &str) -> String {
        let error = read(body.to_owned(), 1 << 20).unwrap_err();
        assert_eq!(error.status.as_u16(), 400, "{error}");
        error.message
    }

    #[test]
    fn forms_are_told_by_method_and_content_type() {
        let kind = |method: Method, content_type: Option<&str>| match Kind::of(&parts(
            method,
            content_type,
        )) {
            Kind::Other => "other",
            Kind::Encoded => "encoded",
            Kind::OfParts(_) => "parts",
        };
        let encoded = Some("application/x-www-form-urlencoded");
        assert_eq!(kind(Method::POST, encoded), "encoded");
        let odd = Some("Application/X-WWW-Form-Urlencoded ; charset=GBK");
        assert_eq!(kind(Method::PUT, odd), "encoded");
        assert_eq!(kind(Method::PATCH, Some("Multipart/Form-Data; boundary=x")), "parts");
        assert_eq!(kind(Method::DELETE, Some("multipart/form-data")), "parts");
        assert_eq!(kind(Method::GET, encoded), "other");
        assert_eq!(kind(Method::GET, Some("multipart/form-data; boundary=x")), "other");
        assert_eq!(kind(Method::POST, Some("application/x-www-form-urlencoded-not")), "other");
        assert_eq!(kind(Method::POST, Some("multipart/mixed; boundary=x")), "other");
        assert_eq!(kind(Method::POST, Some("application/json")), "other");
        assert_eq!(kind(Method::POST, None), "other");
    }

    #[test]
    fn parts_are_parameters_as_they_stand() {
        let body = part("a", "x=1&y=100%+é") + &part("b&=", "") + &part("a", "2") + "--b b--\r\n";
        let body = read(body, 1 << 10).unwrap();
        assert!(body.is_form);
        let params = Params::parse(None, Some(&body.bytes));
        assert_eq!(params.raw("a").unwrap(), "x=1&y=100%+é");
        assert_eq!(params.raw("b&=").unwrap(), "");
        let typed = "--b b\r\ncontent-type: text/plain; charset=UTF-8\r\n\
                     content-disposition: form-data; name=a\r\n\r\n1\r\n\r\n--b b--";
        let typed = read(typed, 1 << 10).unwrap();
        assert_eq!(Params::parse(None, Some(&typed.bytes)).raw("a").unwrap(), "1\r\n");
        assert!(read("--b b--\r\n", 1 << 10).unwrap().bytes.is_empty());
    }

    #[test]
    fn what_is_no_form_of_texts_is_refused() {
        for broken in ["", "x", "--b b", "--b b\r\n\r\n", &part("a", "1")] {
            assert!(refused(broken).contains("multipart form is broken"), "{broken:?}");
        }
        let file = "--b b\r\nContent-Disposition: form-data; name=\"m\"; filename=\"f\"\r\n\r\n1\r\n\
                    --b b--";
        assert_eq!(refused(file), "Param 'm' is illegal, it is a file; send the value as text");
        let nameless = "--b b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b b--";
        assert!(refused(nameless).contains("no name"));
        let many = part("a", "1").repeat(MAX_PAIRS + 1) + "--b b--";
        assert!(refused(&many).contains("more than 256 parts"));
        let no_boundary = parts(Method::POST, Some("multipart/form-data"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(Body::of(&no_boundary, Bytes::new(), 9)).unwrap_err();
        assert!(error.message.contains("boundary"), "{error}");
    }

    #[test]
    fn a_form_that_grows_beyond_the_limit_is_refused() {
        let body = part("a", &"&".repeat(1_000)) + "--b b--";
        assert_eq!(read(body.clone(), 2_000).unwrap_err().status.as_u16(), 413);
        assert_eq!(read(body, 4_000).unwrap().bytes.len(), 3_002);
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in "[^-]{0,40}") {
            let body = read(part("a", &value) + "--b b--", 1 << 10).unwrap();
            let params = Params::parse(None, Some(&body.bytes));
            prop_assert_eq!(params.raw("a").unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read([b"--b b\r\n".as_slice(), &bytes].concat(), 100);
        }
    }
}
