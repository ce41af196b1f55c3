//! What may be done to what, and the patterns by which permissions name it.

use naming_model::{DEFAULT_NAMESPACE, GROUP_SEPARATOR, ServiceKey};

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Look at it.
    Read,
    /// Change it.
    Write,
}

impl Action {
    /// As permissions name it.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Read => 'r',
            Self::Write => 'w',
        }
    }
}

/// What something is done to. Nacos writes it as one text, `<namespace>:<group>:naming/<service>`;
/// here the parts stay apart, so that a colon in one of them cannot pass for the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// A service.
    Service(&'a ServiceKey),
    /// All services of a namespace: `<namespace>:*:naming/*`.
    Namespace(&'a str),
    /// Those of all namespaces: `*:*:naming/*`.
    AllNamespaces,
    /// Something with a name of its own, such as `naming/switches`.
    Named(&'static str),
}

/// Stands for any namespace, group or service in a request that names none. Only patterns with `*`
/// match it.
const ANY: &str = "*";
/// Before the service.
const NAMING: &str = "naming/";

/// The resource of a permission. `*` stands for any text within a part, at the end for all that
/// follows; everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
}

impl Pattern {
    /// The pattern that the resource of a permission stands for.
    pub(crate) fn new(resource: &str) -> Self {
        Self { text: resource.into() }
    }

    /// Whether this is among what it stands for.
    pub(crate) fn matches(&self, resource: &Resource<'_>) -> bool {
        match *resource {
            Resource::Service(service) => {
                // Whoever asks for the group `b##g` of the namespace `a` gets at the namespace
                // `a##b`: what counts is how the whole name is read.
                // And all after the first separator is the service, also what has one more.
                ServiceKey::from_tag(service.as_str()).is_some_and(|key| {
                    let parts = key.grouped().split_once(GROUP_SEPARATOR);
                    parts.is_some_and(|(group, service)| {
                        self.matches_parts(key.namespace(), group, service)
                    })
                })
            }
            Resource::Namespace(namespace) => self.matches_parts(namespace, ANY, ANY),
            Resource::AllNamespaces => self.matches_parts(ANY, ANY, ANY),
            Resource::Named(name) => glob(&self.text, name),
        }
    }

    fn matches_parts(&self, namespace: &str, group: &str, service: &str) -> bool {
        let namespace = if namespace == DEFAULT_NAMESPACE { "" } else { namespace };
        let mut parts = self.text.splitn(3, ':');
        let of_namespace = parts.next().unwrap_or_default();
        let (of_group, of_service) = (parts.next(), parts.next());
        if !glob(of_namespace, namespace) {
            return false;
        }
        let Some(of_group) = of_group else { return of_namespace.ends_with('*') };
        if !glob(of_group, group) {
            return false;
        }
        let Some(of_service) = of_service else { return of_group.ends_with('*') };
        // What a service is called is compared without a copy.
        match of_service.strip_prefix(NAMING) {
            Some(of_service) => glob(of_service, service),
            None => of_service.contains('*') && glob(of_service, &[NAMING, service].concat()),
        }
    }
}

/// Whether a text is what a pattern says, `*` being any text. Takes time in proportion to the
/// product of their lengths at worst, however many `*` there are.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was met, and what of the text it stands for so far.
    let mut retry: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, seen));
                at += 1;
            }
            Some(byte) if text.get(seen) == Some(byte) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (at, seen) = (star + 1, from + 1);
            }
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service_matches(pattern: &str, namespace: &str, grouped: &str) -> bool {
        let key = ServiceKey::parse(namespace, grouped).unwrap();
        Pattern::new(pattern).matches(&Resource::Service(&key))
    }

    #[test]
    fn services_are_named_by_namespace_group_and_name() {
        for pattern in [
            "ns:g:naming/svc",
            "ns:*:*",
            "ns:*:naming/*",
            "*:*:*",
            "*",
            "ns*",
            "ns:g*",
            "ns:*",
            "n*s:g:naming/s*c",
            "*:g:naming/svc",
            "ns:g:*svc",
            "ns:g:*/svc",
        ] {
            assert!(service_matches(pattern, "ns", "g@@svc"), "{pattern}");
        }
        for pattern in [
            "",
            ":",
            "ns",
            "ns:g",
            "ns:g:",
            "ns:g:svc",
            "ns:g:naming/",
            "n:*:*",
            "nsx:*:*",
            ":*:*",
            "public:*:*",
            "ns:G:naming/svc",
            "ns:g:naming/sv",
            "ns:g:naming/svc2",
            "ns:g:config/*",
            "ns:*naming/svc",
            "naming/svc",
        ] {
            assert!(!service_matches(pattern, "ns", "g@@svc"), "{pattern}");
        }
    }

    #[test]
    fn the_public_namespace_has_no_name() {
        assert!(service_matches(":g:naming/svc", "public", "g@@svc"));
        assert!(service_matches(":*:*", "public", "g@@svc"));
        assert!(!service_matches("public:*:*", "public", "g@@svc"));
        assert!(!service_matches(":*:*", "PUBLIC", "g@@svc"));
    }

    #[test]
    fn names_with_colons_match_where_they_may_have_some_and_widen_nothing() {
        let dubbo = "DEFAULT_GROUP@@providers:com.example.Greeter:1.0:";
        let exact = ":DEFAULT_GROUP:naming/providers:com.example.Greeter:1.0:";
        assert!(service_matches(exact, "public", dubbo));
        assert!(service_matches(":DEFAULT_GROUP:naming/providers:*", "public", dubbo));
        // A namespace that begins like another, and ends where the pattern has its colon.
        assert!(!service_matches("ns:*:*", "ns:more", "g@@svc"));
        assert!(!service_matches("ns:g:*", "ns", "g:naming/x@@svc"));
        assert!(!service_matches(":*:naming/a", "public", "g@@x:naming/a"));
        assert!(!service_matches(":g:naming/a", "public", "g@@naming/a"));
    }

    #[test]
    fn nothing_but_the_star_is_special() {
        for pattern in [
            ".*:.*:.*",
            "n.:g:naming/svc",
            "ns:g:naming/sv?",
            "ns:g:naming/[a-z]+",
            "(ns|x):g:naming/svc",
            "ns:g:naming/sv%",
            "ns:g:naming/\\w*",
            "^ns:g:naming/svc$",
        ] {
            assert!(!service_matches(pattern, "ns", "g@@svc"), "{pattern}");
        }
    }

    #[test]
    fn a_group_cannot_reach_into_another_namespace() {
        // The names are the same text inside, so they are the same service.
        let trick = ServiceKey::parse("a", "b##g@@svc").unwrap();
        let meant = ServiceKey::parse("a##b", "g@@svc").unwrap();
        assert_eq!(trick.as_str(), meant.as_str());
        assert!(!service_matches("a:*:*", "a", "b##g@@svc"));
        assert!(service_matches("a##b:*:*", "a", "b##g@@svc"));
        // A third part belongs to the name of the service.
        assert!(!service_matches(":g:naming/svc", "public", "g@@svc@@other"));
        assert!(service_matches(":g:naming/svc@@other", "public", "g@@svc@@other"));
    }

    #[test]
    fn a_request_without_a_service_needs_the_right_to_all() {
        let whole = |pattern| Pattern::new(pattern).matches(&Resource::Namespace("ns"));
        assert!(whole("ns:*:*") && whole("ns:*:naming/*") && whole("*") && whole("ns:*"));
        assert!(!whole("ns:g:*") && !whole("ns:g*:*") && !whole("ns:*:naming/s*"));
        let all = |pattern| Pattern::new(pattern).matches(&Resource::AllNamespaces);
        assert!(all("*") && all("*:*:*") && !all("ns:*:*") && !all(":*:*"));
    }

    #[test]
    fn named_resources_are_matched_whole() {
        let named = |pattern| Pattern::new(pattern).matches(&Resource::Named("naming/switches"));
        assert!(named("naming/switches") && named("naming/*") && named("*"));
        assert!(!named("*:*:*") && !named("naming/switch") && !named(":*:naming/switches"));
    }

    proptest! {
        #[test]
        fn globs_are_what_regular_expressions_of_them_are(
            pattern in "[ab*.]{0,8}", text in "[ab.]{0,8}",
        ) {
            let escaped: Vec<String> = pattern.split('*').map(regex::escape).collect();
            let expression = regex::Regex::new(&format!("^{}$", escaped.join(".*"))).unwrap();
            prop_assert_eq!(glob(&pattern, &text), expression.is_match(&text));
        }

        #[test]
        fn no_name_makes_a_pattern_reach_another_namespace(
            namespace in "[a:#@*/]{1,6}", grouped in "[a:#@*/]{1,12}",
        ) {
            let Ok(key) = ServiceKey::parse(&namespace, &grouped) else { return Ok(()) };
            let Some(canonical) = ServiceKey::from_tag(key.as_str()) else { return Ok(()) };
            let matches = Pattern::new("aa:*:*").matches(&Resource::Service(&key));
            prop_assert_eq!(matches, canonical.namespace() == "aa");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!glob(&pattern, &"a".repeat(1_000)));
    }
}
