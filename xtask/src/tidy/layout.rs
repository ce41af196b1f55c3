//! Files that must be there, and the crate doc that every library opens with.

use super::{TrackedFile, Violation};

/// What the repository cannot do without, with the reason.
const MUST_BE_TRACKED: &[(&str, &str)] = &[
    ("LICENSE", "nobody may use the software without it"),
    ("Cargo.lock", "builds must be the same everywhere"),
];

/// Finds missing files and libraries without a crate doc.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let missing = MUST_BE_TRACKED
        .iter()
        .filter(|(path, _)| !files.iter().any(|file| file.path == *path))
        .map(|(path, why)| Violation::new(*path, format!("is not tracked: {why}")));
    let libraries = files.iter().filter(|file| file.path.ends_with("/src/lib.rs"));
    let mute = libraries
        .filter(|file| !file.text.as_deref().unwrap_or_default().starts_with("//! "))
        .map(|file| Violation::new(&file.path, "does not open with a crate doc"));
    missing.chain(mute).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn missing_files_are_found() {
        let found = check(&[file("README.md", "")]);
        let places: Vec<&str> = found.iter().map(|violation| violation.place.as_str()).collect();
        assert_eq!(places, ["LICENSE", "Cargo.lock"]);
    }

    #[test]
    fn a_library_without_a_crate_doc_is_found() {
        let present = [file("LICENSE", "x"), file("Cargo.lock", "x")];
        let with = |text| check(&[&present[..], &[file("a/src/lib.rs", text)]].concat());
        assert_eq!(with("pub mod a;\n").len(), 1);
        assert_eq!(with("").len(), 1);
        assert!(with("//! What it promises.\npub mod a;\n").is_empty());
    }
}
