//! Texts that come from outside.

use std::borrow::Cow;

use memchr::memchr2;

/// The beginning of a text that may be long, for an error or a line in the log: so many bytes at
/// most.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Where the first byte stands that does not stand for itself.
pub(crate) fn first_escape(text: &[u8]) -> Option<usize> {
    memchr2(b'%', b'+', text)
}

/// Decodes a form-encoded text; borrows if there is nothing to decode.
///
/// By hand: the parameters of 1.x are decoded on the way of every beat and registration, and the
/// crate percent-encoding takes them byte by byte and knows no `+`.
pub(crate) fn decode(text: &[u8]) -> Cow<'_, str> {
    let Some(first) = first_escape(text) else {
        return str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
    };
    let mut decoded = Vec::with_capacity(text.len());
    let (mut rest, mut next) = (text, Some(first));
    // Between the escapes of names and JSON lie words, which are copied whole.
    while let Some(plain) = next {
        let (word, escape) = rest.split_at(plain);
        decoded.extend_from_slice(word);
        let (byte, length) = match escape {
            [b'+', ..] => (b' ', 1),
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        decoded.push(byte);
        rest = escape.get(length..).unwrap_or_default();
        // Words in JSON are short: no search worth its set-up.
        next = rest.iter().position(|byte| matches!(byte, b'%' | b'+'));
    }
    decoded.extend_from_slice(rest);
    let lossy =
        |error: std::string::FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
    Cow::Owned(String::from_utf8(decoded).unwrap_or_else(lossy))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
