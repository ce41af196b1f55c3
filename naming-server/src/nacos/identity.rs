//! The header by which servers of one Nacos cluster know each other.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// A header that only members of the cluster can send, because only they know its value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PeerIdentity {
    name: HeaderName,
    value: HeaderValue,
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PeerIdentity({}: (hidden))", self.name)
    }
}

impl PeerIdentity {
    /// `None` for what cannot be a header, and for an empty value, which anybody could guess.
    pub(crate) fn new(name: &str, value: &str) -> Option<Self> {
        let name = name.trim().parse().ok()?;
        let mut value = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(Self { name, value })
    }

    /// Puts it among the headers of a request to another member.
    pub(crate) fn insert(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    /// Whether a request carries it. Takes the same time wherever the value differs.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(&self.name) else { return false };
        let (given, expected) = (digest(given), digest(&self.value));
        given.iter().zip(&expected).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

/// Of one length whatever the value's, so that a comparison does not tell that either.
fn digest(value: &HeaderValue) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_value_under_its_name_counts() {
        let identity = PeerIdentity::new("serverIdentity", "s3cret").unwrap();
        let mut headers = HeaderMap::new();
        assert!(!identity.is_in(&headers));
        for wrong in ["", "s3cre", "s3cret1", "S3cret", "x"] {
            headers.insert("serveridentity", HeaderValue::from_str(wrong).unwrap());
            assert!(!identity.is_in(&headers), "{wrong:?}");
        }
        identity.insert(&mut headers);
        assert!(identity.is_in(&headers));
        assert!(headers["ServerIdentity"].is_sensitive());
        let other = PeerIdentity::new("other", "s3cret").unwrap();
        assert!(!other.is_in(&headers));
    }

    #[test]
    fn what_is_no_header_is_no_identity() {
        for (name, value) in [("", "x"), ("a b", "x"), ("a", ""), ("a", "x\ny")] {
            assert!(PeerIdentity::new(name, value).is_none(), "{name:?}: {value:?}");
        }
    }
}
