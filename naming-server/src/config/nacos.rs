//! Settings of a member among servers of Nacos.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Hidden;
use super::identity::IdentitySettings;
use crate::nacos::PeerIdentity;

/// Bytes of a version.
const MOST_VERSION_BYTES: usize = 32;

/// A member among servers of Nacos; without effect unless `cluster.dialect` is `nacos`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NacosConfig {
    /// Version that this member claims to servers of Nacos, three numbers with dots between.
    /// Default `1.3.2`: they keep their persistent data among themselves as before 1.4. From 1.4.0
    /// on they form JRaft groups that need a majority of Java servers.
    pub version: String,
    /// Name of the header by which servers of Nacos know each other,
    /// `nacos.core.auth.server.identity.key` there. Default empty: none is sent or asked for.
    pub identity_key: String,
    /// Its value, `nacos.core.auth.server.identity.value` there. Default empty. Never shown; a
    /// file is the better place.
    pub identity_value: Hidden,
    /// File with that value; white space around it does not count. Default empty.
    pub identity_value_file: String,
    /// Whether what servers of Nacos tell each other is taken from anybody who reaches the port.
    /// Default false: from members by the list and, if there is an identity, only with it.
    pub trust_unknown_peers: bool,
}

impl Default for NacosConfig {
    fn default() -> Self {
        Self {
            version: "1.3.2".to_owned(),
            identity_key: String::new(),
            identity_value: Hidden::default(),
            identity_value_file: String::new(),
            trust_unknown_peers: false,
        }
    }
}

impl NacosConfig {
    pub(super) fn check(&self) -> Result<()> {
        let version = &self.version;
        ensure!(
            is_version(version),
            "cluster.nacos.version must be three numbers with dots between, as 1.3.2, not \
             {version:?}"
        );
        self.identity_settings().check()
    }

    /// The header by which members know each other, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or what cannot be a header. The text never shows the value.
    pub(crate) fn identity(&self) -> Result<Option<PeerIdentity>> {
        self.identity_settings().read()
    }

    fn identity_settings(&self) -> IdentitySettings<'_> {
        IdentitySettings {
            prefix: "cluster.nacos",
            key: &self.identity_key,
            value: &self.identity_value.0,
            file: &self.identity_value_file,
        }
    }

    /// Says at the start whose word is taken.
    pub(crate) fn say_who_is_trusted(&self) {
        let is_anybody = self.trust_unknown_peers;
        self.identity_settings().say_who_is_trusted("this port", is_anybody);
    }
}

/// Java takes versions of exactly three parts, and may hang a word on the last one.
pub(super) fn is_version(text: &str) -> bool {
    let number = |part: &str| {
        (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (numbers, word) = text.split_once('-').unwrap_or((text, "x"));
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() == 3
        && parts.into_iter().all(number)
        && !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= MOST_VERSION_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut NacosConfig)) -> String {
        let mut config = NacosConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_version_is_one_that_java_can_compare() {
        NacosConfig::default().check().unwrap();
        for good in ["1.4.8", "1.3.2", "0.0.0", "1.4.8-SNAPSHOT"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1.4", "1.4.8.1", "1.4.x", "1..2", "1.4.8-", "1.4.8-a b", "111111.1.1"] {
            assert!(!is_version(bad), "{bad}");
        }
        let text = refused(|config| config.version = "1.4".into());
        assert!(text.starts_with("cluster.nacos.version must be"), "{text}");
    }

    #[test]
    fn an_identity_is_whole_or_there_is_none() {
        assert!(NacosConfig::default().identity().unwrap().is_none());
        let text = refused(|config| config.identity_key = "id".into());
        assert!(text.contains("must be set together"), "{text}");
        let text = refused(|config| config.identity_value = Hidden("secret".into()));
        assert!(text.contains("must be set together") && !text.contains("secret"), "{text}");
        let text = refused(|config| {
            config.identity_value = Hidden("secret".into());
            config.identity_value_file = "file".into();
        });
        assert!(text.contains("only one"), "{text}");
    }

    #[test]
    fn the_value_may_stand_in_a_file_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        let config = NacosConfig {
            identity_key: "serverIdentity".into(),
            identity_value_file: path.to_str().unwrap().into(),
            ..NacosConfig::default()
        };
        config.check().unwrap();
        let refused = || format!("{:#}", config.identity().map(|_| ()).unwrap_err());
        assert!(refused().contains("cluster.nacos.identity_value_file"));
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(refused().contains("too long"));
        std::fs::write(&path, "two\nlines").unwrap();
        assert!(refused().contains("make no header") && !refused().contains("lines"));
        std::fs::write(&path, "s3cret\n").unwrap();
        let identity = config.identity().unwrap().unwrap();
        assert!(!format!("{identity:?}").contains("s3cret"));
        let given = NacosConfig {
            identity_value: Hidden("s3cret".into()),
            identity_value_file: String::new(),
            ..config
        };
        assert_eq!(given.identity().unwrap().unwrap(), identity);
        for shown in [format!("{given:?}"), toml::to_string(&given).unwrap()] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
