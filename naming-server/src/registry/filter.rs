//! The filter of the service list: services by their metadata or that of their instances.

use super::service::{expression_failed, is_about_labels, label_expression};
use super::{Metadata, NamingDatum, RegistryError, hosts, settings};

/// `INSTANCE.metadata.k = 'v'` or `SERVICE.metadata.k = 'v'`. Java clients also write `label`
/// instead of `metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataFilter {
    subject: Subject,
    key: String,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Any instance of the service.
    Instance,
    Service,
}

impl MetadataFilter {
    /// Reads the `selector` parameter of the list: JSON, plain or URL-encoded once more, like that
    /// of a service. `None` if it filters nothing: one of type `none`, one without expression, and
    /// one about labels, which nobody has.
    ///
    /// Like in Nacos blanks do not count, not even between quotes, the key is what stands behind
    /// the last dot, and what stands between the first and the last one means nothing.
    ///
    /// # Errors
    /// `Invalid` that names the parameter for everything else.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, RegistryError> {
        let Some(expression) = label_expression(text)? else { return Ok(None) };
        if is_about_labels(&expression) {
            return Ok(None);
        }
        let compact: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
        Self::parse_term(&compact).map(Some).ok_or_else(expression_failed)
    }

    fn parse_term(term: &str) -> Option<Self> {
        let (factors, value) = term.split_once('=')?;
        let (subject, path) = factors.split_once('.')?;
        let subject = match subject {
            "INSTANCE" => Subject::Instance,
            "SERVICE" => Subject::Service,
            _ => return None,
        };
        let key = path.rsplit('.').next()?;
        if key.is_empty() {
            return None;
        }
        Some(Self { subject, key: key.to_owned(), value: value.replace('\'', "") })
    }

    /// Whether the service of this datum passes.
    pub(crate) fn passes(&self, datum: &NamingDatum) -> bool {
        datum.read(|reader| match self.subject {
            Subject::Service => self.is_in(&settings(&reader).metadata),
            Subject::Instance => hosts(&reader).any(|host| self.is_in(&host.instance.metadata)),
        })
    }

    fn is_in(&self, metadata: &Metadata) -> bool {
        metadata.find(&self.key).is_some_and(|value| value == self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(expression: &str) -> Result<Option<MetadataFilter>, RegistryError> {
        let selector = serde_json::json!({"type": "label", "expression": expression});
        MetadataFilter::parse(&selector.to_string())
    }

    #[test]
    fn terms_are_read_without_blanks_and_quotes() {
        let filter = |subject, key: &str, value: &str| {
            Ok(Some(MetadataFilter { subject, key: key.to_owned(), value: value.to_owned() }))
        };
        assert_eq!(parse("INSTANCE.metadata.k = 'v'"), filter(Subject::Instance, "k", "v"));
        assert_eq!(parse(" SERVICE . metadata.k='a=b'"), filter(Subject::Service, "k", "a=b"));
        assert_eq!(parse("SERVICE.metadata.a.k=v"), filter(Subject::Service, "k", "v"));
        assert_eq!(parse("INSTANCE.label.k = 'v'"), filter(Subject::Instance, "k", "v"));
        assert_eq!(parse("INSTANCE.k=v"), filter(Subject::Instance, "k", "v"));
        assert_eq!(parse("SERVICE.metadata.k="), filter(Subject::Service, "k", ""));
    }

    #[test]
    fn what_nobody_can_fail_filters_nothing() {
        for expression in ["", "  ", "CONSUMER.label.a = PROVIDER.label.a"] {
            assert_eq!(parse(expression), Ok(None), "{expression}");
        }
        for text in [r#"{"type":"none"}"#, r#"{"type":"label"}"#, "%7B%22type%22:%22none%22%7D"] {
            assert_eq!(MetadataFilter::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for expression in
            ["k=v", "INSTANCE=v", "HOST.metadata.k=v", "INSTANCE.metadata.=v", "INSTANCE.k", "="]
        {
            assert!(
                parse(expression).unwrap_err().to_string().contains("'selector'"),
                "{expression}"
            );
        }
        let long = format!(r#"{{"type":"label","expression":"{}"}}"#, "x".repeat(4_096));
        for text in ["{bad", "[]", "1", r#"{"expression":""}"#, r#"{"type":"odd"}"#, &long] {
            let error = MetadataFilter::parse(text).unwrap_err();
            assert!(error.to_string().contains("'selector'"), "{text}: {error}");
        }
    }
}
