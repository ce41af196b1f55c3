//! `naming-server migrate`: help for operators who move a running cluster step by step.
//!
//! `migrate check` asks every server for its view of the cluster, compares the views, and says
//! whether the next step may be taken. `migrate plan` says what a migration comes to, and which step
//! is next. `migrate status` compares what the servers list. The commands only read.

mod answers;
mod arguments;
mod plan;
mod report;
mod status;
mod verdict;
mod view;

use std::io::{self, Write};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub use arguments::{CheckArguments, MigrateCommand, PlanArguments, StatusArguments};
pub use plan::{MigrationPlan, PlanReport};
pub use report::CheckReport;
pub use status::{MigrationStatus, StatusReport};

use arguments::PASSWORD;
use verdict::{Wanted, objections};
use view::View;

use crate::password::Password;
use crate::remote::{Credentials, Remote};

/// Between the end of one look at all servers and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one answer. The longest is the list of members: a few hundred bytes for each.
const MAX_ANSWER: usize = 1 << 20;

/// A comparison of what the servers of a cluster say, about to begin.
#[derive(Debug)]
pub struct MigrationCheck {
    servers: Vec<Remote>,
    wanted: Wanted,
    patience: Duration,
    hold: Duration,
    deadline: Duration,
}

impl MigrationCheck {
    /// Asks for the password if a user is named. Makes no call yet.
    ///
    /// # Errors
    /// More servers than one command asks; the password cannot be read.
    pub fn new(arguments: &CheckArguments) -> io::Result<Self> {
        let bounded = arguments.ensure_bounded();
        bounded.map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let credentials = credentials(arguments)?;
        let remote = |place: &crate::Place| {
            Remote::new(place.clone(), credentials.clone(), arguments.timeout)
                .with_max_answer(MAX_ANSWER)
        };
        Ok(Self {
            servers: arguments.servers.iter().map(remote).collect(),
            wanted: Wanted {
                members: arguments.expect.iter().cloned().collect(),
                judges_beats: arguments.health_check.map(arguments::Switch::is_on),
                spread: arguments.instances_may_differ,
            },
            patience: arguments.within,
            hold: arguments.hold,
            deadline: arguments.timeout,
        })
    }

    /// Looks until the servers agree, and go on to agree for as long as asked; or until the time is
    /// over. Cancelling it has no effect on any server.
    pub async fn run(self) -> CheckReport {
        let start = Instant::now();
        let mut agreed_since = None;
        let mut is_first = true;
        loop {
            let seen = self.look().await;
            let objections = objections(&seen, &self.wanted);
            let now = Instant::now();
            agreed_since = objections.is_empty().then(|| agreed_since.unwrap_or(now));
            let has_held = agreed_since.is_some_and(|since| now - since >= self.hold);
            // Servers that agree within the time get the whole hold behind it.
            if has_held || agreed_since.is_none() && now - start >= self.patience {
                return CheckReport::new(seen, &self.wanted, objections);
            }
            if std::mem::take(&mut is_first) {
                self.tell_waiting(&objections);
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks all servers at the same time, so that the answers belong to one moment.
    async fn look(&self) -> Vec<View> {
        let mut asked = JoinSet::new();
        for (number, server) in self.servers.iter().enumerate() {
            let (server, deadline) = (server.clone(), self.deadline);
            asked.spawn(async move {
                let late = || Err(format!("no answer within {} s", deadline.as_secs()));
                let seen = timeout(deadline, view::ask(&server)).await.unwrap_or_else(|_| late());
                (number, View { place: server.place().clone(), seen })
            });
        }
        let mut views = asked.join_all().await;
        views.sort_by_key(|(number, _)| *number);
        views.into_iter().map(|(_, view)| view).collect()
    }

    fn tell_waiting(&self, objections: &[String]) {
        let text = match objections.first() {
            Some(first) => {
                format!("not yet: {first}; looking again for up to {} s\n", self.patience.as_secs())
            }
            None => format!("all agree; looking on for {} s\n", self.hold.as_secs()),
        };
        // Nobody has to read it.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn credentials(arguments: &CheckArguments) -> io::Result<Option<Credentials>> {
    let Some(user) = arguments.user.clone() else { return Ok(None) };
    let prompt = format!("password of {user}: ");
    let password = Password::find(arguments.password_file.as_deref(), PASSWORD, &prompt)?;
    Ok(Some(Credentials { user, password }))
}
