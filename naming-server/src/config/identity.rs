//! A header by which somebody proves to be who he is, as settings name it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use crate::nacos::PeerIdentity;

/// Bytes of a file with the value of such a header.
const MOST_VALUE_BYTES: u64 = 4_096;

/// The settings of such a header: `prefix` is where they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdentitySettings<'a> {
    pub(super) prefix: &'static str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) file: &'a str,
}

impl IdentitySettings<'_> {
    /// Says at the start whose word is taken, because it decides who can change what is registered.
    /// `port` is where Java servers call; `is_anybody` says that their word is taken from everybody.
    pub(super) fn say_who_is_trusted(&self, port: &str, is_anybody: bool) {
        let Self { prefix, key, .. } = self;
        if is_anybody {
            tracing::warn!(
                "{prefix}.trust_unknown_peers is set: whoever reaches {port} can add, change and \
                 remove instances of every service as a Java server would, without user or \
                 password; keep all but members away from it"
            );
        } else if key.is_empty() {
            tracing::info!(
                "what Java servers say is taken from the addresses in their list only, without \
                 proof of who they are: {prefix}.identity_key is not set"
            );
        } else {
            tracing::info!(
                header = key,
                "messages of Java servers are accepted with the identity header only"
            );
        }
    }

    /// Checks that name and value are set together, and the value only once.
    pub(super) fn check(&self) -> Result<()> {
        let Self { prefix, key, value, file } = self;
        let given = [!value.is_empty(), !file.is_empty()];
        ensure!(
            given != [true, true],
            "of {prefix}.identity_value and {prefix}.identity_value_file only one may be set"
        );
        ensure!(
            key.is_empty() != given.contains(&true),
            "{prefix}.identity_key and its value ({prefix}.identity_value or \
             {prefix}.identity_value_file) must be set together"
        );
        Ok(())
    }

    /// The header, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or what cannot be a header. The text never shows the value.
    pub(super) fn read(&self) -> Result<Option<PeerIdentity>> {
        let Self { prefix, key, .. } = self;
        if key.is_empty() {
            return Ok(None);
        }
        let value = self.text()?;
        PeerIdentity::new(key, value.trim())
            .map(Some)
            .ok_or_else(|| anyhow!("{prefix}.identity_key {key:?} and its value make no header"))
    }

    fn text(&self) -> Result<String> {
        if self.file.is_empty() {
            return Ok(self.value.to_owned());
        }
        let (path, prefix) = (Path::new(self.file), self.prefix);
        let named = || format!("cannot read {} ({prefix}.identity_value_file)", path.display());
        let length = std::fs::metadata(path).with_context(named)?.len();
        ensure!(
            length <= MOST_VALUE_BYTES,
            "{} is too long for a header ({prefix}.identity_value_file): {length} bytes",
            path.display()
        );
        std::fs::read_to_string(path).with_context(named)
    }
}
