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
