//! What went wrong in a scenario, for people.

use std::fmt;

use super::scenario::{Action, Request, Scenario, Step};

/// A step that was not answered as expected.
#[derive(Debug)]
pub(crate) struct StepFailure {
    /// `step 3` or `finally 1`, counted from one.
    pub(crate) place: String,
    /// The request or the kind of the step; empty if it could not be read.
    pub(crate) what: String,
    pub(crate) note: Option<String>,
    /// One line each, never empty.
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {} {}", self.place, self.what)?;
        if let Some(note) = &self.note {
            write!(formatter, " ({note})")?;
        }
        for difference in &self.differences {
            write!(formatter, "\n      {difference}")?;
        }
        Ok(())
    }
}

/// All failing steps of a scenario under its name and title.
pub(crate) fn report(scenario: &Scenario, failures: &[StepFailure]) -> String {
    let steps: Vec<String> = failures.iter().map(ToString::to_string).collect();
    format!("{}: {}\n{}", scenario.name, scenario.title, steps.join("\n"))
}

/// A step in few words.
pub(crate) fn summary(step: &Step) -> String {
    match &step.action {
        Action::Http(exchange) => target(&exchange.request),
        Action::Poll(poll) => format!("poll {}", target(&poll.request)),
        Action::Sleep { ms } => format!("sleep {ms} ms"),
        Action::SleepUntil { since, ms } => format!("sleep until {ms} ms after {since}"),
        Action::Mark => "mark".to_owned(),
        Action::OpenUdp { socket } => format!("open socket {socket}"),
        Action::ExpectPush(push) => format!("push to {}", push.socket),
        Action::AckPush { socket, .. } => format!("ack from {socket}"),
        Action::ExpectNoPush { socket, .. } => format!("no push to {socket}"),
        Action::DrainPush { socket, .. } => format!("drain {socket}"),
    }
}

fn target(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}
