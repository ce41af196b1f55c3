//! Names of services and instances, parsed once.

use std::fmt;

use crate::code::{DEFAULT_GROUP, GROUP_SEPARATOR, NAMESPACE_SEPARATOR};

/// Longest grouped service name in bytes. Nacos has no limit; a registry that takes names from
/// the network needs one.
pub const MAX_SERVICE_NAME: usize = 512;
/// Longest namespace id in bytes.
pub const MAX_NAMESPACE: usize = 256;
/// Longest cluster name in bytes.
pub const MAX_CLUSTER_NAME: usize = 128;

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
    let service = service.trim();
    if service.contains(GROUP_SEPARATOR) {
        return service.to_owned();
    }
    let group = if group.trim().is_empty() { DEFAULT_GROUP } else { group.trim() };
    format!("{group}{GROUP_SEPARATOR}{service}")
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
        if namespace.len() > MAX_NAMESPACE {
            return Err(NameError::TooLong { parameter: "namespaceId", limit: MAX_NAMESPACE });
        }
        if grouped.len() > MAX_SERVICE_NAME {
            return Err(NameError::TooLong { parameter: "serviceName", limit: MAX_SERVICE_NAME });
        }
        // Java's split drops trailing empty parts, so `g@@` has one part and `@@` none.
        let (group, rest) = grouped.split_once(GROUP_SEPARATOR).ok_or(NameError::NotGrouped)?;
        if rest.split(GROUP_SEPARATOR).all(str::is_empty) {
            return Err(NameError::NotGrouped);
        }
        if group.is_empty() {
            return Err(NameError::EmptyGroup);
        }
        let mut text =
            String::with_capacity(namespace.len() + NAMESPACE_SEPARATOR.len() + grouped.len());
        text.push_str(namespace);
        text.push_str(NAMESPACE_SEPARATOR);
        let grouped_at = u32::try_from(text.len()).expect("the limits above are far below u32");
        text.push_str(grouped);
        Ok(Self { text: text.into(), grouped_at })
    }

    /// Takes back what [`Self::as_str`] gave out for a stored service. Stored names hold no `#`,
    /// so the last separator is the right one even if the namespace contains one.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let at = tag.rfind(NAMESPACE_SEPARATOR)? + NAMESPACE_SEPARATOR.len();
        Some(Self { text: tag.into(), grouped_at: u32::try_from(at).ok()? })
    }

    /// Checks the characters of a name that is about to be stored: `[0-9a-zA-Z@.:_-]+`.
    pub fn check_characters(&self) -> Result<(), NameError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"@.:_-".contains(&b);
        if self.grouped().bytes().all(good) {
            return Ok(());
        }
        Err(NameError::ServiceCharacters(self.grouped().to_owned()))
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

/// What tells one instance of a service from another: address, port and cluster, written
/// `<ip>#<port>#<cluster>`.
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
    /// Splits the text form; `None` if it is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (rest, cluster) = text.rsplit_once('#')?;
        let (ip, port) = rest.rsplit_once('#')?;
        Some(Self { ip, port: port.parse().ok()?, cluster })
    }

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
    fn the_group_of_the_name_wins_over_the_parameter() {
        assert_eq!(grouped_name("g1@@svc", "g2"), "g1@@svc");
        assert_eq!(grouped_name(" svc ", ""), "DEFAULT_GROUP@@svc");
        assert_eq!(grouped_name("svc", "g"), "g@@svc");
    }

    #[test]
    fn characters_are_checked_on_request_only() {
        let key = ServiceKey::parse("public", "g@@bad name").unwrap();
        assert!(key.check_characters().is_err());
        assert!(
            ServiceKey::parse("any text é", "g@@A-z_0:9.x").unwrap().check_characters().is_ok()
        );
        assert!(check_cluster_name("c-1").is_ok());
        assert!(check_cluster_name("a_b").is_err());
        assert!(check_cluster_name("").is_err());
    }

    #[test]
    fn an_ipv6_instance_key_survives_its_text() {
        let key = InstanceKey { ip: "fe80::1%eth0", port: 8080, cluster: "DEFAULT" };
        assert_eq!(InstanceKey::parse(&key.to_string()), Some(key));
        assert_eq!(key.datum_key(), "fe80::1%eth0:8080:unknown:DEFAULT");
        let none = InstanceKey { port: 0, ..key };
        assert_eq!(none.datum_key(), "fe80::1%eth0:unknown:DEFAULT");
    }
}
