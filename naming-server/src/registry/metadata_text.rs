//! The `metadata` parameter: a JSON object or `k=v,k2=v2`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Metadata, Registry, RegistryError, Timed};

/// Bytes of one metadata map as JSON: the most that `registry.max_metadata_bytes` may be.
pub(super) const MAX_METADATA: usize = 1 << 20;

impl Metadata {
    /// About how many bytes it is encoded.
    pub(super) fn weight(&self) -> usize {
        if self.is_absent() { 0 } else { self.as_json().len() }
    }
}

impl Registry {
    /// Reads the metadata of an instance.
    ///
    /// # Errors
    /// The text is no metadata, or more than an instance may have.
    pub(crate) fn parse_metadata(&self, text: &str) -> Result<Timed, RegistryError> {
        if text.is_empty() || text == "{}" {
            return Ok(Metadata::default().into());
        }
        let limit = self.settings.max_metadata_bytes;
        check_metadata_text(text, limit)?;
        Timed::of_plain(text, limit)
            .unwrap_or_else(|| Metadata::new(&metadata_text(text)?, limit).map(Timed::from))
    }

    /// The pairs of a metadata text, which may still be more than an instance may have.
    ///
    /// # Errors
    /// The text is no metadata, or far too long.
    pub(crate) fn parse_metadata_map(
        &self,
        text: &str,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        check_metadata_text(text, self.settings.max_metadata_bytes)?;
        metadata_text(text)
    }
}

/// A text is read only if it may stand for metadata within the limit: even with each character
/// written as `\u0041`, and room for blanks.
fn check_metadata_text(text: &str, limit: usize) -> Result<(), RegistryError> {
    let most = limit.saturating_mul(8);
    if text.len() <= most {
        return Ok(());
    }
    let reason = format_args!("its text has {} bytes, the limit is {most}", text.len());
    Err(RegistryError::illegal("metadata", reason))
}

/// Reads a metadata text. Scalars of a JSON object become their text exactly as written (`2.50`
/// stays `2.50`), its nulls are left out, of a repeated key the last one counts. What is no such
/// object is read as `k=v,k2=v2`. Blank and `null` are the empty map.
///
/// # Errors
/// It is neither.
fn metadata_text(text: &str) -> Result<BTreeMap<String, String>, RegistryError> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed == "null" {
        return Ok(BTreeMap::new());
    }
    let incorrect = || RegistryError::invalid(format!("metadata format incorrect:{text}"));
    json_object(trimmed).or_else(|| pairs(text)).ok_or_else(incorrect)
}

fn json_object(text: &str) -> Option<BTreeMap<String, String>> {
    // Like Nacos's parser this one stops at the end of the object and ignores what follows.
    let mut parser = serde_json::Deserializer::from_str(text);
    let raw: BTreeMap<String, &RawValue> = Deserialize::deserialize(&mut parser).ok()?;
    let mut metadata = BTreeMap::new();
    for (key, value) in raw {
        let value = value.get();
        match value.as_bytes().first()? {
            b'n' => {}
            b'{' | b'[' => return None,
            b'"' => {
                metadata.insert(key, serde_json::from_str(value).ok()?);
            }
            _ => {
                metadata.insert(key, value.to_owned());
            }
        }
    }
    Some(metadata)
}

/// Java's `split`, which drops empty parts at the end: `k=` has no value and is refused, `=v` has
/// an empty key, a comma at the end is ignored, one in the middle is not.
fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    let items = text.trim_end_matches(',');
    if items.is_empty() {
        return Some(metadata);
    }
    for item in items.split(',') {
        let (key, value) = item.trim_end_matches('=').split_once('=')?;
        if value.contains('=') {
            return None;
        }
        metadata.insert(key.to_owned(), value.to_owned());
    }
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        metadata_text(text).unwrap().into_iter().collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn json_scalars_become_their_text_and_nulls_go() {
        let text = r#"{"a":1,"b":2.50,"c":true,"d":"x","e":null,"f":1e400}"#;
        let expected =
            owned(&[("a", "1"), ("b", "2.50"), ("c", "true"), ("d", "x"), ("f", "1e400")]);
        assert_eq!(read(text), expected);
    }

    #[test]
    fn json_strings_are_unescaped() {
        let text = r#"{"a,b":"c=d;e","":"","q":"\"\\/\n","名":"值 é ☃"}"#;
        let expected = owned(&[("", ""), ("a,b", "c=d;e"), ("q", "\"\\/\n"), ("名", "值 é ☃")]);
        assert_eq!(read(text), expected);
        assert_eq!(read(r#"{"k":"1","k":"2"}"#), owned(&[("k", "2")]));
        assert_eq!(read(r#" { "\u006b" : "\u00e9" } tail"#), owned(&[("k", "é")]));
    }

    #[test]
    fn nothing_is_the_empty_map() {
        for text in ["", "  ", "null", " null ", "{}", ","] {
            assert_eq!(read(text), [], "{text:?}");
        }
    }

    #[test]
    fn pairs_are_split_like_java_does() {
        assert_eq!(read("k=v,k2=v2,"), owned(&[("k", "v"), ("k2", "v2")]));
        assert_eq!(read("k=v,k=w"), owned(&[("k", "w")]));
        assert_eq!(read("k = v , k2 = v2"), owned(&[(" k2 ", " v2"), ("k ", " v ")]));
        assert_eq!(read("=v"), owned(&[("", "v")]));
        assert_eq!(read("k=v="), owned(&[("k", "v")]));
    }

    #[test]
    fn what_is_neither_is_refused_with_the_whole_text() {
        for text in ["k", "k=", "=", "k==v", "a=b,,c=d", ",a=b", r#"{"a":{"b":1}}"#, "{\"a\":[]}"] {
            let error = metadata_text(text).unwrap_err();
            assert_eq!(error.to_string(), format!("metadata format incorrect:{text}"));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[{}\[\]":,=knul\\0-9. ]{0,40}"#) {
            let _ = metadata_text(&text);
        }

        #[test]
        fn any_map_survives_its_json(map in proptest::collection::btree_map(".*", ".*", 0..6)) {
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(metadata_text(&text).unwrap(), map);
        }
    }
}
