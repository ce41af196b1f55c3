//! Paths of the discovery for Prometheus, as their rights and their handler read them.

use crate::text::decode;

/// What a path is about.
pub(crate) struct Wanted {
    pub(crate) namespace: String,
    /// The bare name, if it is about services of one name.
    pub(crate) service: Option<String>,
}

impl Wanted {
    /// Takes a path apart; `None` if it is about nothing.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/prometheus/namespaceId/")?;
        let text = |text: &str| decode(text.as_bytes()).into_owned();
        match rest.split_once('/') {
            None => Some(Self { namespace: text(rest), service: None }),
            Some((namespace, rest)) => {
                let service = rest.strip_prefix("service/").filter(|name| !name.contains('/'))?;
                Some(Self { namespace: text(namespace), service: Some(text(service)) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/prometheus/namespaceId/)?[a-z%/0-9]{0,20}") {
            let _ = Wanted::of(&path);
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        let wanted = |path: &str| Wanted::of(path).map(|wanted| (wanted.namespace, wanted.service));
        assert_eq!(wanted("/prometheus/namespaceId/a%20b"), Some(("a b".into(), None)));
        let both = wanted("/prometheus/namespaceId/public/service/a%2Fb");
        assert_eq!(both, Some(("public".into(), Some("a/b".into()))));
        assert_eq!(wanted("/prometheus/namespaceId/public/other"), None);
        assert_eq!(wanted("/prometheus/namespaceId/public/service/a/b"), None);
    }
}
