//! Writing JSON straight into a buffer, for the answers that are rendered often.

use std::fmt::Write;

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends the inside of a JSON string. What needs no escape, almost everything, is copied whole.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => push_display(out, format_args!("\\u{control:04x}")),
        }
    }
    out.push_str(&text[copied..]);
}

/// Appends a number.
pub(crate) fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Appends a weight the way Java prints a double: with at least one decimal.
pub(crate) fn push_double(out: &mut String, number: f64) {
    out.push_str(ryu::Buffer::new().format(number));
}

/// Appends `true` or `false`.
pub(crate) fn push_bool(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}

/// Appends anything that can be displayed.
pub(crate) fn push_display(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        push_string(&mut out, text);
        out
    }

    proptest! {
        #[test]
        fn every_text_survives(text in ".*") {
            let back: String = serde_json::from_str(&written(&text)).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn weights_are_written_as_by_the_standard_library(number in 0.01..=10_000.0_f64) {
            for number in [number, number.round(), (number * 100.0).round() / 100.0] {
                let mut out = String::new();
                push_double(&mut out, number);
                prop_assert_eq!(out, format!("{number:?}"));
            }
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(written("a\"\\\n\r\t\u{1}é"), r#""a\"\\\n\r\t\u0001é""#);
    }

    #[test]
    fn doubles_keep_a_decimal() {
        let text = |number| {
            let mut out = String::new();
            push_double(&mut out, number);
            out
        };
        assert_eq!(
            [0.0, 1.0, 0.5, 10_000.0, 0.01].map(text),
            ["0.0", "1.0", "0.5", "10000.0", "0.01"]
        );
    }
}
