//! Parts of a step that stand for more than themselves.

use serde_json::{Map, Value};

use crate::golden_support::variables::{self, Variables};

/// Writes out every `{"$repeat": {"var", "from", "to", "item"}}` in a list, and turns
/// `{"$int": "80${i}"}` into a number.
pub(crate) fn expand(value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => {
            let mut expanded = Vec::new();
            for item in items {
                match only(item, "$repeat") {
                    Some(rule) => expanded.extend(repeat(rule)?),
                    None => expanded.push(expand(item)?),
                }
            }
            Ok(expanded.into())
        }
        Value::Object(entries) => match only(value, "$int") {
            Some(text) => integer(text),
            None => {
                let expand = |(key, value): (&String, &Value)| Ok((key.clone(), expand(value)?));
                entries.iter().map(expand).collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
        },
        other => Ok(other.clone()),
    }
}

/// The argument of an object that has this key alone.
fn only<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    entries.get(key)
}

fn repeat(rule: &Value) -> Result<Vec<Value>, String> {
    let bad = || format!("$repeat cannot take {rule}");
    let number = |key: &str| rule.get(key).and_then(Value::as_u64).ok_or_else(bad);
    let name = rule.get("var").and_then(Value::as_str).ok_or_else(bad)?;
    let item = rule.get("item").ok_or_else(bad)?;
    let each = |at: u64| {
        let variables = Variables::from([(name.to_owned(), at.into())]);
        expand(&variables::substitute(item, &variables))
    };
    (number("from")?..=number("to")?).map(each).collect()
}

fn integer(text: &Value) -> Result<Value, String> {
    let number = text.as_str().and_then(|text| text.parse::<i64>().ok());
    number.map(Value::from).ok_or_else(|| format!("$int cannot take {text}"))
}
