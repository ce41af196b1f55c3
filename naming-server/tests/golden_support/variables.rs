//! Values a scenario names with `${...}`: its run token, addresses, and what it captured.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, Value>;

/// Replaces every `${name}` in the strings and keys of `source`. Names that are not known stay as
/// they are: metadata may hold such text.
pub(crate) fn substitute(source: &Value, variables: &Variables) -> Value {
    match source {
        Value::String(text) => Value::String(substitute_text(text, variables)),
        Value::Array(items) => {
            items.iter().map(|item| substitute(item, variables)).collect::<Vec<_>>().into()
        }
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (substitute_text(key, variables), substitute(value, variables)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn substitute_text(text: &str, variables: &Variables) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        result.push_str(before);
        let known = reference[2..].find('}').and_then(|end| {
            let value = variables.get(&reference[2..2 + end])?;
            Some((value, 2 + end + 1))
        });
        let length = match known {
            Some((Value::String(value), length)) => {
                result.push_str(value);
                length
            }
            Some((value, length)) => {
                result.push_str(&value.to_string());
                length
            }
            None => {
                result.push_str("${");
                2
            }
        };
        rest = &reference[length..];
    }
    result.push_str(rest);
    result
}

/// A token for one run of one scenario: a lower-case letter and seven letters or digits, never
/// the same twice in a process. It keeps the names of runs on one server apart.
pub(crate) fn run_token() -> String {
    static GIVEN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let token = random_token();
        if given.insert(token.clone()) {
            return token;
        }
    }
}

fn random_token() -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // A fresh hasher has fresh random keys, which is all the chance needed here.
    let mut random = RandomState::new().hash_one(());
    let mut draw = |choices: u64| {
        let digit = DIGITS[(random % choices) as usize];
        random /= choices;
        char::from(digit)
    };
    let first = draw(26);
    std::iter::once(first).chain((0..7).map(|_| draw(36))).collect()
}
