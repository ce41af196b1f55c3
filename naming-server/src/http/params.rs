//! Request parameters: query string and form body as one lenient table.

use std::borrow::Cow;

use memchr::memchr;
use naming_http::Form;

use super::error::ApiError;
use crate::text::{cut, decode, first_escape};

/// Bytes of a value that is no number in the error.
const MAX_SHOWN: usize = 64;
/// Most parameters kept of one request. No client sends more than about twenty; what follows is
/// ignored, so that a body of a million `&` costs neither memory nor time per lookup.
pub(super) const MAX_PAIRS: usize = 256;

/// The parameters of one request, still encoded; a value is decoded when it is asked for.
///
/// Lenient by design: old SDKs send forms that are only partly percent-encoded, so nothing is
/// refused. `+` is a blank, `%XX` a byte, any other `%` stands for itself, bytes that are not
/// UTF-8 become U+FFFD. Names are case-sensitive. The query wins over the body, and within each
/// the first occurrence wins.
#[derive(Debug, Default)]
pub(crate) struct Params<'a> {
    pairs: Vec<Pair<'a>>,
    /// Some name needs decoding before it can be compared; in practice none does.
    encoded_names: bool,
}

#[derive(Debug)]
struct Pair<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// The same, if it is text.
    text: Option<&'a str>,
}

impl<'a> Pair<'a> {
    fn decoded(&self) -> Cow<'a, str> {
        match (self.text, first_escape(self.value)) {
            (Some(text), None) => Cow::Borrowed(text),
            _ => decode(self.value),
        }
    }
}

impl<'a> Params<'a> {
    /// Splits `query` and `form` into pairs; at most 256 of them are kept.
    pub(crate) fn parse(query: Option<&'a str>, form: Option<&'a [u8]>) -> Self {
        let mut params = Self::default();
        if let Some(query) = query {
            params.extend(query.as_bytes(), Some(query));
        }
        if let Some(form) = form {
            params.extend(form, str::from_utf8(form).ok());
        }
        params
    }

    /// `text` is the same as `bytes`, if they are text. Names are too short for a search to be
    /// worth its set-up, values may be long.
    fn extend(&mut self, bytes: &'a [u8], text: Option<&'a str>) {
        if bytes.is_empty() {
            return;
        }
        if self.pairs.capacity() == 0 {
            self.pairs.reserve(16);
        }
        let mut start = 0;
        while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
            let name = rest.iter().position(|byte| matches!(byte, b'=' | b'&'));
            let name = rest.split_at(name.unwrap_or(rest.len())).0;
            let value = match rest.get(name.len()) {
                Some(b'=') => start + name.len() + 1,
                _ => start + name.len(),
            };
            let after = bytes.get(value..).unwrap_or_default();
            let end = value + memchr(b'&', after).unwrap_or(after.len());
            if end > start {
                if self.pairs.len() == MAX_PAIRS {
                    return;
                }
                self.encoded_names |= name.iter().any(|byte| matches!(byte, b'%' | b'+'));
                self.pairs.push(Pair {
                    name,
                    value: bytes.get(value..end).unwrap_or_default(),
                    text: text.and_then(|text| text.get(value..end)),
                });
            }
            start = end + 1;
        }
    }

    /// All parameters as one query, the first value of each, but for those that servers of Nacos
    /// add to what they pass on.
    pub(crate) fn to_query(&self) -> String {
        let (mut query, mut seen) = (Form::default(), Vec::with_capacity(self.pairs.len()));
        for pair in &self.pairs {
            let name = decode(pair.name);
            if matches!(&*name, "encoding" | "nofix" | "?encoding") || seen.contains(&name) {
                continue;
            }
            query = query.with(&name, &pair.decoded());
            seen.push(name);
        }
        query.into()
    }

    fn find(&self, name: &str) -> Option<&Pair<'a>> {
        #[cfg(test)]
        reads::note(name);
        let wanted = name.as_bytes();
        // Decoding makes one byte of three at most: what is longer cannot be meant, and decoding
        // megabytes at each look-up would take long.
        let may_be_wanted = |encoded: &[u8]| encoded.len() <= 3 * wanted.len();
        let matches = |pair: &&Pair<'a>| {
            pair.name == wanted
                || self.encoded_names && may_be_wanted(pair.name) && decode(pair.name) == name
        };
        self.pairs.iter().find(matches)
    }

    /// The value as sent, decoded but not trimmed; `None` if there is no such parameter.
    pub(crate) fn raw(&self, name: &str) -> Option<Cow<'a, str>> {
        self.find(name).map(Pair::decoded)
    }

    /// The trimmed value. A blank but not empty value passes, as the empty text.
    ///
    /// # Errors
    /// 400 if the parameter is missing or empty.
    pub(crate) fn required(&self, name: &str) -> Result<Cow<'a, str>, ApiError> {
        match self.find(name) {
            Some(pair) if !pair.value.is_empty() => Ok(trim(pair.decoded())),
            _ => Err(ApiError::bad_request(format!("Param '{name}' is required."))),
        }
    }

    /// The trimmed value; `None` if it is missing or blank.
    pub(crate) fn optional(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = trim(self.find(name)?.decoded());
        (!value.chars().all(char::is_whitespace)).then_some(value)
    }

    /// The trimmed value, or `default` if it is missing or blank.
    pub(crate) fn or(&self, name: &str, default: &'a str) -> Cow<'a, str> {
        self.optional(name).unwrap_or(Cow::Borrowed(default))
    }

    /// A whole number as Java's `Integer.parseInt` reads it, ASCII digits only.
    ///
    /// # Errors
    /// 400 if there is a value that is no such number.
    pub(crate) fn int(&self, name: &str, default: i32) -> Result<i32, ApiError> {
        self.optional(name).map_or(Ok(default), |value| parse_int(&value))
    }

    /// Like [`Self::int`], but the parameter must be there.
    pub(crate) fn required_int(&self, name: &str) -> Result<i32, ApiError> {
        parse_int(&self.required(name)?)
    }

    /// A number as Java's `Double.parseDouble` reads it, without the hexadecimal form. `NaN` and
    /// `Infinity` are numbers here: the caller checks the range.
    ///
    /// # Errors
    /// 400 if there is a value that is no such number.
    pub(crate) fn double(&self, name: &str, default: f64) -> Result<f64, ApiError> {
        self.optional(name).map_or(Ok(default), |value| parse_double(&value))
    }

    /// `true`, `on`, `yes`, `t` and `y` in any case are true, `default` stands in for blank,
    /// everything else (also `1`) is false.
    pub(crate) fn flag_lenient(&self, name: &str, default: bool) -> bool {
        let is_true = |value: Cow<'_, str>| {
            ["true", "on", "yes", "t", "y"].iter().any(|word| value.eq_ignore_ascii_case(word))
        };
        self.optional(name).map_or(default, is_true)
    }

    /// As [`Self::flag_lenient`], and `1` is true as well.
    pub(crate) fn flag_numeric(&self, name: &str, default: bool) -> bool {
        self.optional(name).as_deref() == Some("1") || self.flag_lenient(name, default)
    }

    /// Only `true` in any case is true, `default` stands in for blank.
    pub(crate) fn flag_strict(&self, name: &str, default: bool) -> bool {
        self.optional(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

/// Which parameters are read on this thread, for tests that compare them with what is documented.
#[cfg(test)]
pub(super) mod reads {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static READ: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(name: &str) {
        READ.with_borrow_mut(|read| read.insert(name.to_owned()));
    }

    /// The names that were read since the last call.
    pub(in crate::http) fn take() -> BTreeSet<String> {
        READ.take()
    }
}

fn parse_int(text: &str) -> Result<i32, ApiError> {
    // Rust's grammar is Java's: an optional sign, then ASCII digits, checked for overflow.
    text.parse().map_err(|_| not_a_number(text))
}

fn parse_double(text: &str) -> Result<f64, ApiError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let magnitude = match unsigned {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
            // Rust also knows `inf` and `nan` in any case, Java does not; and only one sign.
            let plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
            if digits.starts_with(['+', '-']) || !digits.bytes().all(plain) {
                return Err(not_a_number(text));
            }
            digits.parse().map_err(|_| not_a_number(text))?
        }
    };
    Ok(if negative { -magnitude } else { magnitude })
}

/// 400 in the words of Java, with the beginning of what is no number.
pub(crate) fn not_a_number(text: &str) -> ApiError {
    ApiError::bad_request(format!("For input string: \"{}\"", cut(text, MAX_SHOWN)))
}

/// Java's `String.trim`: everything up to and including the blank goes, at both ends.
fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    let java_blank = |c: char| c <= ' ';
    let ends_plain = |byte: Option<&u8>| byte.is_none_or(|byte| *byte > b' ');
    if ends_plain(text.as_bytes().first()) && ends_plain(text.as_bytes().last()) {
        return text;
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(java_blank)),
        Cow::Owned(text) => {
            let trimmed = text.trim_matches(java_blank);
            if trimmed.len() == text.len() {
                Cow::Owned(text)
            } else {
                Cow::Owned(trimmed.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(text: &str) -> Params<'_> {
        Params::parse(Some(text), None)
    }

    #[test]
    fn encoded_names_are_found_whatever_their_length() {
        let params = query("%69%70=1&%C3%A9+%zz=2&a%=3&%41%41%41=4&port=5");
        for (name, value) in [("ip", "1"), ("é %zz", "2"), ("a%", "3"), ("AAA", "4"), ("port", "5")]
        {
            assert_eq!(params.raw(name).unwrap(), value, "{name}");
        }
        // Bytes that are no text become three each, so such a name is never the shorter one.
        assert_eq!(query("%FF=1").raw("\u{fffd}").unwrap(), "1");
    }

    #[test]
    fn the_query_wins_over_the_body_and_the_first_occurrence_over_later_ones() {
        let params = Params::parse(Some("weight=5&weight=2&a="), Some(b"weight=7&a=1&b=2&b=3"));
        assert_eq!(params.raw("weight").unwrap(), "5");
        assert_eq!(params.raw("a").unwrap(), "");
        assert_eq!(params.raw("b").unwrap(), "2");
        assert_eq!(params.raw("B"), None);
    }

    #[test]
    fn a_form_that_is_no_text_is_read_as_far_as_it_is_one() {
        let params = Params::parse(Some("a=1"), Some(b"b=\xc3%a9&c=\xff&d=x&e=\xe9\x94"));
        let value = |name| params.raw(name).unwrap().into_owned();
        assert_eq!(["a", "b", "c", "d"].map(value), ["1", "é", "\u{fffd}", "x"]);
        assert_eq!(value("e"), "\u{fffd}");
    }

    #[test]
    fn a_form_that_is_not_percent_encoded_is_read_as_meant() {
        let body = br#"serviceName=s&metadata={"k":"v w","u":"http://a:1/#x"}&x"#;
        let params = Params::parse(None, Some(body));
        assert_eq!(params.raw("metadata").unwrap(), r#"{"k":"v w","u":"http://a:1/#x"}"#);
        assert_eq!(params.raw("x").unwrap(), "");
    }

    #[test]
    fn malformed_escapes_stand_for_themselves() {
        let params = query("a=%&b=%4&c=%zz&d=100%25&e=%c3%a9+%2B&f=%ff&%61b=x&g=%%41");
        let value = |name| params.raw(name).unwrap().into_owned();
        assert_eq!(value("a"), "%");
        assert_eq!(value("b"), "%4");
        assert_eq!(value("c"), "%zz");
        assert_eq!(value("d"), "100%");
        assert_eq!(value("e"), "é +");
        assert_eq!(value("f"), "\u{fffd}");
        assert_eq!(value("ab"), "x");
        assert_eq!(value("g"), "%A");
    }

    #[test]
    fn blank_passes_where_required_and_is_absent_where_optional() {
        let params = query("ip=++&none=&name=+x%20&wide=%E3%80%80");
        assert_eq!(params.required("ip").unwrap(), "");
        assert_eq!(params.required("name").unwrap(), "x");
        let missing = params.required("none").unwrap_err();
        assert_eq!(missing.message, "Param 'none' is required.");
        assert_eq!(missing.status.as_u16(), 400);
        assert!(params.required("absent").is_err());
        assert_eq!(params.optional("ip"), None);
        assert_eq!(params.optional("wide"), None);
        assert_eq!(params.or("none", "public"), "public");
        assert_eq!(params.or("name", "public"), "x");
    }

    #[test]
    fn integers_are_those_of_java() {
        let int = |text: &str| query(&format!("p={text}")).required_int("p");
        assert_eq!(int("8080").unwrap(), 8080);
        assert_eq!(int("%2B8081").unwrap(), 8081);
        assert_eq!(int("-1").unwrap(), -1);
        assert_eq!(int("%208082+").unwrap(), 8082);
        for bad in ["abc", "80.5", "%2B", "2147483648", "99999999999", "８０"] {
            let error = int(bad).unwrap_err();
            assert_eq!(error.message, format!("For input string: \"{}\"", decode(bad.as_bytes())));
        }
        assert_eq!(query("p=").int("p", 7).unwrap(), 7);
        assert!(query("p=x").int("p", 7).is_err());
    }

    #[test]
    fn doubles_are_those_of_java_without_the_hexadecimal_form() {
        let double = |text: &str| query(&format!("w={text}")).double("w", 1.0);
        assert_eq!(double("").unwrap(), 1.0);
        assert_eq!(double("1e2").unwrap(), 100.0);
        assert_eq!(double(".5d").unwrap(), 0.5);
        assert_eq!(double("-2.F").unwrap(), -2.0);
        assert_eq!(double("+3+").unwrap(), 3.0);
        assert!(double("NaN").unwrap().is_nan());
        assert_eq!(double("-Infinity").unwrap(), f64::NEG_INFINITY);
        for bad in ["abc", "1,5", "0x1", "--1", "nan", "inf", "infinity", "d", ".", "1e", "NaNd"] {
            let error = double(bad).unwrap_err();
            assert_eq!(error.message, format!("For input string: \"{bad}\""));
        }
    }

    #[test]
    fn errors_show_the_beginning_of_what_is_no_number() {
        let long = format!("p={}é{}", "9".repeat(63), "9".repeat(1_000));
        let shown = format!("For input string: \"{}\"", "9".repeat(63));
        assert_eq!(query(&long).int("p", 1).unwrap_err().message, shown);
        assert_eq!(query(&format!("{long}x")).double("p", 1.0).unwrap_err().message, shown);
    }

    #[test]
    fn flags_have_a_lenient_and_a_strict_reading() {
        let params = query("a=True&b=y&c=1&d=ON&e=++&f=0");
        assert!(params.flag_lenient("a", false) && params.flag_strict("a", false));
        assert!(params.flag_lenient("b", false) && !params.flag_strict("b", true));
        assert!(!params.flag_lenient("c", true) && !params.flag_strict("c", true));
        assert!(params.flag_numeric("c", false) && params.flag_numeric("a", false));
        assert!(!params.flag_numeric("f", true) && params.flag_numeric("absent", true));
        assert!(params.flag_lenient("d", false));
        assert!(params.flag_lenient("e", true) && params.flag_strict("e", true));
        assert!(!params.flag_lenient("absent", false));
    }

    #[test]
    fn a_flood_of_parameters_is_cut() {
        let text = "a=1&".repeat(100_000) + "late=1";
        let params = query(&text);
        assert_eq!(params.pairs.len(), MAX_PAIRS);
        assert_eq!(params.raw("late"), None);
        assert!(query(&"&".repeat(100_000)).pairs.is_empty());
    }

    #[test]
    fn separators_at_odd_places_make_no_pairs() {
        let params = query("&&a=1&=2&b&c==3=&d=&");
        let value = |name| params.raw(name).map(Cow::into_owned);
        assert_eq!(params.pairs.len(), 5);
        assert_eq!(value("a").unwrap(), "1");
        assert_eq!(value("").unwrap(), "2");
        assert_eq!(value("b").unwrap(), "");
        assert_eq!(value("c").unwrap(), "=3=");
        assert_eq!(value("d").unwrap(), "");
    }

    #[test]
    fn values_that_need_no_decoding_are_borrowed() {
        let params = query("name=DEFAULT_GROUP@@svc&ip=10.0.0.1");
        assert!(matches!(params.required("name").unwrap(), Cow::Borrowed(_)));
        assert!(matches!(params.optional("ip").unwrap(), Cow::Borrowed(_)));
    }

    fn encode(text: &str) -> String {
        let byte = |b: u8| match b {
            b' ' => "+".to_owned(),
            b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        };
        text.bytes().map(byte).collect()
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(name in ".{1,20}", value in ".*") {
            let text = format!("{}={}", encode(&name), encode(&value));
            let params = query(&text);
            prop_assert_eq!(params.raw(&name).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let params = Params::parse(None, Some(&bytes));
            for name in ["a", "", "%"] {
                let _ = (params.raw(name), params.required(name), params.optional(name));
                let _ = (params.int(name, 0), params.double(name, 0.0));
            }
        }

        #[test]
        fn no_text_makes_the_number_parsers_panic(text in "[-+0-9.eEdDfFaNIinty]{0,12}") {
            let _ = (parse_int(&text), parse_double(&text));
        }
    }
}
