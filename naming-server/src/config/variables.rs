//! Variables of an environment, and which of them had a meaning.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

/// Variables of an environment, by name.
pub(super) type Variables = BTreeMap<String, String>;

/// What variables come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    /// Keys and their values.
    pub(super) settings: Vec<(&'static str, String)>,
    /// What to tell the operator, a line each.
    pub(super) notes: Vec<String>,
}

/// A view of the variables that remembers which had a meaning.
pub(super) struct Reader<'a> {
    variables: &'a Variables,
    used: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a Variables) -> Self {
        Self { variables, used: BTreeSet::new() }
    }

    /// Whether a variable was asked for.
    pub(super) fn has_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// The value of a variable that is set.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.used.insert(name);
        let value = self.variables.get(name)?.trim();
        (!value.is_empty() && !is_service_link(name, value)).then(|| value.to_owned())
    }

    /// Whether a switch is on; `None` if it is not set.
    ///
    /// # Errors
    /// Neither `true` nor `false`.
    pub(super) fn switch(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => bail!("{name} must be true or false, not {other:?}"),
        }
    }

    /// What two variables of the same meaning say.
    ///
    /// # Errors
    /// They differ.
    pub(super) fn either(
        &mut self,
        one: &'static str,
        other: &'static str,
    ) -> Result<Option<String>> {
        let (first, second) = (self.text(one), self.text(other));
        ensure!(
            first.is_none() || second.is_none() || first == second,
            "{one} and {other} mean the same, but differ"
        );
        Ok(first.or(second))
    }
}

/// Whether a variable comes from Kubernetes, which describes services so to each container.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_about_port = ["_TCP", "_UDP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO", "_SERVICE_PORT"]
        .iter()
        .any(|end| name.ends_with(end));
    let is_host = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT_");
    let is_of_database = name.starts_with("MYSQL_");
    value.starts_with("tcp://")
        || value.starts_with("udp://")
        || (is_about_port || is_host) && !is_of_database
}
