//! What came of an import.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::remote::Place;
use crate::undone::Undone;

/// Lines kept about what could not be taken; more are counted only.
const MAX_LINES: usize = 10_000;

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Namespace,
    Service,
    Cluster,
    Instance,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Namespace, Self::Service, Self::Cluster, Self::Instance];

    fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::Cluster => "clusters",
            Self::Instance => "persistent instances",
        }
    }
}

/// What became of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was not there.
    Created,
    /// It was there and different.
    Changed,
    /// It was there already as it is at the source.
    Same,
}

/// How many of a kind.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    created: usize,
    changed: usize,
    same: usize,
    not_taken: usize,
}

/// What came of an import.
#[derive(Debug)]
pub struct ImportReport {
    source: Place,
    /// None: the source alone was looked at.
    target: Option<Place>,
    /// Why the target was left out.
    missed: Option<String>,
    is_dry_run: bool,
    counts: [Counts; Kind::ALL.len()],
    ephemeral_instances: usize,
    services_of_clients: usize,
    empty_services: usize,
    not_taken: Undone,
    /// The source cannot tell which namespaces without a name have services.
    misses_nameless: bool,
}

impl ImportReport {
    pub(super) fn new(source: &Place, target: Option<&Place>, is_dry_run: bool) -> Self {
        Self {
            source: source.clone(),
            target: target.cloned(),
            missed: None,
            is_dry_run,
            counts: Default::default(),
            ephemeral_instances: 0,
            services_of_clients: 0,
            empty_services: 0,
            not_taken: Undone::keeping(MAX_LINES),
            misses_nameless: false,
        }
    }

    /// Whether everything that is copied is at the target.
    pub fn is_complete(&self) -> bool {
        self.not_taken.is_nothing()
    }

    pub(super) fn count(&mut self, kind: Kind, outcome: Outcome) {
        let counts = &mut self.counts[kind as usize];
        match outcome {
            Outcome::Created => counts.created += 1,
            Outcome::Changed => counts.changed += 1,
            Outcome::Same => counts.same += 1,
        }
    }

    /// Something could not be taken.
    pub(super) fn fail(&mut self, kind: Kind, what: &str, reason: &dyn fmt::Display) {
        self.counts[kind as usize].not_taken += 1;
        self.complain(&format!("{what}: {reason}"));
    }

    /// Something could not be looked at, so that nobody knows what there is to take.
    pub(super) fn complain(&mut self, text: &str) {
        self.not_taken.note(text);
    }

    /// Ephemeral instances that were seen.
    pub(super) fn leave_instances(&mut self, count: usize) {
        self.ephemeral_instances += count;
    }

    /// Namespaces without a name are left out, since the source does not list them.
    pub(super) fn miss_nameless_namespaces(&mut self) {
        self.misses_nameless = true;
    }

    /// A service that has nothing but those.
    pub(super) fn leave_service(&mut self) {
        self.services_of_clients += 1;
    }

    /// A service that has no instances and default settings.
    pub(super) fn leave_empty_service(&mut self) {
        self.empty_services += 1;
    }

    /// A dry run goes on without its target.
    pub(super) fn miss_target(&mut self, reason: &dyn fmt::Display) {
        self.missed = Some(reason.to_string());
    }

    /// It makes no sense to go on.
    pub(super) fn stop(&mut self, reason: &dyn fmt::Display) {
        self.not_taken.stop(reason);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.not_taken.is_stopped()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(["", "created", "changed", "same", "not taken"]);
        for kind in Kind::ALL {
            let Counts { created, changed, same, not_taken } = self.counts[kind as usize];
            let counts = [created, changed, same, not_taken].map(|count| count.to_string());
            table.add_row([kind.plural().to_owned()].into_iter().chain(counts));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            let alignment = if index == 0 { CellAlignment::Left } else { CellAlignment::Right };
            column.set_cell_alignment(alignment);
            column.set_padding((0, 2));
        }
        table
    }

    fn write_left(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ephemeral_instances > 0 {
            writeln!(
                formatter,
                "not copied: {} ephemeral instances; their clients register them at the target once they\n  \
                 are pointed there",
                self.ephemeral_instances
            )?;
        }
        if self.services_of_clients > 0 {
            writeln!(
                formatter,
                "not copied: {} services with default settings that have only such instances; they come\n  \
                 with them (or now, with --all-services)",
                self.services_of_clients
            )?;
        }
        if self.empty_services > 0 {
            writeln!(
                formatter,
                "not copied: {} services with default settings and no instances; Nacos removes such by\n  \
                 itself (they are created with --all-services)",
                self.empty_services
            )?;
        }
        if self.misses_nameless {
            writeln!(
                formatter,
                "not looked for: services in namespaces that nobody made; servers of 3.x do not list
                   these (--namespace names one)"
            )?;
        }
        Ok(())
    }

    fn write_head(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry_run { "an import would copy" } else { "imported" };
        match (&self.target, &self.missed) {
            (Some(target), None) => {
                writeln!(formatter, "{verb} from {} to {target}", self.source)
            }
            (None, _) => writeln!(
                formatter,
                "{verb} from {}, to a server that has nothing (--to names one to compare with)",
                self.source
            ),
            (Some(target), Some(reason)) => writeln!(
                formatter,
                "{verb} from {}, if {target} has nothing: nobody answers there ({reason})",
                self.source
            ),
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(formatter)?;
        writeln!(formatter, "{}", self.table())?;
        self.write_left(formatter)?;
        self.not_taken.write("not taken", formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_beyond_those_that_are_shown() {
        let place: Place = "a".parse().unwrap();
        let mut report = ImportReport::new(&place, Some(&place), false);
        report.count(Kind::Instance, Outcome::Created);
        assert!(report.is_complete());
        for _ in 0..MAX_LINES + 3 {
            report.fail(Kind::Instance, "an\u{1b}[2J instance", &"no");
        }
        let text = report.to_string();
        assert!(!report.is_complete() && !text.contains('\u{1b}'));
        assert_eq!(text.matches("an[2J instance: no\n").count(), MAX_LINES);
        assert!(text.ends_with("  and 3 more\n"));
        let row = text.lines().find(|line| line.contains("persistent instances"));
        let words: Vec<&str> = row.unwrap().split_whitespace().collect();
        assert_eq!(words, ["persistent", "instances", "1", "0", "0", "10003"]);
    }
}
