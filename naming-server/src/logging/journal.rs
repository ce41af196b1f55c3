//! Lines for the journal of systemd, which has the time and the level of a line beside its text.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;

/// Whether standard error is the journal, and not a file or a pipe that a program between has put
/// in its place.
pub(super) fn is_read_by_it() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    is_stream(&named, "/proc/self/fd/2")
}

/// Whether the file is the one that the journal has named, by device and number.
fn is_stream(named: &str, file: &str) -> bool {
    let own = std::fs::metadata(file).map(|file| format!("{}:{}", file.dev(), file.ino()));
    own.is_ok_and(|own| own == named)
}

/// Puts the level before each line, as the journal reads it.
#[derive(Clone)]
pub(super) struct Journal(pub(super) Lines);

impl<'a> MakeWriter<'a> for Journal {
    type Writer = WithLevel;

    fn make_writer(&'a self) -> WithLevel {
        WithLevel { lines: self.0.clone(), prefix: prefix(Level::INFO) }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> WithLevel {
        WithLevel { lines: self.0.clone(), prefix: prefix(*metadata.level()) }
    }
}

/// Writes lines of one level, one with each write.
pub(super) struct WithLevel {
    lines: Lines,
    prefix: &'static str,
}

impl Write for WithLevel {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.write_all(&[self.prefix.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The numbers of syslog.
fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_was_named_is_the_journal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (path, metadata) = (file.path().to_str().unwrap(), file.as_file().metadata().unwrap());
        let named = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(is_stream(&named, path));
        let other = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_stream(&named, other.path().to_str().unwrap()), "somebody redirected it");
        assert!(!is_stream("", path) && !is_stream(&named, "/nowhere"));
    }

    #[test]
    fn the_journal_learns_the_level() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(prefix), ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }
}
