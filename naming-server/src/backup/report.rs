//! What came of a restoration.

use std::fmt;

use super::plan::Act;
use crate::registry::{Item, ItemPlace};
use crate::undone::Undone;

/// Lines kept about what could not be done; more are counted only.
const MAX_LINES: usize = 1_000;

/// What came of a restoration.
#[derive(Debug)]
pub struct RestoreReport {
    /// The backup and where it was put.
    head: String,
    is_dry_run: bool,
    done: [[usize; 3]; Item::KINDS.len()],
    same: [usize; Item::KINDS.len()],
    failed: [usize; Item::KINDS.len()],
    kept: Vec<ItemPlace>,
    undone: Undone,
}

impl RestoreReport {
    pub(super) fn new(head: String, is_dry_run: bool) -> Self {
        Self {
            head,
            is_dry_run,
            done: Default::default(),
            same: Default::default(),
            failed: Default::default(),
            kept: Vec::new(),
            undone: Undone::keeping(MAX_LINES),
        }
    }

    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        self.undone.is_nothing()
    }

    pub(super) fn count(&mut self, act: Act, kind: usize) {
        self.done[kind][act as usize] += 1;
    }

    pub(super) fn found(&mut self, same: [usize; Item::KINDS.len()], kept: Vec<ItemPlace>) {
        (self.same, self.kept) = (same, kept);
    }

    pub(super) fn fail(&mut self, place: &ItemPlace, reason: &str) {
        self.failed[place.kind] += 1;
        self.undone.note(&format!("{place}: {reason}"));
    }

    pub(super) fn stop(&mut self, reason: &dyn fmt::Display) {
        self.undone.stop(reason);
    }
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry_run { "a restoration would put" } else { "put" };
        writeln!(formatter, "{verb} {}", self.head)?;
        let head = ["", "created", "changed", "removed", "same", "not done"];
        let [first, a, b, c, d, e] = head;
        writeln!(formatter, "{first:20} {a:>9} {b:>9} {c:>9} {d:>9} {e:>9}")?;
        for (kind, (_, name)) in Item::KINDS.iter().enumerate() {
            let [created, changed, removed] = self.done[kind];
            let (same, failed) = (self.same[kind], self.failed[kind]);
            writeln!(
                formatter,
                "{name:20} {created:9} {changed:9} {removed:9} {same:9} {failed:9}"
            )?;
        }
        for place in &self.kept {
            writeln!(formatter, "left as it is, since it is who restores: {place}")?;
        }
        self.undone.write("not done", formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_beyond_those_that_are_shown() {
        let mut report = RestoreReport::new("a into b".to_owned(), false);
        report.count(Act::Change, 0);
        assert!(report.is_complete());
        let user = Item::Role { role: "r".into(), user: "a\u{1b}[2J".into() };
        for _ in 0..MAX_LINES + 3 {
            report.fail(&user.place(), "no");
        }
        let text = report.to_string();
        assert!(!report.is_complete() && !text.contains('\u{1b}'), "{text}");
        assert!(text.ends_with("  and 3 more\n") && text.contains("role r a[2J: no"));
        assert!(text.contains("namespaces                   0         1         0"), "{text}");
    }
}
