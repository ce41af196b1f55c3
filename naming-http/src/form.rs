//! Parameters of queries and forms.

use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The content type of a body that is a [`Form`].
pub const FORM: &str = "application/x-www-form-urlencoded;charset=UTF-8";

/// All but letters, digits and the four marks that stand for themselves everywhere.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as it stands in a query, a form or the name of a file: everything but letters, digits and
/// `- . _ ~` is encoded.
pub fn percent_encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// Parameters of a query or form, encoded as they are added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(String);

impl Form {
    /// Of names and values.
    #[must_use]
    pub fn of(parameters: &[(&str, &str)]) -> Self {
        Self::default().and(parameters)
    }

    /// The same with some more.
    #[must_use]
    pub fn and(self, parameters: &[(&str, &str)]) -> Self {
        parameters.iter().fold(self, |form, (name, value)| form.with(name, value))
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let gap = if self.0.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{gap}{}={}", percent_encoded(name), percent_encoded(value));
        self
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Form> for String {
    fn from(form: Form) -> Self {
        form.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let form = Form::of(&[("serviceName", "g@@s"), ("a&b", "")]).with("metadata", "{\"ä\":1 }");
        let expected = "serviceName=g%40%40s&a%26b=&metadata=%7B%22%C3%A4%22%3A1%20%7D";
        assert_eq!(form.as_str(), expected);
        assert_eq!(percent_encoded("a-b.c_d~e*f").to_string(), "a-b.c_d~e%2Af");
    }
}
