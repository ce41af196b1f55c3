//! The rules of the repository hold: the same check as `cargo xtask tidy`.

use std::path::Path;

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let violations = xtask::tidy::check(&root).expect("git and cargo run in the repository");
    let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(listed.is_empty(), "{} broken rules:\n{}", listed.len(), listed.join("\n"));
}
