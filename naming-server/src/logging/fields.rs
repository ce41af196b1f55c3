//! The fields of a log line as text. Much of what they hold comes from the network, so nothing in
//! them ends the line, begins another one or moves the cursor of a terminal.

use std::error::Error;
use std::fmt::{self, Debug, Write};

use naming_model::is_unprintable;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes the message as it is and every other field as `name=value`; texts in quotes. Characters
/// that cannot be seen are written as escapes, `\n` or `\u{1b}`.
#[derive(Debug)]
pub(super) struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut written = WrittenFields { out: Escaped(writer), is_first: true, outcome: Ok(()) };
        fields.record(&mut written);
        written.outcome
    }
}

struct WrittenFields<'writer> {
    out: Escaped<'writer>,
    is_first: bool,
    outcome: fmt::Result,
}

impl WrittenFields<'_> {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.outcome.is_ok() {
            self.outcome = self.try_push(field, value);
        }
    }

    fn try_push(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.write_char(' ')?;
        }
        match field.name() {
            "message" => self.out.write_fmt(value),
            name => write!(self.out, "{}={value}", name.strip_prefix("r#").unwrap_or(name)),
        }
    }
}

impl Visit for WrittenFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.push(field, format_args!("{value}")),
            _ => self.push(field, format_args!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.push(field, format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}

/// Passes a text on with escapes in place of what cannot be seen.
struct Escaped<'writer>(Writer<'writer>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_unprintable(*c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", hidden.escape_default())?;
            rest = &rest[at + hidden.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `log` runs, without what stands before the fields.
    fn logged(log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(EscapedFields)
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false);
        tracing::subscriber::with_default(lines.finish(), log);
        let bytes = page.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    const FORGED: &str = "a\n2026-01-31T00:00:00Z  INFO audit: forged\r\u{1b}[2J\u{85}\u{2028}é";

    #[test]
    fn no_field_writes_a_line_of_its_own() {
        let escaped = r"a\n2026-01-31T00:00:00Z  INFO audit: forged\r\u{1b}[2J\u{85}\u{2028}é";
        let (debugged, message) = ([FORGED], format!("about {FORGED}"));
        let error = io::Error::other(io::Error::other(FORGED));
        let line = logged(|| {
            tracing::info!(plain = FORGED, shown = %FORGED, ?debugged, %error, "{message}");
        });
        let expected = format!(
            "about {escaped} plain=\"{escaped}\" shown={escaped} debugged=[\"{escaped}\"] \
             error={escaped}\n"
        );
        assert_eq!(line.trim_start(), expected);
        let error: &(dyn Error + 'static) = &error;
        let line = logged(|| tracing::info!(error, number = 7, flag = true, "x"));
        assert_eq!(line.trim_start(), format!("x error={escaped} number=7 flag=true\n"));
        let span = || tracing::info_span!("request", name = %FORGED);
        let line = logged(|| span().in_scope(|| tracing::info!("x")));
        assert_eq!(line.trim_start(), format!("request{{name={escaped}}}: x\n"));
    }
}
