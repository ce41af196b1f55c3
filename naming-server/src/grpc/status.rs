//! How a call ends as gRPC sees it. Clients take anything but [`Status::Ok`] for a broken transport,
//! so refusals are answers; this is for what cannot be answered.

use bytes::Bytes;
use h2::server::SendResponse;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::messages::BadMessage;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// The status of a call, with gRPC's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

/// Why a call is not answered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<BadMessage> for Failure {
    fn from(error: BadMessage) -> Self {
        let status = match error {
            BadMessage::TooLarge | BadMessage::NoRoom => Status::ResourceExhausted,
            BadMessage::UnknownCompression => Status::Unimplemented,
            BadMessage::Malformed => Status::Internal,
        };
        Self::new(status, error.to_string())
    }
}

/// The head of an answer that is going to have messages.
pub(super) fn head() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, GRPC);
    head
}

/// What ends such an answer.
pub(super) fn trailers(failure: Option<&Failure>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    let status = failure.map_or(Status::Ok, |failure| failure.status);
    trailers.insert(GRPC_STATUS, HeaderValue::from(status as u16));
    if let Some(message) = failure.and_then(|failure| percent_encoded(&failure.message)) {
        trailers.insert(GRPC_MESSAGE, message);
    }
    trailers
}

/// Ends a call that has no answer. A client that is gone is not told.
pub(super) fn fail(mut respond: SendResponse<Bytes>, failure: &Failure) {
    let mut head = head();
    head.headers_mut().extend(trailers(Some(failure)));
    let _ = respond.send_response(head, true);
}

/// Answers what is no gRPC.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, status: StatusCode) {
    let mut head = Response::new(());
    *head.status_mut() = status;
    let _ = respond.send_response(head, true);
}

/// What gRPC encodes of a message: all but printable ASCII, and the sign of encoding itself.
const UNPRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

/// As gRPC writes it; none of a text that is empty.
fn percent_encoded(message: &str) -> Option<HeaderValue> {
    let text = utf8_percent_encode(message, UNPRINTABLE).to_string();
    HeaderValue::from_str(&text).ok().filter(|text| !text.is_empty())
}
