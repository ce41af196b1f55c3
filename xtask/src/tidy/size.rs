//! How long a file may get before it should be two.

use super::{TrackedFile, Violation};

/// Lines of code and comments, counted up to the tests at the foot of the file.
const MOST_LINES: usize = 400;

/// Files that may be longer, each with its reason.
const MAY_BE_LONGER: &[(&str, &str)] = &[];

/// Finds Rust files with too many lines before their tests.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    check_with(files, MAY_BE_LONGER)
}

fn check_with(files: &[TrackedFile], may_be_longer: &[(&str, &str)]) -> Vec<Violation> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs") && !is_test(&file.path));
    let judged = sources.filter(|file| !may_be_longer.iter().any(|(path, _)| *path == file.path));
    judged
        .filter_map(|file| {
            let lines = lines_before_tests(file.text.as_deref().unwrap_or_default());
            let problem = format!("has {lines} lines before its tests, {MOST_LINES} are allowed");
            (lines > MOST_LINES).then(|| Violation::new(&file.path, problem))
        })
        .collect()
}

/// Whether all of the file is tests: those read well in one long row.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn lines_before_tests(text: &str) -> usize {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_found() {
        let long = file("a/src/long.rs", &"// line\n".repeat(MOST_LINES + 1));
        let found = check(std::slice::from_ref(&long));
        assert_eq!(found.len(), 1);
        assert!(found[0].problem.contains("401 lines"), "{}", found[0]);
    }

    #[test]
    fn tests_at_the_foot_do_not_count() {
        let tests = "// line\n".repeat(MOST_LINES);
        assert!(check(&[file("a.rs", &format!("fn f() {{}}\n#[cfg(test)]\n{tests}"))]).is_empty());
    }

    #[test]
    fn files_of_tests_do_not_count() {
        let text = "// line\n".repeat(MOST_LINES + 1);
        assert!(check(&[file("a/tests/b.rs", &text), file("a/src/b/tests.rs", &text)]).is_empty());
        assert_eq!(check(&[file("a/src/contests.rs", &text)]).len(), 1);
    }

    #[test]
    fn a_helper_for_tests_in_the_middle_ends_the_count_too() {
        assert_eq!(lines_before_tests("a\nb\n    #[cfg(test)]\nc\n"), 2);
    }

    #[test]
    fn only_rust_and_only_files_without_leave_count() {
        let text = "// line\n".repeat(MOST_LINES + 1);
        assert!(check(&[file("a.md", &text)]).is_empty());
        let leave = [("a.rs", "a table that reads best in one piece")];
        assert!(check_with(&[file("a.rs", &text)], &leave).is_empty());
        assert_eq!(check_with(&[file("b.rs", &text)], &leave).len(), 1);
    }
}
