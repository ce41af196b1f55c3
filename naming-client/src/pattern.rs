//! Patterns of services' names.

use std::fmt;

use naming_model::NameError;

use crate::names::ServiceName;

/// Which services to watch: a pattern for the group and one for the name.
///
/// A pattern is a name, or has a `*` at its beginning, its end or both, which stands for any
/// characters. `*` alone is everything.
///
/// ```
/// use naming_client::ServicePattern;
///
/// let orders: ServicePattern = "shop@@order-*".parse()?;
/// assert!(orders.matches(&"shop@@order-service".parse()?));
/// assert!(!orders.matches(&"order-service".parse()?));
/// // Without a group it is about DEFAULT_GROUP.
/// assert_eq!("*-service".parse::<ServicePattern>()?.group(), "DEFAULT_GROUP");
/// # Ok::<(), naming_client::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePattern {
    group: String,
    service: String,
}

impl ServicePattern {
    /// Joins a pattern of groups and one of names. A blank group is `DEFAULT_GROUP`.
    ///
    /// # Errors
    /// [`NameError`] for a `*` in the middle, an empty name, and characters that no name has.
    pub fn new(group: &str, service: &str) -> Result<Self, NameError> {
        let group =
            if group.trim().is_empty() { naming_model::DEFAULT_GROUP } else { group.trim() };
        let service = service.trim();
        let bare = |text: &str| {
            let bare = text.strip_prefix('*').unwrap_or(text);
            // A name is checked with the rules of names, so that each part needs a letter.
            bare.strip_suffix('*').unwrap_or(bare).to_owned() + "x"
        };
        if service.is_empty() {
            return Err(NameError::ServiceCharacters(service.to_owned()));
        }
        ServiceName::new(&bare(group), &bare(service))?;
        Ok(Self { group: group.to_owned(), service: service.to_owned() })
    }

    /// The pattern of groups.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The pattern of names.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Whether a service is meant.
    pub fn matches(&self, service: &ServiceName) -> bool {
        fits(&self.group, service.group()) && fits(&self.service, service.service())
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (None, None) => pattern == text,
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (Some(_), Some(start)) => text.contains(start.strip_prefix('*').unwrap_or(start)),
    }
}

impl std::str::FromStr for ServicePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once("@@") {
            Some((group, service)) => Self::new(group, service),
            None => Self::new("", text),
        }
    }
}

impl TryFrom<&str> for ServicePattern {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<&Self> for ServicePattern {
    fn from(pattern: &Self) -> Self {
        pattern.clone()
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@@{}", self.group, self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_bad_ones_refused() {
        let pattern = |text: &str| text.parse::<ServicePattern>();
        assert_eq!(pattern("g@@a*").unwrap().to_string(), "g@@a*");
        assert_eq!(pattern("*").unwrap(), ServicePattern::new("DEFAULT_GROUP", "*").unwrap());
        for bad in ["", "a*b", "g*h@@a", "a b", "g@@"] {
            assert!(pattern(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let fit = |pattern: &str, name: &str| {
            pattern.parse::<ServicePattern>().unwrap().matches(&name.parse().unwrap())
        };
        assert!(fit("*", "a") && fit("a", "a") && fit("a*", "ab") && fit("*b", "ab"));
        assert!(fit("*b*", "abc") && fit("*@@a", "g@@a") && fit("g*@@*", "group@@x"));
        assert!(!fit("a", "ab") && !fit("a*", "ba") && !fit("*b", "ba") && !fit("*b*", "ac"));
        assert!(!fit("*", "g@@a"), "another group");
    }
}
