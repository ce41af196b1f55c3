//! Lists in requests: how many items they may have.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// Why a list was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// It is no JSON list of such items.
    #[error("it is no list: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It has more items than it may.
    #[error("it lists more than {0}")]
    TooLong(usize),
}

/// Reads a JSON list of at most `most` items. Stops at the first one above that, so that a body
/// full of commas costs no memory.
///
/// # Errors
/// See [`ListError`].
pub(crate) fn read_list<'a, T: Deserialize<'a>>(
    json: &'a [u8],
    most: usize,
) -> Result<Vec<T>, ListError> {
    let mut is_too_long = false;
    let mut parser = serde_json::Deserializer::from_slice(json);
    let seed = Items { most, is_too_long: &mut is_too_long, item: PhantomData };
    match seed.deserialize(&mut parser).and_then(|list| parser.end().map(|()| list)) {
        Ok(list) => Ok(list),
        Err(_) if is_too_long => Err(ListError::TooLong(most)),
        Err(error) => Err(error.into()),
    }
}

struct Items<'a, T> {
    most: usize,
    is_too_long: &'a mut bool,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Vec<T>, D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == self.most {
                *self.is_too_long = true;
                return Err(A::Error::custom("too many items"));
            }
            list.push(item);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_limit_and_refused_beyond() {
        assert_eq!(read_list::<u8>(b" [1,2] ", 2).unwrap(), [1, 2]);
        assert_eq!(read_list::<u8>(b"[]", 0).unwrap(), [0_u8; 0]);
        // What follows is not looked at.
        for long in [&b"[1,2,3]"[..], b"[1,2,3,nonsense"] {
            let error = read_list::<u8>(long, 2).unwrap_err();
            assert!(matches!(error, ListError::TooLong(2)), "{error}");
        }
        for bad in [&b"{}"[..], b"[1", b"[1]x", b"[\"1\"]", b""] {
            let error = read_list::<u8>(bad, 2).unwrap_err();
            assert!(matches!(error, ListError::Unreadable(_)), "{error}");
        }
    }
}
