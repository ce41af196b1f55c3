//! Every key that the server can be configured with is documented.

use super::struct_fields::{Struct, read_structs};
use super::{TrackedFile, Violation};

const SOURCE: &str = "naming-server/src/config.rs";
const FOLDER: &str = "naming-server/src/config/";
const DOCUMENT: &str = "docs/configuration.md";
/// The struct that holds all others.
const ROOT: &str = "Config";

/// Finds keys that `docs/configuration.md` does not name as `` `section.key` ``.
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
    let missing = keys.iter().filter(|key| !document.contains(&format!("`{key}`")));
    missing.map(|key| Violation::new(DOCUMENT, format!("does not name `{key}`"))).collect()
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
        let document = "`name`, `http.port` and `more.body_bytes`, but not http.limits.body_bytes";
        let found = check(&[file(SOURCE, CODE), file(DOCUMENT, document)]);
        assert_eq!(found, [Violation::new(DOCUMENT, "does not name `http.limits.body_bytes`")]);
    }

    #[test]
    fn a_missing_document_misses_every_key() {
        assert_eq!(check(&[file(SOURCE, CODE)]).len(), 4);
    }

    #[test]
    fn structs_may_be_spread_over_files() {
        let root = file(SOURCE, "struct Config { a: part::Part }");
        let part = file("naming-server/src/config/part.rs", "struct Part { b: u8 }");
        let found = check(&[root, part]);
        assert_eq!(found, [Violation::new(DOCUMENT, "does not name `a.b`")]);
    }

    #[test]
    fn flattened_and_skipped_fields_are_understood() {
        let code = "struct Config { #[serde(flatten)] a: Part, #[serde(skip)] b: u8 }
                    struct Part { c: u8 }";
        assert_eq!(check(&[file(SOURCE, code), file(DOCUMENT, "`c`")]), []);
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_not_taken_for_a_good_one() {
        assert_eq!(check(&[file(SOURCE, "type Config = Other;")]).len(), 1);
        let circle = "struct Config { again: Config }";
        assert_eq!(check(&[file(SOURCE, circle)]).len(), 1);
    }
}
