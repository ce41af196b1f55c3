//! Every key that the server can be configured with is documented, and nothing else is.

use super::struct_fields::{Struct, read_structs};
use super::{TrackedFile, Violation};

const SOURCE: &str = "naming-server/src/config.rs";
const FOLDER: &str = "naming-server/src/config/";
const DOCUMENT: &str = "docs/configuration.md";
/// The struct that holds all others.
const ROOT: &str = "Config";

/// Finds keys that `docs/configuration.md` does not name as `` `section.key` ``, together with the
/// variable that sets them, and rows of its tables about keys that do not exist.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let text_of = |file: &TrackedFile| file.text.clone().unwrap_or_default();
    let sources = files.iter().filter(|file| file.path == SOURCE || file.path.starts_with(FOLDER));
    let structs: Vec<Struct> = sources.flat_map(|file| read_structs(&text_of(file))).collect();
    let keys = keys_below(ROOT, "", &structs, 0);
    if keys.is_empty() {
        return vec![Violation::new(SOURCE, format!("no keys found below struct {ROOT}"))];
    }
    let document = files.iter().find(|file| file.path == DOCUMENT).map(text_of);
    let document = document.unwrap_or_default();
    let expected = keys.iter().flat_map(|key| [key.clone(), variable(key)]);
    let missing = expected.filter(|name| !document.contains(&format!("`{name}`")));
    let stale = documented_keys(&document).filter(|key| !keys.iter().any(|known| known == key));
    let of = |problem: &str, name: &str| Violation::new(DOCUMENT, format!("{problem} `{name}`"));
    missing
        .map(|name| of("does not name", &name))
        .chain(stale.map(|key| of("explains a key that does not exist:", key)))
        .collect()
}

/// `http.port` is set by `NAMING_HTTP__PORT`.
fn variable(key: &str) -> String {
    format!("NAMING_{}", key.to_uppercase().replace('.', "__"))
}

/// What the rows of the tables begin with, but for the table of flags.
fn documented_keys(document: &str) -> impl Iterator<Item = &str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(key, _)| key)
        .filter(|key| !key.starts_with('-'))
}

/// The keys of one struct, each behind `prefix`. A struct that holds itself ends at a few levels.
fn keys_below(name: &str, prefix: &str, structs: &[Struct], depth: usize) -> Vec<String> {
    const DEEPEST: usize = 5;
    let Some(found) = structs.iter().find(|known| known.name == name && depth < DEEPEST) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for field in found.fields.iter().filter(|field| !field.skipped) {
        let own = if found.kebab_case { field.name.replace('_', "-") } else { field.name.clone() };
        let key = format!("{prefix}{own}");
        let section = section_of(&field.kind);
        if !structs.iter().any(|known| known.name == section) {
            keys.push(key);
        } else if field.flattened {
            keys.extend(keys_below(section, prefix, structs, depth + 1));
        } else {
            keys.extend(keys_below(section, &format!("{key}."), structs, depth + 1));
        }
    }
    keys
}

/// `Option<a::Limits>` and `Limits` name the same section.
fn section_of(kind: &str) -> &str {
    let inner =
        kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(kind);
    inner.rsplit("::").next().unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const CODE: &str = "
        pub struct Config { pub name: String, pub http: Http, pub more: Option<Limits> }
        pub struct Http { pub port: u16, pub limits: Limits }
        pub struct Limits { pub body_bytes: usize }
    ";

    #[test]
    fn a_key_without_documentation_is_found() {
        let document = "`name` `NAMING_NAME`, `http.port` `NAMING_HTTP__PORT`, `more.body_bytes`
            `NAMING_MORE__BODY_BYTES`, `NAMING_HTTP__LIMITS__BODY_BYTES` and http.limits.body_bytes";
        let found = check(&[file(SOURCE, CODE), file(DOCUMENT, document)]);
        assert_eq!(found, [Violation::new(DOCUMENT, "does not name `http.limits.body_bytes`")]);
    }

    #[test]
    fn a_key_without_its_variable_is_found() {
        let found = check(&[file(SOURCE, "struct Config { a: u8 }"), file(DOCUMENT, "`a`")]);
        assert_eq!(found, [Violation::new(DOCUMENT, "does not name `NAMING_A`")]);
    }

    #[test]
    fn a_row_about_a_key_that_is_gone_is_found() {
        let document = "| `a` | `NAMING_A` |\n| `--flag` | x |\n| `b` | `NAMING_B` |\n";
        let found = check(&[file(SOURCE, "struct Config { a: u8 }"), file(DOCUMENT, document)]);
        assert_eq!(found, [Violation::new(DOCUMENT, "explains a key that does not exist: `b`")]);
    }

    #[test]
    fn a_missing_document_misses_every_key_and_variable() {
        assert_eq!(check(&[file(SOURCE, CODE)]).len(), 8);
    }

    #[test]
    fn structs_may_be_spread_over_files() {
        let root = file("naming-server/src/config/mod.rs", "struct Config { a: part::Part }");
        let part = file("naming-server/src/config/part.rs", "struct Part { b: u8 }");
        let found = check(&[root, part, file(DOCUMENT, "`NAMING_A__B`")]);
        assert_eq!(found, [Violation::new(DOCUMENT, "does not name `a.b`")]);
    }

    #[test]
    fn flattened_and_skipped_fields_are_understood() {
        let code = "struct Config { #[serde(flatten)] a: Part, #[serde(skip)] b: u8 }
                    struct Part { c: u8 }";
        assert_eq!(check(&[file(SOURCE, code), file(DOCUMENT, "`c` `NAMING_C`")]), []);
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_not_taken_for_a_good_one() {
        assert_eq!(check(&[file(SOURCE, "type Config = Other;")]).len(), 1);
        let circle = "struct Config { again: Config }";
        assert_eq!(check(&[file(SOURCE, circle)]).len(), 1);
    }
}
