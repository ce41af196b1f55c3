//! The file: JSON with a head and a record on each line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::registry::Item;

/// What a file says that it is.
const FORMAT: &str = "naming-server backup";
/// The version that is written, and the latest that is read.
const VERSION: u64 = 1;
/// Bytes of a file that is read: a backup of ten million instances has about three times less.
const MAX_BYTES: u64 = 8 << 30;
/// What stands in `without` of a file that has no users, roles and permissions.
const ACCOUNTS: &str = "accounts";

/// A backup.
#[derive(Debug)]
pub(super) struct Backup {
    /// Where it was made of.
    pub(super) source: String,
    /// Whether users, roles and permissions are among the items.
    pub(super) has_accounts: bool,
    /// In the order in which they are restored, each place once.
    pub(super) items: Vec<Item>,
    /// When it was made; empty for one that is about to be.
    pub(super) made: String,
}

/// Why a file is no backup. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoBackup {
    #[error("it is no backup: {0}")]
    Form(String),
    #[error("it has the format {0}, a later one than this release reads ({VERSION})")]
    Newer(u64),
    #[error("it is cut short or was changed: {0}; --accept-changes takes it all the same")]
    Changed(String),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What is looked at before all else.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u64,
    made: String,
    #[serde(rename = "by")]
    _by: String,
    source: String,
    without: Vec<String>,
    counts: BTreeMap<String, usize>,
    checksum: String,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

impl Backup {
    /// Reads a file. Nothing of it is believed that does not fit together, unless changes are
    /// accepted.
    ///
    /// # Errors
    /// [`NoBackup`].
    pub(super) fn read(path: &Path, accepts_changes: bool) -> Result<Self, NoBackup> {
        if fs::metadata(path)?.len() > MAX_BYTES {
            return Err(NoBackup::Form(format!("it has more than {MAX_BYTES} bytes")));
        }
        Self::parse(&fs::read_to_string(path)?, accepts_changes)
    }

    fn parse(text: &str, accepts_changes: bool) -> Result<Self, NoBackup> {
        let form = |error: serde_json::Error| NoBackup::Form(error.to_string());
        let kind: Kind = serde_json::from_str(text).map_err(form)?;
        if kind.format != FORMAT {
            return Err(NoBackup::Form(format!("its format is {:?}, not {FORMAT:?}", kind.format)));
        }
        if kind.version > VERSION {
            return Err(NoBackup::Newer(kind.version));
        }
        let document: Document<'_> = serde_json::from_str(text).map_err(form)?;
        let mut items = Vec::with_capacity(document.records.len());
        for (index, record) in document.records.iter().enumerate() {
            let item: Item = serde_json::from_str(record.get())
                .map_err(|error| NoBackup::Form(format!("record {}: {error}", index + 1)))?;
            items.push(item);
        }
        if !accepts_changes {
            let records = document.records.iter().map(|record| record.get());
            if checksum(records) != document.checksum {
                return Err(NoBackup::Changed("its checksum is another one".to_owned()));
            }
            if counts(&items) != document.counts {
                return Err(NoBackup::Changed("it counts other records than it has".to_owned()));
            }
        }
        let mut places = BTreeSet::new();
        if let Some(twice) =
            items.iter().map(Item::place).find(|place| !places.insert(place.clone()))
        {
            return Err(NoBackup::Form(format!("it has {twice} twice")));
        }
        let has_accounts = !document.without.iter().any(|left| left == ACCOUNTS);
        if !has_accounts && items.iter().any(Item::is_account) {
            return Err(NoBackup::Form(
                "it has users although it says that it has none".to_owned(),
            ));
        }
        let Document { made, source, .. } = document;
        Ok(Self { source, has_accounts, items: in_order(items), made })
    }

    /// Writes the file, for its owner alone. It is whole and on the disk when this returns; until
    /// then it has another name.
    ///
    /// # Errors
    /// What the system says; there is no file then, or the one that was there before.
    pub(super) fn write(self, path: &Path, overwrites: bool) -> io::Result<()> {
        let is_there = || {
            let text = "there is such a file already; --overwrite writes over it";
            io::Error::new(io::ErrorKind::AlreadyExists, text)
        };
        if !overwrites && fs::symlink_metadata(path).is_ok() {
            return Err(is_there());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let draft = Draft(path.with_file_name(name));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft.0)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        if !overwrites && fs::symlink_metadata(path).is_ok() {
            return Err(is_there());
        }
        fs::rename(&draft.0, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    fn text(self) -> String {
        let Self { source, has_accounts, items, .. } = self;
        let items = in_order(items);
        let lines: Vec<String> = items.iter().map(line).collect();
        let without: &[&str] = if has_accounts { &[] } else { &[ACCOUNTS] };
        let by = concat!("naming-server ", env!("CARGO_PKG_VERSION"));
        let mut text = String::from("{\n");
        for (key, value) in [
            ("format", json!(FORMAT)),
            ("version", json!(VERSION)),
            ("made", json!(now())),
            ("by", json!(by)),
            ("source", json!(source)),
            ("without", json!(without)),
            ("counts", json!(counts(&items))),
            ("checksum", json!(checksum(lines.iter().map(String::as_str)))),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  \"{key}\": {value},");
        }
        text.push_str("  \"records\": [");
        for (index, line) in lines.iter().enumerate() {
            text.push_str(if index == 0 { "\n    " } else { ",\n    " });
            text.push_str(line);
        }
        text.push_str("\n  ]\n}\n");
        text
    }
}

/// A file under another name until it is whole; gone if it never is.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there any more if it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

fn line(item: &Item) -> String {
    serde_json::to_string(item).expect("an item is JSON")
}

/// In the order in which they are restored, and always the same one, so that two backups can be
/// compared line by line.
fn in_order(items: Vec<Item>) -> Vec<Item> {
    let mut keyed: Vec<_> = items.into_iter().map(|item| (item.place(), item)).collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    keyed.into_iter().map(|(_, item)| item).collect()
}

fn counts(items: &[Item]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> =
        Item::KINDS.iter().map(|(_, many)| ((*many).to_owned(), 0)).collect();
    for item in items {
        *counts.entry(Item::KINDS[item.kind()].1.to_owned()).or_default() += 1;
    }
    counts
}

/// Of the records as they stand in the file, each with the end of its line.
fn checksum<'a>(records: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for record in records {
        hash.update(record);
        hash.update("\n");
    }
    hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// In UTC, as log lines show it.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        let hash = format!("$2a$10${}", "a".repeat(53));
        let items = vec![
            serde_json::from_value(json!({"kind": "user", "name": "ö", "passwordHash": hash}))
                .unwrap(),
            Item::Namespace { id: "dev".into(), name: "D".into(), description: String::new() },
        ];
        Backup { source: "here".into(), has_accounts: true, items, made: String::new() }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        backup().write(&path, false).unwrap();
        let read = Backup::read(&path, false).unwrap();
        assert_eq!(read.items, in_order(backup().items));
        assert!(read.has_accounts && read.source == "here" && read.made.ends_with('Z'));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error = backup().write(&path, false).unwrap_err().to_string();
        assert!(error.contains("--overwrite"), "{error}");
        backup().write(&path, true).unwrap();
    }

    #[test]
    fn what_was_changed_or_cut_short_is_refused() {
        let text = backup().text();
        let refused = |text: &str| Backup::parse(text, false).unwrap_err().to_string();
        assert!(refused(&text.replace("\"dev\"", "\"prod\"")).contains("checksum"));
        Backup::parse(&text.replace("\"dev\"", "\"prod\""), true).unwrap();
        assert!(refused(&text.replace("\"namespaces\":1", "\"namespaces\":2")).contains("counts"));
        assert!(refused(&text[..text.len() / 2]).contains("no backup"));
        assert!(refused(&text.replace("\"version\": 1", "\"version\": 2")).contains("later"));
        assert!(refused(&text.replace(FORMAT, "other")).contains("other"));
        assert!(refused("{}").contains("no backup"));
        let kinds = text.replace("\"kind\":\"namespace\"", "\"kind\":\"dream\"");
        assert!(refused(&kinds).contains("record 1"), "{}", refused(&kinds));
    }

    #[test]
    fn a_place_stands_in_it_once() {
        let mut twice = backup();
        twice.items.push(Item::Namespace {
            id: "dev".into(),
            name: "other".into(),
            description: String::new(),
        });
        let error = Backup::parse(&twice.text(), false).unwrap_err().to_string();
        assert!(error.contains("namespace dev twice"), "{error}");
    }
}
