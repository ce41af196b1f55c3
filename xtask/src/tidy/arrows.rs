//! Which crate may depend on which.
//!
//! ```text
//! naming-client ─┬► naming-model ◄─┬─ naming-server ──► distro-net ──► distro-core
//!                └► naming-http  ◄─┘       └──────────────────────────►┘
//! ```

use serde_json::Value;

use super::Violation;

/// Every crate of the workspace with the crates of the workspace it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("distro-core", &[]),
    ("distro-net", &["distro-core"]),
    ("naming-client", &["naming-model", "naming-http"]),
    ("naming-model", &[]),
    ("naming-http", &[]),
    ("naming-server", &["naming-model", "naming-http", "distro-net", "distro-core"]),
    ("xtask", &["xtask-grpc"]),
    ("xtask-bench", &["xtask-grpc"]),
    // The messages of gRPC, nothing else.
    ("xtask-grpc", &["naming-model"]),
];

/// What tests may use beyond that: the SDK is tried against a real server in process, the messages
/// of the simulation pass through the real codec, and the tests of the core switch a feature of it on.
const ARROWS_OF_TESTS: &[(&str, &str)] = &[
    ("naming-client", "naming-server"),
    ("distro-core", "distro-net"),
    ("distro-core", "distro-core"),
];

/// The feature by which rules of the protocol can be switched off. No build but that of tests may
/// have it.
const FEATURE_OF_TESTS: &str = "simulation";

/// What must not creep into the protocol: it does no IO and knows no byte format.
const BANNED_IN_CORE: &[&str] = &["tokio", "hyper", "serde"];

/// Checks the crates described by the output of `cargo metadata`.
pub(super) fn check_arrows(metadata: &Value) -> Vec<Violation> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let ours = packages.filter(|package| package["source"].is_null());
    ours.flat_map(check_package).collect()
}

fn check_package(package: &Value) -> Vec<Violation> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(source, _)| *source == name) else {
        return vec![Violation::new(name, "is not in the table of crates and their arrows")];
    };
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let ours = dependencies.filter(|dependency| dependency["source"].is_null());
    ours.filter_map(|dependency| {
        let target = dependency["name"].as_str().unwrap_or_default();
        let of_tests = dependency["kind"] == "dev" && ARROWS_OF_TESTS.contains(&(name, target));
        let fine = allowed.contains(&target) || of_tests;
        let mut features = dependency["features"].as_array().into_iter().flatten();
        if dependency["kind"] != "dev" && features.any(|feature| *feature == FEATURE_OF_TESTS) {
            let text = format!("only tests may use {target} with the feature {FEATURE_OF_TESTS}");
            return Some(Violation::new(name, text));
        }
        (!fine).then(|| Violation::new(name, format!("must not depend on {target}")))
    })
    .collect()
}

/// Checks what `cargo tree -p distro-core -e normal --prefix none` printed: a crate on each line.
pub(super) fn check_tree_of_core(tree: &str) -> Vec<Violation> {
    let crates = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut banned: Vec<&str> = crates.filter(|name| is_banned(name)).collect();
    banned.sort_unstable();
    banned.dedup();
    let violation = |name| Violation::new("distro-core", format!("its dependencies hold {name}"));
    banned.into_iter().map(violation).collect()
}

/// The crates themselves and their kin: `serde_json`, `tokio-util` and so on.
fn is_banned(name: &str) -> bool {
    BANNED_IN_CORE.iter().any(|banned| {
        name.strip_prefix(banned)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_of_the_protocol_can_be_switched_off_in_tests_alone() {
        let of_kind = |kind: Option<&str>| {
            let core = json!({"name": "distro-core", "source": null, "kind": kind,
                "features": ["simulation"]});
            let package = json!({"name": "distro-net", "source": null, "dependencies": [core]});
            check_arrows(&json!({"packages": [package]}))
        };
        let text = "only tests may use distro-core with the feature simulation";
        assert_eq!(of_kind(None), [Violation::new("distro-net", text)]);
        assert!(of_kind(Some("dev")).is_empty());
    }

    fn workspace(source: &str, kind: Option<&str>, target: &str) -> Value {
        json!({"packages": [{"name": source, "source": null, "dependencies": [
            {"name": "anyhow", "source": "registry", "kind": null},
            {"name": target, "source": null, "kind": kind},
        ]}]})
    }

    #[test]
    fn an_arrow_as_drawn_passes() {
        assert!(check_arrows(&workspace("distro-net", None, "distro-core")).is_empty());
    }

    #[test]
    fn an_arrow_against_the_drawing_is_found() {
        let found = check_arrows(&workspace("distro-core", None, "distro-net"));
        assert_eq!(found, [Violation::new("distro-core", "must not depend on distro-net")]);
        assert_eq!(check_arrows(&workspace("xtask", Some("build"), "naming-model")).len(), 1);
    }

    #[test]
    fn what_only_tests_may_use_is_found_elsewhere() {
        assert!(check_arrows(&workspace("naming-client", Some("dev"), "naming-server")).is_empty());
        assert_eq!(check_arrows(&workspace("naming-client", None, "naming-server")).len(), 1);
        assert!(check_arrows(&workspace("distro-core", Some("dev"), "distro-net")).is_empty());
        assert_eq!(check_arrows(&workspace("naming-model", Some("dev"), "naming-server")).len(), 1);
    }

    #[test]
    fn a_crate_unknown_to_the_drawing_is_found() {
        assert_eq!(check_arrows(&workspace("naming-extra", None, "naming-model")).len(), 1);
    }

    #[test]
    fn io_and_byte_formats_below_the_core_are_found() {
        let tree = "distro-core v0.1.0 (/somewhere)\ndashmap v6.2.1\nserde_json v1.0.0\ntokio v1.0.0\n\
                    tokio v1.0.0 (*)\nserdelike v1.0.0\n";
        let found = check_tree_of_core(tree);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].problem.ends_with("serde_json"));
        assert!(found[1].problem.ends_with("tokio"));
    }
}
