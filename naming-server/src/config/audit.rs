//! Settings of the record of changes.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::check::within;
use crate::audit::AuditSettings;

/// The record of administrative writes. They are in the log; this is about a file of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// File that gets a line of JSON for each change; its folder must be there. Default empty,
    /// none. Of one server alone: several must not share it.
    pub file: String,
    /// Bytes after which the file is put aside. Default 16 MiB. Too small keeps little; a change
    /// takes a few hundred bytes.
    pub max_bytes: u64,
    /// Files kept, with the one written to; the oldest go first. Default 10. With 1 the file is
    /// emptied when it is full.
    pub files: u32,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { file: String::new(), max_bytes: 16 << 20, files: 10 }
    }
}

impl AuditConfig {
    pub(super) fn check(&self) -> Result<()> {
        within("audit.max_bytes", self.max_bytes, 4_096..=1 << 40)?;
        within("audit.files", self.files, 1..=1_000)
    }

    /// Where the lines go; none without a file.
    pub(crate) fn settings(&self) -> Option<AuditSettings> {
        (!self.file.is_empty()).then(|| AuditSettings {
            file: self.file.as_str().into(),
            max_bytes: self.max_bytes,
            files: self.files,
        })
    }
}
