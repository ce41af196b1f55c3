//! Calls over HTTP/1.1 with a deadline and a ceiling for the answer, and failures sorted by what
//! they say about the fate of the request.
//!
//! Not for connections that are made in a special way: health checks and members of this cluster
//! bring their own sockets, which a test can simulate.

#![warn(missing_docs)]

mod client;
pub use client::{CallFailure, HttpClient, HttpSettings};

mod form;
pub use form::{FORM, Form, percent_encoded};

#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// The beginning of a body, without control characters: what belongs into an error, a line of a log
/// or a message on a terminal. At most so many characters.
#[must_use]
pub fn excerpt(body: &[u8], most: usize) -> String {
    // No character takes more than four bytes.
    let head = body.get(..most.saturating_mul(4)).unwrap_or(body);
    let text = String::from_utf8_lossy(head);
    text.trim().chars().filter(|letter| !letter.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_cut_and_cleaned() {
        assert_eq!(excerpt(" a\u{1b}[2J\n".as_bytes(), 300), "a[2J");
        assert_eq!(excerpt("é\n".repeat(5_000).as_bytes(), 300).chars().count(), 300);
        assert_eq!(excerpt(b"\xff", 3), "\u{fffd}");
    }
}
