//! The HTTP check: ask for a path and look at the status.
//!
//! By hand over a connection that is open, and not by the client that makes all other calls: where a
//! check may connect to is decided before, and of an answer only the head is read.

use std::pin::pin;

use bytes::Bytes;
use distro_net::Io;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;

use super::finding::{Finding, Found};

/// What the checks of Nacos call themselves.
const AGENT: &str = "VIPServer";
/// Bytes of the head of an answer that are read.
const MAX_HEAD: usize = 16 << 10;
/// Statuses of somebody who is only busy, or sends callers elsewhere.
const PASSING: [u16; 2] = [302, 503];

/// Asks over a connection to `address`. The body of the answer is left unread.
pub(super) async fn ask(
    io: Box<dyn Io>,
    address: &str,
    path: &str,
    headers: &str,
    expected: i64,
) -> Found {
    let request = match request(address, path, headers) {
        Ok(request) => request,
        // Refused when it is set: only a member of another release can have let it pass.
        Err(error) => return (Finding::NotMade, error.to_string().into()),
    };
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(MAX_HEAD).handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = match handshake {
        Ok(pair) => pair,
        Err(error) => return (Finding::Failed, error.to_string().into()),
    };
    let mut connection = pin!(connection);
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // It may end with the answer.
        _ = &mut connection => response.await,
    };
    match response {
        Ok(response) => of_status(response.status().as_u16(), expected),
        Err(error) => (Finding::Failed, error.to_string().into()),
    }
}

fn of_status(status: u16, expected: i64) -> Found {
    let finding = if i64::from(status) == expected {
        Finding::Passed
    } else if PASSING.contains(&status) {
        Finding::Failed
    } else {
        Finding::Refused
    };
    (finding, format!("status {status}").into())
}

/// Whether a path and headers make a request.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_request(path: &str, headers: &str) -> Result<(), hyper::http::Error> {
    request("localhost", path, headers).map(drop)
}

/// A path without a slash before it gets one. `headers` are `name:value`, several with `|`
/// between; what has no colon is left out, as in Nacos.
fn request(
    address: &str,
    path: &str,
    headers: &str,
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = Request::get(format!("{slash}{path}"))
        .header(HOST, address)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::new())?;
    for (name, value) in headers.split('|').filter_map(|pair| pair.split_once(':')) {
        let (name, value) = (name.trim().parse::<HeaderName>()?, value.trim());
        request.headers_mut().insert(name, value.parse::<HeaderValue>()?);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_passes_if_it_is_the_expected_one() {
        let findings = |expected| [200, 204, 302, 404, 503].map(|s| of_status(s, expected).0);
        use Finding::{Failed, Passed, Refused};
        assert_eq!(findings(200), [Passed, Refused, Failed, Refused, Failed]);
        assert_eq!(findings(204), [Refused, Passed, Failed, Refused, Failed]);
        assert_eq!(findings(503), [Refused, Refused, Failed, Refused, Passed]);
    }

    #[test]
    fn path_and_headers_become_a_request() {
        let request = request("10.0.0.1:80", "x?y=1", "a: b |Host:h:1|junk|c:d").unwrap();
        assert_eq!(request.uri(), "/x?y=1");
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!([header("a"), header("c"), header("host")], ["b", "d", "h:1"]);
        assert_eq!(header("user-agent"), "VIPServer");
        assert!(check_request("", "").is_ok());
        for (path, headers) in [("/a b", ""), ("/", "a b:c"), ("/", "a:\u{7}"), ("/\n", "")] {
            assert!(check_request(path, headers).is_err(), "{path} {headers}");
        }
    }
}
