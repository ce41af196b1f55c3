//! Names as requests carry them: the rules of Nacos for its clients of 2.x, which are others than
//! those of 1.x.

use naming_model::{DEFAULT_CLUSTER, DEFAULT_GROUP, DEFAULT_NAMESPACE, ServiceKey, is_unprintable};

use super::body::Names;
use super::refusal::Refusal;

/// Most characters of each.
const NAMESPACE: usize = 64;
const SERVICE: usize = 512;
const GROUP: usize = 128;
const CLUSTER: usize = 64;

/// The service that a request is about.
///
/// # Errors
/// A name is against the rules.
pub(super) fn service_of(names: Names<'_>) -> Result<ServiceKey, Refusal> {
    let namespace = namespace_of(names)?;
    let group = group_of(names)?;
    let service = names.service;
    if service.trim().is_empty() {
        return Err(illegal("serviceName", "serviceName is blank"));
    }
    check_length("serviceName", service, SERVICE)?;
    let is_bad = |c: char| c.is_whitespace() || is_unprintable(c) || is_ideograph(c);
    if service.contains(is_bad) {
        return Err(illegal("serviceName", "it has blanks, control characters or ideographs"));
    }
    if service.starts_with('@') || ["@@", "##"].iter().any(|mark| service.contains(mark)) {
        return Err(illegal("serviceName", "it begins with '@', or has '@@' or '##' in it"));
    }
    ServiceKey::grouping(namespace, service, group)
        .map_err(|error| Refusal::bad_request(error.to_string()))
}

/// The namespace that a request is about.
///
/// # Errors
/// Its name is against the rules.
pub(super) fn namespace_of(names: Names<'_>) -> Result<&str, Refusal> {
    let namespace = or(names.namespace, DEFAULT_NAMESPACE);
    check_length("namespace", namespace, NAMESPACE)?;
    check_bytes("namespace", namespace, b"_-", "0-9a-zA-Z_-")?;
    Ok(namespace)
}

/// The group that a request is about.
///
/// # Errors
/// Its name is against the rules.
pub(super) fn group_of(names: Names<'_>) -> Result<&str, Refusal> {
    let group = or(names.group, DEFAULT_GROUP);
    check_length("groupName", group, GROUP)?;
    check_bytes("groupName", group, b"-_:.", "0-9a-zA-Z-_:.")?;
    Ok(group)
}

/// The cluster of an instance.
///
/// # Errors
/// Its name is against the rules.
pub(super) fn cluster_of(cluster: &str) -> Result<&str, Refusal> {
    let cluster = or(cluster, DEFAULT_CLUSTER);
    check_length("clusterName", cluster, CLUSTER)?;
    check_bytes("clusterName", cluster, b"-", "0-9a-zA-Z-")?;
    Ok(cluster)
}

fn or<'a>(name: &'a str, default: &'a str) -> &'a str {
    if name.is_empty() { default } else { name }
}

fn check_length(parameter: &str, name: &str, most: usize) -> Result<(), Refusal> {
    if name.chars().count() > most {
        return Err(illegal(parameter, &format!("it is longer than {most} characters")));
    }
    Ok(())
}

fn check_bytes(parameter: &str, name: &str, more: &[u8], rule: &str) -> Result<(), Refusal> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
    if name.bytes().all(is_good) {
        return Ok(());
    }
    Err(illegal(parameter, &format!("it can only have these characters: {rule}")))
}

/// A refusal in the words of Nacos.
pub(super) fn illegal(parameter: &str, reason: &str) -> Refusal {
    Refusal::bad_request(format!("Param check invalid:Param '{parameter}' is illegal, {reason}"))
}

/// The characters that Nacos takes for Chinese.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3000}'..='\u{303f}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, group: &str, service: &str) -> Result<String, String> {
        let key = service_of(Names { namespace, service, group });
        key.map(|key| key.to_string()).map_err(|refusal| match refusal {
            Refusal::Typed(400, text) => text,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn missing_names_have_their_defaults() {
        assert_eq!(service("", "", "s"), Ok("public##DEFAULT_GROUP@@s".to_owned()));
        assert_eq!(service("n-1", "g:1", "a/b?c#d"), Ok("n-1##g:1@@a/b?c#d".to_owned()));
        assert_eq!(cluster_of(""), Ok("DEFAULT"));
    }

    #[test]
    fn bad_names_are_refused_by_the_name_of_the_parameter() {
        let long = |length| "x".repeat(length);
        for (namespace, group, name, parameter) in [
            ("a b", "", "s", "namespace"),
            ("a/b", "", "s", "namespace"),
            (&*long(65), "", "s", "namespace"),
            ("", "a b", "s", "groupName"),
            ("", "a@@b", "s", "groupName"),
            ("", &long(129), "s", "groupName"),
            ("", "", "", "serviceName"),
            ("", "", " ", "serviceName"),
            ("", "", "a b", "serviceName"),
            ("", "", "g@@s", "serviceName"),
            ("", "", "@s", "serviceName"),
            ("", "", "a##b", "serviceName"),
            ("", "", "服务", "serviceName"),
            ("", "", &long(513), "serviceName"),
            ("", "", &long(512), "serviceName"),
        ] {
            let text = service(namespace, group, name).unwrap_err();
            assert!(text.contains(&format!("'{parameter}'")), "{text}");
        }
        for cluster in ["a b", "a_b", "a,b", &long(65)] {
            assert!(cluster_of(cluster).is_err(), "{cluster}");
        }
    }
}
