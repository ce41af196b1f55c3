//! What a transcript expects of a JSON value, and the differences to what arrived.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::{self, shown};
use super::variables::Variables;

/// How far an `epoch_ms` may be from this machine's clock.
const EPOCH_TOLERANCE: Duration = Duration::from_secs(600);

/// An expected value. Plain JSON matches only itself; an object whose single key starts with `$`
/// is a matcher.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Pattern {
    source: Value,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Exact,
    Array(Vec<Pattern>),
    Object(Vec<(String, Pattern)>),
    Any,
    Type(Type),
    Regex(Regex),
    /// Some line matches all of these.
    Line(Vec<Regex>),
    All(Vec<Pattern>),
    Contains(String),
    Range(f64, f64),
    Set(Vec<Pattern>),
    HasItems(Vec<Pattern>),
    Has(Vec<(String, Pattern)>),
    OneOf(Vec<Pattern>),
    Not(Box<Pattern>),
    Json(Box<Pattern>),
    Variable(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    EpochMs,
    Int,
    Number,
    String,
    Bool,
    Array,
    Object,
    Md5,
    Address,
    Uuid,
}

impl TryFrom<Value> for Pattern {
    type Error = String;

    fn try_from(source: Value) -> Result<Self, String> {
        let rule = match &source {
            Value::Array(items) => Rule::Array(patterns(items)?),
            Value::Object(entries) => match entries.iter().next() {
                Some((name, argument)) if entries.len() == 1 && name.starts_with('$') => {
                    Rule::matcher(name, argument)?
                }
                _ => Rule::Object(fields(entries)?),
            },
            _ => Rule::Exact,
        };
        Ok(Self { source, rule })
    }
}

impl Rule {
    fn matcher(name: &str, argument: &Value) -> Result<Self, String> {
        let bad_argument = || format!("{name} cannot take {}", shown(argument));
        let text = || argument.as_str().ok_or_else(bad_argument);
        let items = || patterns(argument.as_array().ok_or_else(bad_argument)?);
        let inner = || Pattern::try_from(argument.clone()).map(Box::new);
        Ok(match name {
            "$any" => Self::Any,
            "$type" => Self::Type(Type::deserialize(argument).map_err(|_| bad_argument())?),
            "$regex" if text()?.contains(LOOK_AHEAD) => Self::Line(line(text()?)?),
            // The whole text must match, and a dot stands for a line break too.
            "$regex" => Self::Regex(
                Regex::new(&format!(r"(?s)\A(?:{})\z", text()?))
                    .map_err(|error| error.to_string())?,
            ),
            "$contains" => Self::Contains(text()?.to_owned()),
            "$range" => match argument.as_array().map(Vec::as_slice) {
                Some([least, most]) => Self::Range(
                    least.as_f64().ok_or_else(bad_argument)?,
                    most.as_f64().ok_or_else(bad_argument)?,
                ),
                _ => return Err(bad_argument()),
            },
            "$set" => Self::Set(items()?),
            "$has_items" => Self::HasItems(items()?),
            "$has" => Self::Has(fields(argument.as_object().ok_or_else(bad_argument)?)?),
            "$one_of" => Self::OneOf(items()?),
            "$all" => Self::All(items()?),
            "$not" => Self::Not(inner()?),
            "$json" => Self::Json(inner()?),
            "$var" => Self::Variable(text()?.to_owned()),
            _ => return Err(format!("unknown matcher {name}")),
        })
    }
}

/// Asks what follows without taking it.
const LOOK_AHEAD: &str = "(?=";

/// An expression with look-aheads asks for a line of many, in which labels may stand in any order:
/// `(.*\n)?name\{(?=A)(?=B)rest\n.*`. Each look-ahead becomes an expression of its own.
fn line(text: &str) -> Result<Vec<Regex>, String> {
    let bad = || format!("only look-aheads at one place of one line are known, not {text}");
    let text = text.replace('\n', "\\n");
    let text = text.strip_prefix(r"(?s)(.*\n)?").ok_or_else(bad)?;
    let text = text.strip_suffix(r"\n.*").ok_or_else(bad)?;
    let (name, mut rest) = text.split_at(text.find(LOOK_AHEAD).ok_or_else(bad)?);
    let mut expressions = Vec::new();
    while let Some(ahead) = rest.strip_prefix(LOOK_AHEAD) {
        let (label, behind) = ahead.split_once(')').ok_or_else(bad)?;
        expressions.push(format!("^{name}{label}"));
        rest = behind;
    }
    expressions.push(format!("^{name}{rest}$"));
    let compiled = expressions.iter().map(|one| Regex::new(one).map_err(|error| error.to_string()));
    compiled.collect()
}

impl Pattern {
    /// One line for each difference; none if `actual` is what was expected. `at` names the place
    /// of `actual` in the messages.
    pub(crate) fn differences(
        &self,
        actual: &Value,
        variables: &Variables,
        at: &str,
    ) -> Vec<String> {
        let unless = |matches: bool, wanted: &str| {
            if matches { Vec::new() } else { vec![wrong(at, wanted, actual)] }
        };
        let matches = |pattern: &Self| pattern.differences(actual, variables, at).is_empty();
        match &self.rule {
            Rule::Exact => unless(self.source == *actual, &shown(&self.source)),
            Rule::Any => Vec::new(),
            Rule::Type(kind) => unless(kind.matches(actual), &format!("type {}", self.argument())),
            Rule::Regex(regex) => unless(
                actual.as_str().is_some_and(|text| regex.is_match(text)),
                &format!("text matching {}", self.argument()),
            ),
            Rule::Line(all) => unless(
                actual.as_str().is_some_and(|text| {
                    text.lines().any(|line| all.iter().all(|regex| regex.is_match(line)))
                }),
                &format!("a line matching {}", self.argument()),
            ),
            Rule::All(all) => {
                all.iter().flat_map(|one| one.differences(actual, variables, at)).collect()
            }
            Rule::Contains(part) => unless(
                actual.as_str().is_some_and(|text| text.contains(part)),
                &format!("text with {}", self.argument()),
            ),
            Rule::Range(least, most) => unless(
                actual.as_f64().is_some_and(|number| (*least..=*most).contains(&number)),
                &format!("a number from {least} to {most}"),
            ),
            Rule::OneOf(choices) => {
                unless(choices.iter().any(matches), &format!("one of {}", self.argument()))
            }
            Rule::Not(refused) => {
                unless(!matches(refused), &format!("anything but {}", self.argument()))
            }
            Rule::Variable(name) => match variables.get(name) {
                Some(value) => unless(value == actual, &format!("{} (${{{name}}})", shown(value))),
                None => vec![format!("{at}: nothing was captured as {name}")],
            },
            Rule::Json(inner) => match actual.as_str().map(json::parse) {
                Some(Ok(value)) => inner.differences(&value, variables, &format!("{at}.json")),
                Some(Err(error)) => vec![wrong(at, &format!("JSON text ({error})"), actual)],
                None => vec![wrong(at, "JSON text", actual)],
            },
            Rule::Array(items) => array(items, actual, variables, at),
            Rule::Set(items) => unordered(items, actual, variables, at, false),
            Rule::HasItems(items) => unordered(items, actual, variables, at, true),
            Rule::Object(fields) => object(fields, actual, variables, at, false),
            Rule::Has(fields) => object(fields, actual, variables, at, true),
        }
    }

    /// The argument of a matcher as text for a message.
    fn argument(&self) -> String {
        let argument = self.source.as_object().and_then(|matcher| matcher.values().next());
        shown(argument.unwrap_or(&self.source))
    }
}

impl Type {
    fn matches(self, value: &Value) -> bool {
        let text = |accepts: fn(&str) -> bool| value.as_str().is_some_and(accepts);
        match self {
            Self::EpochMs => value.as_u64().is_some_and(is_about_now),
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
            Self::Md5 => text(|text| {
                text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }),
            Self::Address => text(is_address),
            Self::Uuid => text(|text| {
                text.len() == 36 && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
            }),
        }
    }
}

fn is_about_now(epoch_ms: u64) -> bool {
    let then = Duration::from_millis(epoch_ms);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(then) < EPOCH_TOLERANCE
}

fn is_address(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, port)| {
        let port_digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        !host.is_empty() && !host.contains(char::is_whitespace) && port_digits
    })
}

fn patterns(items: &[Value]) -> Result<Vec<Pattern>, String> {
    items.iter().cloned().map(Pattern::try_from).collect()
}

fn fields(entries: &Map<String, Value>) -> Result<Vec<(String, Pattern)>, String> {
    entries
        .iter()
        .map(|(key, value)| Ok((key.clone(), Pattern::try_from(value.clone())?)))
        .collect()
}

fn wrong(at: &str, wanted: &str, actual: &Value) -> String {
    format!("{at}: want {wanted}, got {}", shown(actual))
}

fn object(
    fields: &[(String, Pattern)],
    actual: &Value,
    variables: &Variables,
    at: &str,
    more_allowed: bool,
) -> Vec<String> {
    let Value::Object(entries) = actual else { return vec![wrong(at, "an object", actual)] };
    let mut differences = Vec::new();
    for (key, pattern) in fields {
        let place = format!("{at}.{key}");
        match entries.get(key) {
            Some(value) => differences.extend(pattern.differences(value, variables, &place)),
            None => differences.push(format!("{place}: missing")),
        }
    }
    if !more_allowed {
        let unexpected = entries.iter().filter(|(key, _)| fields.iter().all(|(k, _)| k != *key));
        differences.extend(
            unexpected.map(|(key, value)| format!("{at}.{key}: unexpected ({})", shown(value))),
        );
    }
    differences
}

fn array(items: &[Pattern], actual: &Value, variables: &Variables, at: &str) -> Vec<String> {
    let Value::Array(elements) = actual else { return vec![wrong(at, "an array", actual)] };
    if items.len() != elements.len() {
        return vec![wrong(at, &format!("{} elements", items.len()), actual)];
    }
    let pairs = items.iter().zip(elements).enumerate();
    pairs
        .flat_map(|(index, (item, element))| {
            item.differences(element, variables, &format!("{at}[{index}]"))
        })
        .collect()
}

/// Each expected item takes the first element left that matches it, so items that could match
/// the same element belong last.
fn unordered(
    items: &[Pattern],
    actual: &Value,
    variables: &Variables,
    at: &str,
    more_allowed: bool,
) -> Vec<String> {
    let Value::Array(elements) = actual else { return vec![wrong(at, "an array", actual)] };
    let mut left: Vec<&Value> = elements.iter().collect();
    let mut unmatched = Vec::new();
    for item in items {
        let matching = |element: &&Value| item.differences(element, variables, at).is_empty();
        match left.iter().position(matching) {
            Some(index) => drop(left.remove(index)),
            None => unmatched.push(item),
        }
    }
    match (unmatched.as_slice(), left.as_slice()) {
        // With one candidate left the differences inside it say more than both texts.
        ([item], [element]) => item.differences(element, variables, &format!("{at}[*]")),
        ([], []) => Vec::new(),
        ([], _) if more_allowed => Vec::new(),
        (unmatched, left) => {
            let missing = unmatched
                .iter()
                .map(|item| format!("{at}: no element matches {}", shown(&item.source)));
            let unexpected =
                left.iter().map(|element| format!("{at}: unexpected element {}", shown(element)));
            missing.chain(unexpected).collect()
        }
    }
}
