//! What people call the namespaces. The registry never looks at it: any namespace id works, with
//! or without a name here.

use std::sync::Arc;

use distro_core::Key;

use super::{Content, NAMESPACES, Registry, RegistryError};

/// Bytes of a name or description.
const MAX_TEXT: usize = 256;

/// Name and description of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// What it is called.
    pub(crate) name: Box<str>,
    /// More about it; may be empty.
    pub(crate) description: Box<str>,
}

impl Namespace {
    /// Of these texts.
    ///
    /// # Errors
    /// `Invalid` if one of them is too long; `parameter` is what the name was given as.
    pub(crate) fn new(
        parameter: &str,
        name: &str,
        description: &str,
    ) -> Result<Self, RegistryError> {
        for (parameter, text) in [(parameter, name), ("namespaceDesc", description)] {
            if text.len() > MAX_TEXT {
                let text = format!("Param '{parameter}' is longer than {MAX_TEXT} bytes");
                return Err(RegistryError::invalid(text));
            }
        }
        Ok(Self { name: name.into(), description: description.into() })
    }
}

impl Registry {
    /// What a namespace is called, if it has a name.
    pub(crate) fn find_namespace(&self, id: &str) -> Option<Namespace> {
        let datum = self.store.find(NAMESPACES)?;
        datum.read(|reader| {
            let (_, content) = reader.find_visible(id)?;
            namespace(content).cloned()
        })
    }

    /// All namespaces with a name, by id.
    pub(crate) fn namespaces(&self) -> Vec<(Key, Namespace)> {
        let Some(datum) = self.store.find(NAMESPACES) else { return Vec::new() };
        datum.read(|reader| {
            let named = reader
                .visible()
                .filter_map(|(id, _, content)| Some((Arc::clone(id), namespace(content)?.clone())));
            named.collect()
        })
    }
}

fn namespace(content: &Content) -> Option<&Namespace> {
    match content {
        Content::Namespace(namespace) => Some(namespace),
        _ => None,
    }
}
