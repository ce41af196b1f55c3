//! What came of a check: a table, the objections, and one sentence.

use std::collections::BTreeMap;
use std::fmt;

use super::verdict::Wanted;
use super::view::{Seen, View};

/// Objections that are printed; more are counted only.
const MAX_LINES: usize = 50;
/// Bytes printed of one objection.
const MAX_LINE: usize = 400;

/// What came of a check.
#[derive(Debug)]
pub struct CheckReport {
    views: Vec<View>,
    /// How many members the list has that all must have.
    listed: usize,
    objections: Vec<String>,
}

impl CheckReport {
    pub(super) fn new(views: Vec<View>, wanted: &Wanted, objections: Vec<String>) -> Self {
        let listed = wanted.list(&views).len();
        Self { views, listed, objections }
    }

    /// Whether the next step may be taken.
    pub fn may_go_on(&self) -> bool {
        self.objections.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.views.iter().map(|view| name(view).chars().count()).max().unwrap_or(0);
        let width = width.max("server".len());
        writeln!(
            formatter,
            "{:width$}  kind   ready  check  services  instances  members",
            "server"
        )?;
        for view in &self.views {
            let name = name(view);
            match &view.seen {
                Ok(seen) => writeln!(formatter, "{name:width$}  {}", row(seen))?,
                Err(_) => writeln!(formatter, "{name:width$}  no view")?,
            }
        }
        for objection in self.objections.iter().take(MAX_LINES) {
            let text: String = objection.chars().take(MAX_LINE).collect();
            writeln!(formatter, "- {text}")?;
        }
        if let more @ 1.. = self.objections.len().saturating_sub(MAX_LINES) {
            writeln!(formatter, "- and {more} more")?;
        }
        let (asked, listed, objections) = (self.views.len(), self.listed, self.objections.len());
        match objections {
            0 => writeln!(
                formatter,
                "yes: the {asked} servers asked agree on the list of {listed} members; the next step \
                 may be taken"
            ),
            _ => writeln!(formatter, "no: do not take the next step yet; objections: {objections}"),
        }
    }
}

fn name(view: &View) -> String {
    match &view.seen {
        Ok(seen) => seen.address.clone(),
        Err(_) => view.place.to_string(),
    }
}

fn row(seen: &Seen) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for state in seen.members.values() {
        *states.entry(state).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().rev().map(|(state, count)| format!("{count} {state}")).collect();
    let ready = if seen.unready.is_none() { "yes" } else { "no" };
    let check = if seen.judges_beats { "on" } else { "off" };
    format!(
        "{:5}  {ready:5}  {check:5}  {:8}  {:9}  {}",
        seen.kind,
        seen.services,
        seen.instances,
        states.join(", ")
    )
}
