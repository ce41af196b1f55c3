//! One change and its line.

use std::fmt;

use serde::{Serialize, Serializer};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// An administrative write and what became of it. Texts are shortened and free of secrets already.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// What was asked for, the label of the route.
    pub(crate) action: &'static str,
    pub(crate) outcome: Outcome,
    /// The status of the answer; none if there was no answer.
    pub(crate) status: Option<u16>,
    /// Who asked, if authentication knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The other end of the connection.
    pub(crate) address: String,
    /// Whom the other end says to speak for. Anybody may say anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forwarded_for: Option<String>,
    pub(crate) agent: String,
    /// The member that was asked.
    pub(crate) server: String,
    /// What the change is about, by parameter.
    pub(crate) parameters: Parameters,
    /// Refusals without a line since the last one that has a line.
    #[serde(skip_serializing_if = "is_none_left_out")]
    pub(crate) refusals_left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
fn is_none_left_out(count: &u64) -> bool {
    *count == 0
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Done.
    Ok,
    /// Not done: not allowed, not possible, or not now.
    Refused,
    /// Something broke. It may have been done, or still be.
    Failed,
}

/// Names and values, in the order they are shown in.
#[derive(Debug, Default)]
pub(crate) struct Parameters(pub(crate) Vec<(&'static str, String)>);

impl Change {
    /// Writes it to the log.
    pub(super) fn log(&self) {
        tracing::info!(
            target: "audit",
            outcome = self.outcome.name(),
            status = self.status,
            user = self.user.as_deref(),
            address = self.address,
            forwarded_for = self.forwarded_for.as_deref(),
            agent = self.agent,
            refusals_left_out = Some(self.refusals_left_out).filter(|count| *count > 0),
            parameters = %self.parameters,
            "{}",
            self.action,
        );
    }

    /// As one line of JSON that begins with the time.
    pub(super) fn line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            time: String,
            #[serde(flatten)]
            change: &'a Change,
        }
        // Strings and small numbers under fixed names: nothing that has no JSON form.
        let line = Line { time: time_of_day(), change: self };
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The time as log lines show it, in UTC.
fn time_of_day() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}
