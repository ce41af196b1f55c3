//! Profiles: settings for several registries, in a file.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

/// The file: a name for each registry, and which of them is meant unless another is named.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Settings of one registry, as on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) servers: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) transport: Option<String>,
    /// A file with the user in its first line and the password in its second.
    pub(crate) credentials_file: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Profiles {
    /// Reads the file at `path`, or the usual one, which may be missing.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn read(path: Option<&PathBuf>) -> Result<Self, String> {
        let Some(place) = path.cloned().or_else(usual) else { return Ok(Self::default()) };
        match std::fs::read_to_string(&place) {
            Ok(text) => Self::parse(&text).map_err(|error| format!("{}: {error}", place.display())),
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(format!("{}: {error}", place.display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The profile of that name, or the one that is meant if none is named.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Profile, String> {
        let Some(name) = name.or(self.default.as_deref()) else { return Ok(Profile::default()) };
        self.profiles.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            format!("there is no profile {name:?}, only {known:?}")
        })
    }
}

/// Where people keep it.
fn usual() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = of("XDG_CONFIG_HOME").or_else(|| Some(of("HOME")?.join(".config")))?;
    Some(folder.join("naming").join("profiles.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_chosen_by_name_or_as_the_default() {
        let text =
            "default = \"a\"\n[profiles.a]\nservers = \"x:1\"\n[profiles.b]\nnamespace = \"n\"";
        let profiles = Profiles::parse(text).unwrap();
        assert_eq!(profiles.choose(None).unwrap().servers.as_deref(), Some("x:1"));
        assert_eq!(profiles.choose(Some("b")).unwrap().namespace.as_deref(), Some("n"));
        assert!(profiles.choose(Some("c")).unwrap_err().contains("\"c\""));
        assert_eq!(Profiles::default().choose(None).unwrap(), Profile::default());
    }

    #[test]
    fn a_word_that_is_no_setting_is_told() {
        let text = "[profiles.a]\nserver = \"x:1\"";
        assert!(Profiles::parse(text).unwrap_err().contains("server"));
    }
}
