//! Scalars of JSON the way Java's parser takes them: numbers as text, text as numbers, `null` as
//! the zero of its type.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::BadMessage;

/// A value as it stands in the message; `None` if the field is missing.
pub(super) type Given<'a> = Option<&'a RawValue>;

/// For fields of type [`Given`]: a `null` is something given, too.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<'de>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What one value is.
enum Scalar<'a> {
    Null,
    Flag(bool),
    /// As it is written.
    Number(&'a str),
    Text(String),
}

impl<'a> Scalar<'a> {
    fn of(field: &str, value: &'a RawValue) -> Result<Self, BadMessage> {
        let json = value.get();
        match json.as_bytes().first() {
            Some(b'n') => Ok(Self::Null),
            Some(b't') => Ok(Self::Flag(true)),
            Some(b'f') => Ok(Self::Flag(false)),
            Some(b'"') => {
                let text = serde_json::from_str(json);
                // The parser has seen it before, but not whether its escapes make text.
                text.map(Self::Text).map_err(|error| BadMessage::of_json(field, &error))
            }
            Some(b'-' | b'0'..=b'9') => Ok(Self::Number(json)),
            _ => Err(not_a("plain value", field, json)),
        }
    }
}

fn not_a(kind: &str, field: &str, shown: &str) -> BadMessage {
    BadMessage::about(&format!("{field} is not a {kind}"), shown)
}

/// A text; `None` for `null`. Numbers and flags become text as they are written.
///
/// # Errors
/// An object or a list.
pub(super) fn text(field: &str, value: &RawValue) -> Result<Option<String>, BadMessage> {
    Ok(match Scalar::of(field, value)? {
        Scalar::Null => None,
        Scalar::Flag(flag) => Some(flag.to_string()),
        Scalar::Number(number) => Some(number.to_owned()),
        Scalar::Text(text) => Some(text),
    })
}

/// A whole number; fractions are cut off.
///
/// # Errors
/// What is no number, or does not fit.
pub(super) fn whole<T: TryFrom<i64> + Default>(
    field: &str,
    value: &RawValue,
) -> Result<T, BadMessage> {
    let bad = |shown: &str| not_a("whole number", field, shown);
    let read = |text: &str| -> Result<T, BadMessage> {
        let number = text.parse::<i64>().ok().or_else(|| cut_fraction(text));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| bad(text))
    };
    match Scalar::of(field, value)? {
        Scalar::Null => Ok(T::default()),
        Scalar::Flag(_) => Err(bad(value.get())),
        Scalar::Number(number) => read(number),
        Scalar::Text(text) if text.trim().is_empty() => Ok(T::default()),
        Scalar::Text(text) => read(text.trim()),
    }
}

fn cut_fraction(text: &str) -> Option<i64> {
    // Up to there a float is a whole number exactly.
    const FARTHEST: f64 = 9_007_199_254_740_992.0;
    let number = finite(text)?.trunc();
    (number.abs() <= FARTHEST).then_some(number as i64)
}

fn finite(text: &str) -> Option<f64> {
    let is_plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.parse().ok().filter(|number: &f64| number.is_finite() && text.bytes().all(is_plain))
}

/// A number with a fraction. What is not finite comes as text.
///
/// # Errors
/// What is no number.
pub(super) fn double(field: &str, value: &RawValue) -> Result<f64, BadMessage> {
    let bad = |shown: &str| not_a("number", field, shown);
    match Scalar::of(field, value)? {
        Scalar::Null => Ok(0.0),
        Scalar::Flag(_) => Err(bad(value.get())),
        Scalar::Number(number) => finite(number).ok_or_else(|| bad(number)),
        Scalar::Text(text) => match text.trim() {
            "" => Ok(0.0),
            "NaN" => Ok(f64::NAN),
            "Infinity" | "INF" => Ok(f64::INFINITY),
            "-Infinity" | "-INF" => Ok(f64::NEG_INFINITY),
            trimmed => finite(trimmed).ok_or_else(|| bad(trimmed)),
        },
    }
}

/// A flag. Whole numbers but 0 are true.
///
/// # Errors
/// What is none.
pub(super) fn flag(field: &str, value: &RawValue) -> Result<bool, BadMessage> {
    let bad = |shown: &str| not_a("flag", field, shown);
    match Scalar::of(field, value)? {
        Scalar::Null => Ok(false),
        Scalar::Flag(flag) => Ok(flag),
        Scalar::Number(number) => {
            number.parse::<i64>().map(|number| number != 0).map_err(|_| bad(number))
        }
        Scalar::Text(text) => match text.trim() {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" | "" => Ok(false),
            other => Err(bad(other)),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn whole_numbers_come_in_many_forms() {
        let read = |json: &str| whole::<i32>("port", &raw(json)).ok();
        for (json, expected) in [
            ("80", Some(80)),
            ("\"81\"", Some(81)),
            ("\" 82 \"", Some(82)),
            ("80.9", Some(80)),
            ("-5", Some(-5)),
            ("8e3", Some(8_000)),
            ("null", Some(0)),
            ("\"\"", Some(0)),
            ("70000", Some(70_000)),
            ("2147483648", None),
            ("1e300", None),
            ("\"x\"", None),
            ("true", None),
            ("{}", None),
            ("[1]", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
        let beat = whole::<i64>("lastBeat", &raw("4102444800000"));
        assert_eq!(beat, Ok(4_102_444_800_000));
    }

    #[test]
    fn numbers_with_a_fraction_come_in_many_forms() {
        let read = |json: &str| double("weight", &raw(json)).ok();
        for (json, expected) in [
            ("1", Some(1.0)),
            ("\"2.5\"", Some(2.5)),
            ("1e-5", Some(0.000_01)),
            ("null", Some(0.0)),
            ("\"Infinity\"", Some(f64::INFINITY)),
            ("1e999", None),
            ("\"inf\"", None),
            ("false", None),
            ("[]", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
        assert!(read("\"NaN\"").unwrap().is_nan());
    }

    #[test]
    fn flags_and_texts_come_in_many_forms() {
        let read = |json: &str| flag("healthy", &raw(json)).ok();
        for (json, expected) in [
            ("true", Some(true)),
            ("\"True\"", Some(true)),
            ("\"\"", Some(false)),
            ("2", Some(true)),
            ("0", Some(false)),
            ("null", Some(false)),
            ("1.5", None),
            ("\"yes\"", None),
            ("{}", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
        let read = |json: &str| text("ip", &raw(json)).ok();
        assert_eq!(read("1.50").unwrap().as_deref(), Some("1.50"));
        assert_eq!(read("true").unwrap().as_deref(), Some("true"));
        assert_eq!(read("\"a\\u00e9\"").unwrap().as_deref(), Some("aé"));
        assert_eq!((read("null"), read("{}"), read("\"\\ud800\"")), (Some(None), None, None));
    }

    proptest! {
        #[test]
        fn no_scalar_makes_it_panic(json in r#"-?[0-9]{1,25}(\.[0-9]{1,5})?([eE][0-9]{1,4})?|"[^"\\]*""#) {
            if let Ok(raw) = RawValue::from_string(json) {
                let _ = (whole::<i32>("x", &raw), whole::<i64>("x", &raw));
                let _ = (double("x", &raw), flag("x", &raw), text("x", &raw));
            }
        }
    }
}
