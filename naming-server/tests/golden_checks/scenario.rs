//! Reading transcripts, and the variables in them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::golden_support::scenario::{Action, Scenario, Side, Step, load};
use crate::golden_support::variables::{Variables, run_token, substitute};

fn with_steps(steps: Value) -> String {
    json!({"name": "n", "title": "t", "spec": "1", "recorded": "r", "steps": steps}).to_string()
}

#[test]
fn what_is_misspelt_is_refused() {
    let request = json!({"method": "GET", "path": "/"});
    for (step, word) in [
        (json!({"step": "http", "request": request, "expected": {}}), "expected"),
        (json!({"step": "http", "request": request, "expect": {"state": 200}}), "state"),
        (json!({"step": "http", "request": request, "want": {"state": 200}}), "state"),
        (json!({"step": "http", "request": request, "nacos": {"state": 200}}), "state"),
        (json!({"step": "http", "request": {"method": "GET", "url": "/"}}), "url"),
        (json!({"step": "http", "request": request, "expect": {"json": {"$what": 1}}}), "$what"),
        (json!({"step": "poll", "request": request, "expect": {}, "every_ms": 1}), "deadline_ms"),
        (json!({"step": "sleep", "millis": 1}), "millis"),
        (json!({"step": "sleep", "ms": 1, "want": {"status": 200}}), "expect"),
        (json!({"step": "expect_push", "socket": "u", "deadline_ms": 1}), "outer"),
        (json!({"step": "ack_push", "socket": "u", "ref_as": "text"}), "text"),
        (json!({"step": "mark", "mark": "m", "only": "us"}), "us"),
        (json!({"step": "wait"}), "wait"),
        (json!("sleep"), "object"),
    ] {
        let error =
            Scenario::parse(&with_steps(json!([step])), Step::check).expect_err("must be refused");
        assert!(error.contains(word), "{error}");
    }
    assert!(Scenario::parse(&with_steps(json!([{"step": "sleep", "ms": 1}])), Step::check).is_ok());
}

#[test]
fn each_side_has_its_expectation_and_falls_back_to_the_common_one() {
    let statuses = |step: Value| {
        [Side::Nacos, Side::Want].map(|side| {
            let step = Step::parse(&step, side).expect("a step");
            let Action::Http(exchange) = step.action else { panic!("not a request") };
            exchange.expect.map(|expect| format!("{:?}", expect.status))
        })
    };
    let request = json!({"method": "GET", "path": "/"});
    let [nacos, want] = statuses(json!({
        "step": "http", "request": request, "why": "an error is not 200",
        "nacos": {"status": 200}, "want": {"status": 400},
    }));
    assert!(nacos.is_some_and(|text| text.contains("200")));
    assert!(want.is_some_and(|text| text.contains("400")));
    let [nacos, want] =
        statuses(json!({"step": "http", "request": request, "expect": {"status": 418}}));
    assert!(nacos.as_ref().is_some_and(|text| text.contains("418")));
    assert_eq!(nacos, want);
    assert_eq!(statuses(json!({"step": "http", "request": request})), [None, None]);
}

#[test]
fn a_json_null_is_an_expectation() {
    let step = json!({
        "step": "http", "request": {"method": "GET", "path": "/"},
        "expect": {"json": null, "headers": {"x": null}},
    });
    let Action::Http(exchange) = Step::parse(&step, Side::Want).expect("a step").action else {
        panic!("not a request")
    };
    let expect = exchange.expect.expect("an expectation");
    assert!(expect.json.is_some() && expect.text.is_none());
    assert!(expect.headers.contains_key("x"));
}

#[test]
fn variables_are_replaced_in_texts_and_keys_once() {
    let variables = Variables::from([
        ("run".to_owned(), json!("r1")),
        ("u.port".to_owned(), json!(9000)),
        ("nested".to_owned(), json!("${run}")),
    ]);
    let source =
        json!({"k-${run}": ["${u.port}", "${nested}${run}", 5, "${unknown} ${", "${a${run}"]});
    let expected = json!({"k-r1": ["9000", "${run}r1", 5, "${unknown} ${", "${ar1"]});
    assert_eq!(substitute(&source, &variables), expected);
}

#[test]
fn run_tokens_are_eight_letters_and_digits_and_never_repeat() {
    let mut tokens: Vec<String> = (0..1000).map(|_| run_token()).collect();
    for token in &tokens {
        assert_eq!(token.len(), 8);
        assert!(token.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert!(token.as_bytes()[0].is_ascii_lowercase());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 1000);
}

#[test]
fn a_folder_lists_unreadable_files_with_their_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("a file");
    };
    assert!(load(folder.path(), Step::check).is_err_and(|error| error.contains("no transcripts")));
    write("n.json", &with_steps(json!([])));
    write("other.json", &with_steps(json!([])));
    write("broken.json", "{");
    write("README.md", "not a transcript");
    let found = load(folder.path(), Step::check).expect("a list");
    let names: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.is_ok())).collect();
    assert_eq!(names, [("broken", false), ("n", true), ("other", false)]);
}

/// The transcripts themselves: readable, and none of them left out unnoticed.
#[test]
fn what_needs_users_is_known() {
    let mut need = Vec::new();
    let mut fresh = Vec::new();
    for version in ["v1", "v2", "v3"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
        for (name, scenario) in load(&folder, Step::check).expect("transcripts") {
            let scenario = scenario.unwrap_or_else(|error| panic!("{name}: {error}"));
            need.extend(scenario.needs_auth().then(|| format!("{version}/{name}")));
            fresh.extend(scenario.needs_no_user().then(|| format!("{version}/{name}")));
        }
    }
    let known = [
        "v1/auth-access",
        "v1/auth-form-post",
        "v1/auth-login",
        "v1/auth-users",
        "v2/auth",
        "v3/auth-gates",
        "v3/auth-login",
        "v3/auth-rights-v3",
    ];
    assert_eq!(need, known);
    assert_eq!(fresh, ["v2/first-admin", "v3/first-admin-v3"]);
}

#[test]
fn slow_scenarios_start_first_and_exclusive_ones_last() {
    let scenario = |seconds: u64, exclusive: bool| {
        let text = json!({
            "name": "n", "title": "t", "spec": "1", "recorded": "r", "steps": [],
            "seconds": seconds, "exclusive": exclusive,
        });
        Scenario::parse(&text.to_string(), Step::check).expect("a scenario")
    };
    let ordered = [scenario(37, false), scenario(5, false), scenario(19, true), scenario(0, true)];
    assert!(ordered.is_sorted_by_key(Scenario::start_order));
    assert_ne!(ordered[0].start_order(), ordered[1].start_order());
}
