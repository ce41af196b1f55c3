//! Objects of plain texts: what nearly all metadata is, read without making a map of it.

/// Gives the pairs of a JSON object to `visit` as they stand. `None` if it is no object of texts
/// without escapes and nothing else: it may still be good JSON, some pairs may have been visited,
/// and it must be read with a real parser.
pub(super) fn visit_plain<'a>(
    json: &'a str,
    mut visit: impl FnMut(&'a str, &'a str),
) -> Option<()> {
    let mut rest = skip_blank(json.strip_prefix('{')?);
    if rest == "}" {
        return Some(());
    }
    loop {
        let (key, after) = plain_text(rest)?;
        let (value, after) = plain_text(skip_blank(skip_blank(after).strip_prefix(':')?))?;
        visit(key, value);
        rest = skip_blank(after);
        if rest == "}" {
            return Some(());
        }
        rest = skip_blank(rest.strip_prefix(',')?);
    }
}

fn plain_text(json: &str) -> Option<(&str, &str)> {
    let inside = json.strip_prefix('"')?;
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    let (text, rest) = inside.split_at(inside.bytes().position(special)?);
    Some((text, rest.strip_prefix('"')?))
}

fn skip_blank(json: &str) -> &str {
    json.trim_start_matches([' ', '\t', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn visited(json: &str) -> Option<Vec<(&str, &str)>> {
        let mut pairs = Vec::new();
        visit_plain(json, |key, value| pairs.push((key, value))).map(|()| pairs)
    }

    #[test]
    fn plain_objects_are_read_and_others_left_to_a_parser() {
        assert_eq!(visited("{}").unwrap(), []);
        assert_eq!(visited("{ }").unwrap(), []);
        assert_eq!(visited(r#"{"b":"1","é":""}"#).unwrap(), [("b", "1"), ("é", "")]);
        assert_eq!(
            visited("{ \"a\" :\t\"1\" , \"b\":\"2\"\r\n}").unwrap(),
            [("a", "1"), ("b", "2")]
        );
        for other in [
            "",
            "{",
            "[]",
            "null",
            r#"{"a":1}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":"1",}"#,
            r#"{"a":"1"} x"#,
            r#"{"a""1"}"#,
            r#"{,"a":"1"}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":"1"#,
            r#"{"a":"1""#,
        ] {
            assert_eq!(visited(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_parser_reads(json in r#"[{]("[a-c\\]{0,2}" ?: ?("[x-z"n\\]{0,2}"|1),? ?){0,3}[}]"#) {
            if let Some(pairs) = visited(&json) {
                let parsed: BTreeMap<String, String> = serde_json::from_str(&json).unwrap();
                let read: BTreeMap<_, _> =
                    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                prop_assert_eq!(read, parsed);
            }
        }
    }
}
