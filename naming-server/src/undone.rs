//! What a long command could not do, for its report.

use std::fmt;

/// Lines about what could not be done, so many of them at most, and why the command ended early if
/// it did.
#[derive(Debug)]
pub(crate) struct Undone {
    most: usize,
    lines: Vec<String>,
    more: usize,
    stopped: Option<String>,
}

impl Undone {
    /// Keeps `most` lines; more are counted only.
    pub(crate) fn keeping(most: usize) -> Self {
        Self { most, lines: Vec::new(), more: 0, stopped: None }
    }

    /// Something could not be done.
    pub(crate) fn note(&mut self, line: &str) {
        if self.lines.len() < self.most {
            // Names come from elsewhere; a terminal obeys control characters.
            self.lines.push(line.chars().filter(|c| !c.is_control()).collect());
        } else {
            self.more += 1;
        }
    }

    /// It makes no sense to go on. The first reason counts.
    pub(crate) fn stop(&mut self, reason: &dyn fmt::Display) {
        self.stopped.get_or_insert_with(|| reason.to_string());
    }

    /// Whether the command ended early.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether everything could be done.
    pub(crate) fn is_nothing(&self) -> bool {
        self.lines.is_empty() && self.stopped.is_none()
    }

    /// Writes it below a title, if there is anything.
    pub(crate) fn write(&self, title: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.lines.is_empty() {
            writeln!(formatter, "{title}:")?;
        }
        for line in &self.lines {
            writeln!(formatter, "  {line}")?;
        }
        if self.more > 0 {
            writeln!(formatter, "  and {} more", self.more)?;
        }
        if let Some(reason) = &self.stopped {
            writeln!(formatter, "stopped before the end: {reason}\nrun it again to go on")?;
        }
        Ok(())
    }
}
