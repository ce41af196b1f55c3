//! Names of services and instances, parsed once.

use std::fmt;

use crate::code::{DEFAULT_GROUP, GROUP_SEPARATOR, NAMESPACE_SEPARATOR};

/// By byte, whether it may stand in the name of a service: a look-up, since each registration looks
/// at each byte.
const MAY_STAND_IN_A_SERVICE: [bool; 256] = {
    let mut may = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_sign = matches!(byte as u8, b'@' | b'.' | b':' | b'_' | b'-');
        may[byte] = is_sign || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    may
};

/// Longest grouped service name in bytes. Nacos has no limit; a registry that takes names from
/// the network needs one.
pub const MAX_SERVICE_NAME: usize = 512;
/// Longest namespace id in bytes.
pub const MAX_NAMESPACE: usize = 256;
/// Longest cluster name in bytes.
pub const MAX_CLUSTER_NAME: usize = 128;

/// Stands before the key of an instance that is persistent, so that it can stand beside an
/// ephemeral one with the same address. Sorts before whatever an address begins with.
pub const PERSISTENT_MARK: char = '!';

/// Stands before the key of an instance, whichever its kind, where what an operator set of it is
/// kept. No address begins with it.
pub const OPERATOR_MARK: char = '=';

/// Why a name was refused. The texts are those of Nacos 1.4.8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The grouped name has no service part.
    #[error("Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'")]
    NotGrouped,
    /// The grouped name starts with the separator.
    #[error("Param 'serviceName' is illegal, groupName can't be empty")]
    EmptyGroup,
    /// A character outside of the allowed set in a service or group name.
    #[error("dom name can only have these characters: 0-9a-zA-Z-._:, current: {0}")]
    ServiceCharacters(String),
    /// A character outside of the allowed set in a cluster name.
    #[error("cluster name can only have these characters: 0-9a-zA-Z-, current: {0}")]
    ClusterCharacters(String),
    /// A character in a namespace that cannot be seen.
    #[error("Param 'namespaceId' is illegal, it has control characters")]
    NamespaceCharacters,
    /// A name above its length limit.
    #[error("Param '{parameter}' is illegal, it is longer than {limit} bytes")]
    TooLong {
        /// Name of the request parameter.
        parameter: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Puts `group` before `service` unless `service` already carries one. Blank groups count as
/// [`DEFAULT_GROUP`].
pub fn grouped_name(service: &str, group: &str) -> String {
    grouped_parts(service, group).concat()
}

/// The parts of the grouped name, so that a key can be made of them without a text in between.
fn grouped_parts<'a>(service: &'a str, group: &'a str) -> [&'a str; 3] {
    let service = service.trim();
    if find_separator(service).is_some() {
        return ["", "", service];
    }
    let group = if group.trim().is_empty() { DEFAULT_GROUP } else { group.trim() };
    [group, GROUP_SEPARATOR, service]
}

/// Where the first [`GROUP_SEPARATOR`] begins. Names are short: looking at each byte is faster
/// than setting up a search.
fn find_separator(text: &str) -> Option<usize> {
    text.as_bytes().windows(GROUP_SEPARATOR.len()).position(|two| two == GROUP_SEPARATOR.as_bytes())
}

/// Whether a character has no place in a name or in a line of a log: control characters, what ends
/// a line or a paragraph, and what turns the direction in which a line is read.
pub fn is_unprintable(c: char) -> bool {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || separates || turns
}

/// Checks a cluster name that is about to be stored: letters, digits and `-`, at least one.
pub fn check_cluster_name(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_CLUSTER_NAME {
        return Err(NameError::TooLong { parameter: "clusterName", limit: MAX_CLUSTER_NAME });
    }
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good { Ok(()) } else { Err(NameError::ClusterCharacters(name.to_owned())) }
}

/// A service within its namespace: `<namespace>##<group>@@<service>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    text: Box<str>,
    grouped_at: u32,
}

impl ServiceKey {
    /// Parses a grouped name (`group@@service`) of a namespace. The form is checked, the
    /// characters are not: reads may ask for any name ([`Self::check_characters`] is for writes).
    ///
    /// # Errors
    /// [`NameError::NotGrouped`], [`NameError::EmptyGroup`], [`NameError::TooLong`].
    pub fn parse(namespace: &str, grouped: &str) -> Result<Self, NameError> {
        Self::of_parts(namespace, [grouped])
    }

    /// What [`Self::parse`] makes of the [`grouped_name`] of `service` and `group`.
    ///
    /// # Errors
    /// Those of [`Self::parse`].
    pub fn grouping(namespace: &str, service: &str, group: &str) -> Result<Self, NameError> {
        Self::of_parts(namespace, grouped_parts(service, group))
    }

    fn of_parts<const N: usize>(namespace: &str, grouped: [&str; N]) -> Result<Self, NameError> {
        let grouped_len = grouped.iter().map(|part| part.len()).sum::<usize>();
        if namespace.len() > MAX_NAMESPACE {
            return Err(NameError::TooLong { parameter: "namespaceId", limit: MAX_NAMESPACE });
        }
        if grouped_len > MAX_SERVICE_NAME {
            return Err(NameError::TooLong { parameter: "serviceName", limit: MAX_SERVICE_NAME });
        }
        let grouped_at = namespace.len() + NAMESPACE_SEPARATOR.len();
        let mut text = String::with_capacity(grouped_at + grouped_len);
        text.push_str(namespace);
        text.push_str(NAMESPACE_SEPARATOR);
        grouped.iter().for_each(|part| text.push_str(part));
        check_form(&text[grouped_at..])?;
        let grouped_at = u32::try_from(grouped_at).expect("the limits above are far below u32");
        Ok(Self { text: text.into(), grouped_at })
    }

    /// Takes back what [`Self::as_str`] gave out for a stored service. Stored names hold no `#`,
    /// so the last separator is the right one even if the namespace contains one.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let at = find_grouped(tag)?;
        Some(Self { text: tag.into(), grouped_at: u32::try_from(at).ok()? })
    }

    /// Whether [`Self::as_str`] of a stored service can have given out this tag. Anything else
    /// may come from elsewhere, and [`Self::from_tag`] may make a key of it that has no form.
    pub fn is_tag(tag: &str) -> bool {
        find_grouped(tag).is_some_and(|at| check_form(&tag[at..]).is_ok())
    }

    /// Checks the characters of a name that is about to be stored: `[0-9a-zA-Z@.:_-]+`, in a
    /// namespace anything that is not [unprintable](is_unprintable).
    ///
    /// # Errors
    /// [`NameError::ServiceCharacters`], [`NameError::NamespaceCharacters`].
    pub fn check_characters(&self) -> Result<(), NameError> {
        // Nearly every namespace is plain: its bytes tell.
        let plain = |b: u8| matches!(b, b' '..=b'~');
        let namespace = self.namespace();
        if !namespace.bytes().all(plain) && namespace.chars().any(is_unprintable) {
            return Err(NameError::NamespaceCharacters);
        }
        if self.grouped().bytes().all(|b| MAY_STAND_IN_A_SERVICE[usize::from(b)]) {
            return Ok(());
        }
        Err(NameError::ServiceCharacters(self.grouped().to_owned()))
    }

    /// Checks the characters of a name that is about to be stored, where more are allowed than
    /// [`Self::check_characters`] says: all that are neither blank nor
    /// [unprintable](is_unprintable).
    ///
    /// # Errors
    /// [`NameError::ServiceCharacters`], [`NameError::NamespaceCharacters`].
    pub fn check_printable(&self) -> Result<(), NameError> {
        if self.namespace().chars().any(is_unprintable) {
            return Err(NameError::NamespaceCharacters);
        }
        let is_bad = |c: char| c.is_whitespace() || is_unprintable(c);
        // What a tag is taken apart at.
        if self.grouped().contains(is_bad) || self.grouped().contains(NAMESPACE_SEPARATOR) {
            return Err(NameError::ServiceCharacters(self.grouped().to_owned()));
        }
        Ok(())
    }

    /// The whole key, which is also the tag that decides responsibility.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The namespace id.
    pub fn namespace(&self) -> &str {
        &self.text[..self.grouped_at as usize - NAMESPACE_SEPARATOR.len()]
    }

    /// `group@@service`.
    pub fn grouped(&self) -> &str {
        &self.text[self.grouped_at as usize..]
    }

    /// The group: what stands before the first separator.
    pub fn group(&self) -> &str {
        self.grouped().split(GROUP_SEPARATOR).next().unwrap_or_default()
    }

    /// The bare service name: what stands between the first and the second separator.
    pub fn service(&self) -> &str {
        self.grouped().split(GROUP_SEPARATOR).nth(1).unwrap_or_default()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where the grouped name begins in the tag of a service.
fn find_grouped(tag: &str) -> Option<usize> {
    let separator = NAMESPACE_SEPARATOR.as_bytes();
    // Tags are short: looking at each byte is faster than setting up a search.
    let at = tag.as_bytes().windows(separator.len()).rposition(|two| two == separator)?;
    Some(at + separator.len())
}

/// Java's split drops trailing empty parts, so `g@@` has one part and `@@` none.
fn check_form(grouped: &str) -> Result<(), NameError> {
    let at = find_separator(grouped).ok_or(NameError::NotGrouped)?;
    let rest = &grouped[at + GROUP_SEPARATOR.len()..];
    let only_separators = rest.len().is_multiple_of(2) && rest.bytes().all(|byte| byte == b'@');
    if only_separators {
        return Err(NameError::NotGrouped);
    }
    if at == 0 { Err(NameError::EmptyGroup) } else { Ok(()) }
}

/// What tells one instance of a service from another of its kind: address, port and cluster,
/// written `<ip>#<port>#<cluster>`. With its kind it is a [`RecordKey`](crate::RecordKey).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InstanceKey<'a> {
    /// Address: an IPv4 or IPv6 address or a host name, without `#`.
    pub ip: &'a str,
    /// Port; 0 stands for "no port".
    pub port: u16,
    /// Cluster within the service.
    pub cluster: &'a str,
}

impl<'a> InstanceKey<'a> {
    /// Nacos's "datum key" of an instance, which shows in error texts and orders checksums:
    /// `<ip>:<port>:unknown:<cluster>`, without the port if it is 0.
    pub fn datum_key(&self) -> String {
        match self.port {
            0 => format!("{}:unknown:{}", self.ip, self.cluster),
            port => format!("{}:{port}:unknown:{}", self.ip, self.cluster),
        }
    }
}

impl fmt::Display for InstanceKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.ip, self.port, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grouped_name_is_split_like_java_does() {
        let key = |name| ServiceKey::parse("public", name);
        assert_eq!(key("g@@s").unwrap().group(), "g");
        assert_eq!(key("a@@b@@c").unwrap().service(), "b");
        assert_eq!(key("a@@b@@c").unwrap().grouped(), "a@@b@@c");
        assert_eq!(key("s"), Err(NameError::NotGrouped));
        assert_eq!(key("g@@"), Err(NameError::NotGrouped));
        assert_eq!(key("@@"), Err(NameError::NotGrouped));
        assert_eq!(key("@@@@"), Err(NameError::NotGrouped));
        assert_eq!(key("@@s"), Err(NameError::EmptyGroup));
        assert_eq!(key("g@@@").unwrap().service(), "@");
        assert_eq!(key("@@@"), Err(NameError::EmptyGroup));
        assert_eq!(key(""), Err(NameError::NotGrouped));
    }

    #[test]
    fn a_tag_gives_its_key_back() {
        let key = ServiceKey::parse("odd##space", "g@@s").unwrap();
        let again = ServiceKey::from_tag(key.as_str()).unwrap();
        assert_eq!(again, key);
        assert_eq!((again.namespace(), again.grouped()), ("odd##space", "g@@s"));
    }

    #[test]
    fn tags_of_services_have_a_form() {
        for tag in
            ["", "#", "##", "#switches", "g@@s", "n##", "n##s", "n##@@s", "n##g@@", "a##g@@s##"]
        {
            assert!(!ServiceKey::is_tag(tag), "{tag}");
        }
        for tag in ["##g@@s", "#switches##g@@s", "n###g@@s"] {
            assert!(ServiceKey::is_tag(tag), "{tag}");
        }
    }

    #[test]
    fn the_group_of_the_name_wins_over_the_parameter() {
        assert_eq!(grouped_name("g1@@svc", "g2"), "g1@@svc");
        assert_eq!(grouped_name(" svc ", ""), "DEFAULT_GROUP@@svc");
        assert_eq!(grouped_name("svc", "g"), "g@@svc");
    }

    #[test]
    fn grouping_is_parsing_the_grouped_name() {
        let long = "x".repeat(MAX_SERVICE_NAME);
        let texts = ["", " ", "svc", " s ", "g@@s", "@@s", "g@@", "@", "@@@@", "a@@b@@c", &long];
        for service in texts {
            for group in texts {
                let grouped = ServiceKey::parse("public", &grouped_name(service, group));
                assert_eq!(ServiceKey::grouping("public", service, group), grouped);
            }
        }
        assert!(ServiceKey::grouping(&"n".repeat(MAX_NAMESPACE + 1), "s", "g").is_err());
    }

    #[test]
    fn characters_are_checked_on_request_only() {
        let key = ServiceKey::parse("public", "g@@bad name").unwrap();
        assert!(key.check_characters().is_err());
        assert!(
            ServiceKey::parse("any text é", "g@@A-z_0:9.x").unwrap().check_characters().is_ok()
        );
        for bad in
            ["a\nb", "\r", "a\t", "\u{1b}[2J", "\u{85}", "\u{2028}", "\u{202e}", "\0", "\u{7f}"]
        {
            let key = ServiceKey::parse(bad, "g@@s").unwrap();
            assert_eq!(key.check_characters(), Err(NameError::NamespaceCharacters), "{bad:?}");
        }
        assert!(check_cluster_name("c-1").is_ok());
        assert!(check_cluster_name("a_b").is_err());
        assert!(check_cluster_name("").is_err());
    }

    #[test]
    fn an_instance_without_port_has_none_in_its_datum_key() {
        let key = InstanceKey { ip: "fe80::1%eth0", port: 8080, cluster: "DEFAULT" };
        assert_eq!(key.datum_key(), "fe80::1%eth0:8080:unknown:DEFAULT");
        let none = InstanceKey { port: 0, ..key };
        assert_eq!(none.datum_key(), "fe80::1%eth0:unknown:DEFAULT");
    }
}
