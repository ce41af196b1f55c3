//! What a reader elsewhere cannot use: paths of one machine, hosts of package registries, talk
//! about how the text came to be.

use super::{TrackedFile, Violation};

/// Lower case stands for either case, upper case for itself. Written in two halves so that this file does not find itself.
const PRIVATE: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/tmp/", "bash"), "a path of one machine"),
    (concat!("/tmp/", "brief"), "a path of one machine"),
    (concat!("../", "shared"), "a path outside of the repository"),
    (concat!("crates", ".io"), "the host of a package registry"),
    (concat!("registry.", "npmjs"), "the host of a package registry"),
    (concat!("npmmirror", ".com"), "the host of a package registry"),
    (concat!("pypi", ".org"), "the host of a package registry"),
    (concat!("pythonhosted", ".org"), "the host of a package registry"),
    (concat!("proxy.", "golang"), "the host of a package registry"),
    (concat!("goproxy", "."), "the host of a package registry"),
    (concat!("repo1.", "maven"), "the host of a package registry"),
    (concat!("repo.", "maven"), "the host of a package registry"),
    (concat!("co-authored", "-by:"), "talk about how the text came to be"),
    (concat!("this ", "session"), "talk about how the text came to be"),
    (concat!("previous ", "session"), "talk about how the text came to be"),
    (concat!("the ", "brief says"), "talk about how the text came to be"),
];

/// The only source that a lock file may name: no git dependency, no mirror.
const SOURCE_OF_CRATES: &str =
    concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

/// Finds such text in every tracked text file.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &TrackedFile) -> Vec<Violation> {
    let text = file.text.as_deref().unwrap_or_default();
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !is_source_of_crates(&file.path, line))
        .flat_map(|(index, line)| check_line(&file.path, index + 1, line))
        .collect()
}

fn is_source_of_crates(path: &str, line: &str) -> bool {
    is_lock_file(path) && line == SOURCE_OF_CRATES
}

/// The workspace's own, or that of a crate beside it.
fn is_lock_file(path: &str) -> bool {
    path.rsplit('/').next() == Some("Cargo.lock")
}

fn check_line(path: &str, number: usize, line: &str) -> Vec<Violation> {
    let place = || format!("{path}:{number}");
    let lower = line.to_lowercase();
    let found =
        PRIVATE.iter().filter(|(private, _)| lower.contains(private) || line.contains(private));
    let mut violations: Vec<Violation> = found
        .map(|(private, why)| Violation::new(place(), format!("{private:?} is {why}")))
        .collect();
    if is_lock_file(path) && line.starts_with("source = ") {
        violations.push(Violation::new(place(), "a crate from elsewhere than the usual registry"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn every_private_text_is_found_with_its_line() {
        for (private, _) in PRIVATE {
            let found = check(&[file("docs/a.md", &format!("fine\nsee {private}x\n"))]);
            assert_eq!(found.len(), 1, "{private}: {found:?}");
            assert_eq!(found[0].place, "docs/a.md:2");
        }
    }

    #[test]
    fn case_matters_where_it_tells_a_path_from_a_word() {
        let find = |text: &str| check(&[file("a.md", text)]).len();
        assert_eq!(find(&["/V1/AUTH", "/users/login"].concat()), 0);
        assert_eq!(find(&["Co-authored", "-By: x"].concat()), 1);
    }

    #[test]
    fn plain_words_pass() {
        let text = "The members share the work. A temporary file lies in /tmp. Run it from home.\n";
        assert!(check(&[file("README.md", text)]).is_empty());
    }

    #[test]
    fn lock_files_name_the_usual_registry_only() {
        for lock in ["Cargo.lock", "xtask/sdk/a/Cargo.lock"] {
            assert!(check(&[file(lock, SOURCE_OF_CRATES)]).is_empty(), "{lock}");
            assert_eq!(check(&[file(lock, "source = \"git+https://host/x\"")]).len(), 1, "{lock}");
        }
        assert_eq!(check(&[file("other.lock", SOURCE_OF_CRATES)]).len(), 1);
        assert_eq!(check(&[file("my-Cargo.lock", SOURCE_OF_CRATES)]).len(), 1);
    }

    #[test]
    fn files_that_are_not_text_are_skipped() {
        assert!(check(&[TrackedFile { path: "a.bin".to_owned(), text: None }]).is_empty());
    }
}
