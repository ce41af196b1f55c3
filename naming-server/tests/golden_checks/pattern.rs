//! Every matcher, met and missed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::golden_support::json::parse;
use crate::golden_support::pattern::Pattern;
use crate::golden_support::variables::Variables;

fn differences(expected: Value, actual: &Value) -> Vec<String> {
    let variables = Variables::from([
        ("text".to_owned(), json!("captured")),
        ("number".to_owned(), json!(7)),
        ("matcher".to_owned(), json!({"$any": true})),
    ]);
    let pattern = Pattern::try_from(expected).expect("a pattern that can be read");
    pattern.differences(actual, &variables, "$")
}

#[track_caller]
fn meets(expected: Value, actual: Value) {
    let found = differences(expected.clone(), &actual);
    assert!(found.is_empty(), "{expected} does not match {actual}: {found:?}");
}

#[track_caller]
fn misses(expected: Value, actual: Value) {
    let found = differences(expected.clone(), &actual);
    assert!(!found.is_empty(), "{expected} matches {actual}");
}

#[test]
fn scalars_match_only_themselves() {
    for (value, others) in [
        (json!(null), [json!(false), json!(0), json!("")]),
        (json!(true), [json!(false), json!(1), json!("true")]),
        (json!("a"), [json!("A"), json!("a "), json!(["a"])]),
        (json!(1), [json!(2), json!("1"), json!(true)]),
    ] {
        meets(value.clone(), value.clone());
        for other in others {
            misses(value.clone(), other);
        }
    }
}

#[test]
fn integers_and_decimals_differ() {
    let decimal = || parse("1.0").expect("JSON");
    let integer = || parse("1").expect("JSON");
    meets(decimal(), decimal());
    misses(integer(), decimal());
    misses(decimal(), integer());
    misses(json!({"weight": 1.0}), json!({"weight": 1}));
}

#[test]
fn objects_have_exactly_the_listed_keys_in_any_order() {
    let expected = || json!({"a": 1, "b": [true]});
    meets(expected(), parse(r#"{"b": [true], "a": 1}"#).expect("JSON"));
    misses(expected(), json!({"a": 1}));
    misses(expected(), json!({"a": 1, "b": [true], "c": null}));
    misses(expected(), json!({"a": 2, "b": [true]}));
    misses(expected(), json!([1, [true]]));
    misses(json!({}), json!({"a": 1}));
}

#[test]
fn arrays_have_exactly_the_listed_elements_in_order() {
    meets(json!([1, 2]), json!([1, 2]));
    misses(json!([1, 2]), json!([2, 1]));
    misses(json!([1, 2]), json!([1]));
    misses(json!([1]), json!([1, 2]));
    misses(json!([]), json!({}));
}

#[test]
fn any_matches_whatever_is_there_but_not_a_missing_key() {
    for value in [json!(null), json!(1), json!("x"), json!([1]), json!({"a": 1})] {
        meets(json!({"$any": true}), value);
    }
    misses(json!({"a": {"$any": true}}), json!({}));
}

#[test]
fn types() {
    let texts = [json!("x"), json!(""), json!("1")];
    for (name, good, bad) in [
        ("int", vec![json!(1), json!(-1), json!(u64::MAX)], vec![json!(1.0), json!("1")]),
        ("number", vec![json!(1), json!(1.5)], vec![json!("1"), json!(true), json!(null)]),
        ("string", texts.to_vec(), vec![json!(1), json!(null), json!(["x"])]),
        ("bool", vec![json!(true), json!(false)], vec![json!(0), json!("true"), json!(null)]),
        ("array", vec![json!([]), json!([1])], vec![json!({}), json!("[]"), json!(null)]),
        ("object", vec![json!({}), json!({"a": 1})], vec![json!([]), json!("{}"), json!(null)]),
        (
            "md5",
            vec![json!("0123456789abcdef0123456789abcdef")],
            vec![
                json!("0123456789abcdef0123456789abcde"),
                json!("0123456789ABCDEF0123456789abcdef"),
                json!("0123456789abcdef0123456789abcdeff"),
                json!(1),
            ],
        ),
        (
            "address",
            vec![json!("127.0.0.1:8848"), json!("host:1")],
            vec![json!("127.0.0.1"), json!(":80"), json!("h:"), json!("h:123456"), json!("a b:1")],
        ),
        (
            "uuid",
            vec![json!("9f2a1c1e-0b77-4c5e-8E0a-2f6f6f0d4b11")],
            vec![json!("9f2a1c1e"), json!("9g2a1c1e-0b77-4c5e-8e0a-2f6f6f0d4b11")],
        ),
    ] {
        for value in good {
            meets(json!({"$type": name}), value);
        }
        for value in bad {
            misses(json!({"$type": name}), value);
        }
    }
}

#[test]
fn epoch_ms_is_a_whole_number_of_about_now() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let epoch_ms = |moment: Duration| json!(u64::try_from(moment.as_millis()).expect("in range"));
    let kind = || json!({"$type": "epoch_ms"});
    meets(kind(), epoch_ms(now));
    meets(kind(), epoch_ms(now - Duration::from_secs(590)));
    meets(kind(), epoch_ms(now + Duration::from_secs(590)));
    misses(kind(), epoch_ms(now - Duration::from_secs(610)));
    misses(kind(), epoch_ms(now + Duration::from_secs(610)));
    misses(kind(), json!(now.as_secs()));
    misses(kind(), json!(now.as_millis() as f64));
    misses(kind(), json!(epoch_ms(now).to_string()));
}

#[test]
fn regex_matches_the_text_as_a_whole_and_across_lines() {
    let expected = || json!({"$regex": r"a.*|\d+"});
    meets(expected(), json!("a\nb"));
    meets(expected(), json!("12"));
    misses(expected(), json!("12x"));
    misses(expected(), json!("xa"));
    misses(expected(), json!("12\n"));
    misses(expected(), json!(12));
}

#[test]
fn look_aheads_ask_for_one_line_with_labels_in_any_order() {
    let pattern = r#"(?s)(.*\n)?m\{(?=[^}]*a="1")(?=[^}]*b="2")[^}]*\} [0-9.]+\n.*"#;
    let expected = || json!({"$regex": pattern});
    meets(expected(), json!("x 1\nm{b=\"2\",a=\"1\",} 3.0\ny 2\n"));
    meets(expected(), json!("m{a=\"1\",c=\"9\",b=\"2\"} 3\n"));
    misses(expected(), json!("m{a=\"1\"} 3\nm{b=\"2\"} 3\n"));
    misses(expected(), json!("m{a=\"1\",b=\"2\"} x\n"));
    misses(expected(), json!("xm{a=\"1\",b=\"2\"} 3\n"));
}

#[test]
fn all_asks_for_everything_at_once() {
    let expected = || json!({"$all": [{"$contains": "a"}, {"$contains": "b"}]});
    meets(expected(), json!("ba"));
    misses(expected(), json!("a"));
    misses(expected(), json!(""));
}

#[test]
fn contains_looks_for_text_within_text() {
    meets(json!({"$contains": "b.c"}), json!("ab.cd"));
    misses(json!({"$contains": "b.c"}), json!("abxcd"));
    misses(json!({"$contains": "b"}), json!(["b"]));
}

#[test]
fn range_includes_both_ends() {
    let expected = || json!({"$range": [1, 2.5]});
    for value in [json!(1), json!(1.0), json!(2), json!(2.5)] {
        meets(expected(), value);
    }
    for value in [json!(0), json!(2.6), json!(3), json!("2"), json!(null)] {
        misses(expected(), value);
    }
}

#[test]
fn set_takes_every_element_once_in_any_order() {
    let expected = || json!({"$set": [1, {"a": {"$type": "int"}}, 1]});
    meets(expected(), json!([{"a": 5}, 1, 1]));
    misses(expected(), json!([{"a": 5}, 1]));
    misses(expected(), json!([{"a": 5}, {"a": 6}, 1]));
    misses(expected(), json!([{"a": 5}, 1, 1, 1]));
    misses(expected(), json!({"a": 5}));
    meets(json!({"$set": []}), json!([]));
    misses(json!({"$set": []}), json!([1]));
}

#[test]
fn has_items_allows_more_elements() {
    let expected = || json!({"$has_items": [1, {"a": 1}]});
    meets(expected(), json!([{"a": 1}, 2, 1, 3]));
    meets(expected(), json!([1, {"a": 1}]));
    misses(expected(), json!([{"a": 1}, 2]));
    misses(json!({"$has_items": [1, 1]}), json!([1]));
    misses(json!({"$has_items": [1, 1]}), json!([1, 2]));
    misses(expected(), json!("1"));
}

#[test]
fn has_allows_more_keys() {
    let expected = || json!({"$has": {"a": {"$type": "int"}}});
    meets(expected(), json!({"a": 1}));
    meets(expected(), json!({"a": 1, "b": 2}));
    misses(expected(), json!({"a": "1", "b": 2}));
    misses(expected(), json!({"b": 2}));
    misses(expected(), json!([{"a": 1}]));
    // The looseness is not inherited.
    misses(json!({"$has": {"a": {"b": 1}}}), json!({"a": {"b": 1, "c": 2}}));
}

#[test]
fn one_of_and_not() {
    meets(json!({"$one_of": [200, {"$range": [500, 599]}]}), json!(503));
    misses(json!({"$one_of": [200, {"$range": [500, 599]}]}), json!(404));
    misses(json!({"$one_of": []}), json!(1));
    meets(json!({"$not": {"$contains": "x"}}), json!("abc"));
    misses(json!({"$not": {"$contains": "x"}}), json!("xyz"));
}

#[test]
fn json_looks_inside_text() {
    let expected = || json!({"$json": {"a": 1}});
    meets(expected(), json!(r#" {"a": 1} "#));
    misses(expected(), json!(r#"{"a": 1.0}"#));
    misses(expected(), json!(r#"{"a": 1"#));
    misses(expected(), json!({"a": 1}));
}

#[test]
fn var_is_what_was_captured_and_nothing_else() {
    meets(json!({"$var": "text"}), json!("captured"));
    misses(json!({"$var": "text"}), json!("other"));
    meets(json!({"$var": "number"}), json!(7));
    misses(json!({"$var": "number"}), json!("7"));
    misses(json!({"$var": "unknown"}), json!(null));
    // A captured value is never taken for a matcher.
    misses(json!({"$var": "matcher"}), json!(1));
}

#[test]
fn an_object_with_more_keys_is_no_matcher() {
    meets(json!({"$any": true, "b": 1}), json!({"$any": true, "b": 1}));
    misses(json!({"$any": true, "b": 1}), json!(1));
}

#[test]
fn matchers_that_cannot_be_read_are_refused() {
    for broken in [
        json!({"$unknown": 1}),
        json!({"$type": "float"}),
        json!({"$type": 1}),
        json!({"$regex": "("}),
        json!({"$contains": 1}),
        json!({"$range": [1]}),
        json!({"$range": ["a", "b"]}),
        json!({"$set": {}}),
        json!({"$has": []}),
        json!([{"a": {"$one_of": 1}}]),
    ] {
        assert!(Pattern::try_from(broken.clone()).is_err(), "{broken}");
    }
}

#[test]
fn each_difference_names_its_place() {
    let expected = json!({"hosts": [{"ip": "a", "weight": 1.0}], "count": 1, "name": "n"});
    let actual = json!({"hosts": [{"ip": "b", "weight": 1}], "name": "n", "more": true});
    let found = differences(expected, &actual);
    let places: Vec<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["$.count", "$.hosts[0].ip", "$.hosts[0].weight", "$.more"]);
}

#[test]
fn a_set_with_one_element_left_shows_what_differs_inside() {
    let found = differences(json!({"$set": [{"a": 1}, {"a": 2}]}), &json!([{"a": 2}, {"a": 3}]));
    assert_eq!(found, ["$[*].a: want 1, got 3"]);
}

#[test]
fn an_object_with_a_key_twice_is_not_json() {
    assert!(parse(r#"{"a": {"b": 1, "b": 1}}"#).is_err_and(|error| error.contains("twice")));
    assert_eq!(parse(r#"{"a": {"b": 1}, "b": 1}"#), Ok(json!({"a": {"b": 1}, "b": 1})));
    assert!(parse("1 2").is_err());
}
