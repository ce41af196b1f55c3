//! Names, parsed once.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use naming_model::{
    DEFAULT_NAMESPACE, MAX_NAMESPACE, NAMESPACE_SEPARATOR, NameError, ServiceKey,
    check_cluster_name, grouped_name,
};

use crate::Error;

/// The name of a service within a namespace: a group and a service, written `group@@service`.
///
/// ```
/// use naming_client::ServiceName;
///
/// let orders: ServiceName = "order-service".parse()?;
/// assert_eq!(orders.group(), "DEFAULT_GROUP");
/// assert_eq!("shop@@order-service".parse(), ServiceName::new("shop", "order-service"));
/// assert!("no blanks".parse::<ServiceName>().is_err());
/// # Ok::<(), naming_client::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(ServiceKey);

impl ServiceName {
    /// Joins a group and a service. A blank group is `DEFAULT_GROUP`.
    ///
    /// # Errors
    /// [`NameError`] for characters other than `0-9a-zA-Z@.:_-`, an empty part, or more than 512
    /// bytes together.
    pub fn new(group: &str, service: &str) -> Result<Self, NameError> {
        let key = ServiceKey::parse("", &grouped_name(service, group))?;
        key.check_characters()?;
        Ok(Self(key))
    }

    /// The group.
    pub fn group(&self) -> &str {
        self.0.group()
    }

    /// The service without its group.
    pub fn service(&self) -> &str {
        self.0.service()
    }

    /// `group@@service`.
    pub fn grouped(&self) -> &str {
        self.0.grouped()
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new("", text)
    }
}

impl TryFrom<&str> for ServiceName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<&Self> for ServiceName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.grouped())
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.grouped())
    }
}

/// The namespace a client lives in. Namespaces do not see each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// A blank id is `public`, the default.
    ///
    /// # Errors
    /// [`NameError::TooLong`] above 256 bytes; [`NameError::ServiceCharacters`] for control
    /// characters and for `##`, which separates namespace and service inside of servers.
    pub fn new(id: &str) -> Result<Self, NameError> {
        let id = id.trim();
        if id.len() > MAX_NAMESPACE {
            return Err(NameError::TooLong { parameter: "namespaceId", limit: MAX_NAMESPACE });
        }
        if id.contains(NAMESPACE_SEPARATOR) || id.contains(char::is_control) {
            return Err(NameError::ServiceCharacters(id.to_owned()));
        }
        Ok(Self(if id.is_empty() { DEFAULT_NAMESPACE } else { id }.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.to_owned())
    }
}

/// What to look for: a service, in all of its clusters or in some.
///
/// A [`ServiceName`] or a text turns into the query for all clusters.
///
/// ```
/// use naming_client::ServiceQuery;
///
/// let near = ServiceQuery::new("order-service".parse()?).clusters(["zone-a", "zone-b"])?;
/// assert_eq!(near.to_string(), "DEFAULT_GROUP@@order-service[zone-a,zone-b]");
/// # Ok::<(), naming_client::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceQuery {
    service: ServiceName,
    /// Sorted, without repeats, joined by commas: equal sets are equal texts, so that they share
    /// one subscription. Empty means all.
    clusters: String,
}

impl ServiceQuery {
    /// All clusters of `service`.
    pub fn new(service: ServiceName) -> Self {
        Self { service, clusters: String::new() }
    }

    /// Only these clusters; none means all.
    ///
    /// # Errors
    /// [`NameError::ClusterCharacters`] for characters other than `0-9a-zA-Z-`.
    pub fn clusters<C: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = C>,
    ) -> Result<Self, NameError> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.iter().try_for_each(|name| check_cluster_name(name))?;
        names.sort_unstable();
        names.dedup();
        self.clusters = names.join(",");
        Ok(self)
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The instances of these clusters.
    #[cfg(feature = "grpc")]
    pub(crate) fn filter(
        &self,
        mut instances: Vec<naming_model::Instance>,
    ) -> Vec<naming_model::Instance> {
        if !self.clusters.is_empty() {
            instances.retain(|one| self.clusters.split(',').any(|name| name == one.cluster));
        }
        instances
    }

    /// The clusters, joined by commas; empty for all.
    pub fn cluster_text(&self) -> &str {
        &self.clusters
    }
}

impl fmt::Display for ServiceQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.clusters.as_str() {
            "" => write!(f, "{}", self.service),
            clusters => write!(f, "{}[{clusters}]", self.service),
        }
    }
}

impl From<ServiceName> for ServiceQuery {
    fn from(service: ServiceName) -> Self {
        Self::new(service)
    }
}

impl From<&ServiceName> for ServiceQuery {
    fn from(service: &ServiceName) -> Self {
        Self::new(service.clone())
    }
}

impl From<&Self> for ServiceQuery {
    fn from(query: &Self) -> Self {
        query.clone()
    }
}

impl TryFrom<&str> for ServiceQuery {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Ok(Self::new(text.parse()?))
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_once_and_bad_ones_refused() {
        let name = ServiceName::new("g", "s").unwrap();
        assert_eq!((name.group(), name.service(), name.grouped()), ("g", "s", "g@@s"));
        for bad in ["", " ", "@@s", "g@@", "a b", "ä", "a/b"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?} was taken");
        }
        assert!(ServiceName::new("g", &"x".repeat(600)).is_err());
    }

    #[test]
    fn the_order_of_clusters_does_not_matter() {
        let query = |names: &[&str]| {
            ServiceQuery::try_from("s").unwrap().clusters(names.iter().copied()).unwrap()
        };
        assert_eq!(query(&["b", "a", "b"]), query(&["a", "b"]));
        assert_eq!(query(&[]), ServiceQuery::try_from("s").unwrap());
        assert!(ServiceQuery::try_from("s").unwrap().clusters(["a,b"]).is_err());
    }

    #[test]
    fn a_blank_namespace_is_public() {
        assert_eq!(Namespace::new(" ").unwrap(), Namespace::default());
        assert!(Namespace::new("a##b").is_err());
        assert!(Namespace::new(&"n".repeat(300)).is_err());
    }
}
