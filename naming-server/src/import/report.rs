//! What came of an import.

use std::fmt;

use super::Place;

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
    target: Place,
    is_dry_run: bool,
    counts: [Counts; Kind::ALL.len()],
    ephemeral_instances: usize,
    services_of_clients: usize,
    not_taken: Vec<String>,
    more_not_taken: usize,
    stopped: Option<String>,
}

impl ImportReport {
    pub(super) fn new(source: &Place, target: &Place, is_dry_run: bool) -> Self {
        Self {
            source: source.clone(),
            target: target.clone(),
            is_dry_run,
            counts: Default::default(),
            ephemeral_instances: 0,
            services_of_clients: 0,
            not_taken: Vec::new(),
            more_not_taken: 0,
            stopped: None,
        }
    }

    /// Whether everything that is copied is at the target.
    pub fn is_complete(&self) -> bool {
        self.not_taken.is_empty() && self.stopped.is_none()
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
        if self.not_taken.len() < MAX_LINES {
            // Names come from elsewhere; a terminal obeys control characters.
            self.not_taken.push(text.chars().filter(|c| !c.is_control()).collect());
        } else {
            self.more_not_taken += 1;
        }
    }

    /// Ephemeral instances that were seen.
    pub(super) fn leave_instances(&mut self, count: usize) {
        self.ephemeral_instances += count;
    }

    /// A service that has nothing but those.
    pub(super) fn leave_service(&mut self) {
        self.services_of_clients += 1;
    }

    /// It makes no sense to go on.
    pub(super) fn stop(&mut self, reason: &dyn fmt::Display) {
        self.stopped.get_or_insert_with(|| reason.to_string());
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    fn write_left(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ephemeral_instances == 0 {
            return Ok(());
        }
        writeln!(
            formatter,
            "not copied: {} ephemeral instances; their clients register them at the target once they\n  \
             are pointed there",
            self.ephemeral_instances
        )?;
        if self.services_of_clients == 0 {
            return Ok(());
        }
        writeln!(
            formatter,
            "not copied: {} services with default settings that have only such instances; they come\n  \
             with them (or now, with --all-services)",
            self.services_of_clients
        )
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry_run { "an import would copy" } else { "imported" };
        writeln!(formatter, "{verb} from {} to {}", self.source, self.target)?;
        let head = ["", "created", "changed", "same", "not taken"];
        let [first, a, b, c, d] = head;
        writeln!(formatter, "{first:20} {a:>9} {b:>9} {c:>9} {d:>9}")?;
        for kind in Kind::ALL {
            let Counts { created, changed, same, not_taken } = self.counts[kind as usize];
            let name = kind.plural();
            writeln!(formatter, "{name:20} {created:9} {changed:9} {same:9} {not_taken:9}")?;
        }
        self.write_left(formatter)?;
        if !self.not_taken.is_empty() {
            writeln!(formatter, "not taken:")?;
        }
        for line in &self.not_taken {
            writeln!(formatter, "  {line}")?;
        }
        if self.more_not_taken > 0 {
            writeln!(formatter, "  and {} more", self.more_not_taken)?;
        }
        if let Some(reason) = &self.stopped {
            writeln!(formatter, "stopped before the end: {reason}\nrun it again to go on")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_beyond_those_that_are_shown() {
        let place: Place = "a".parse().unwrap();
        let mut report = ImportReport::new(&place, &place, false);
        report.count(Kind::Instance, Outcome::Created);
        assert!(report.is_complete());
        for _ in 0..MAX_LINES + 3 {
            report.fail(Kind::Instance, "an\u{1b}[2J instance", &"no");
        }
        let text = report.to_string();
        assert!(!report.is_complete() && !text.contains('\u{1b}'));
        assert_eq!(text.matches("an[2J instance: no\n").count(), MAX_LINES);
        assert!(text.ends_with("  and 3 more\n"));
        assert!(text.contains("persistent instances         1         0         0     10003\n"));
    }
}
