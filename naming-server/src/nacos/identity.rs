//! The header by which servers of one Nacos cluster know each other.

use std::collections::HashMap;
use std::fmt;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// A header that only members of the cluster can send, because only they know its value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PeerIdentity {
    name: HeaderName,
    /// The name as it was given: in gRPC the case of its letters counts.
    spelled: Box<str>,
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
        let spelled = name.trim().into();
        let name = name.trim().parse().ok()?;
        let mut value = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(Self { name, spelled, value })
    }

    /// Puts it among the headers of a request to another member.
    pub(crate) fn insert(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    /// Whether a request carries it. Takes the same time wherever the value differs.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get(&self.name).is_some_and(|given| self.is_value(given.as_bytes()))
    }

    /// The same for the headers of a gRPC message.
    pub(crate) fn is_among(&self, headers: &HashMap<String, String>) -> bool {
        headers.get(&*self.spelled).is_some_and(|given| self.is_value(given.as_bytes()))
    }

    /// Name and value for a gRPC message; `None` if the value is no text.
    pub(crate) fn pair(&self) -> Option<(String, String)> {
        Some((self.spelled.to_string(), self.value.to_str().ok()?.to_owned()))
    }

    fn is_value(&self, given: &[u8]) -> bool {
        let (given, expected) = (digest(given), digest(self.value.as_bytes()));
        given.iter().zip(&expected).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

/// Of one length whatever the value's, so that a comparison does not tell that either.
fn digest(value: &[u8]) -> [u8; 32] {
    Sha256::digest(value).into()
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
        let of_message = |name: &str, value: &str| HashMap::from([(name.into(), value.into())]);
        assert!(identity.is_among(&of_message("serverIdentity", "s3cret")));
        for (name, value) in [("serveridentity", "s3cret"), ("serverIdentity", "s3cre")] {
            assert!(!identity.is_among(&of_message(name, value)), "{name} {value}");
        }
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
