//! Where data is taken from or put: a running server, or a folder.

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::arguments::{PASSWORD, PlaceArguments};
use super::plan::{Act, Step};
use crate::offline::OfflineServer;
use crate::password::Password;
use crate::progress::Progress;
use crate::registry::{Cursor, Item};
use crate::remote::{CallError, Credentials, Place, Remote};

/// What is asked for pages, and sent steps.
const PATH: &str = "/v3/console/naming-server/backup";

/// A side of a backup.
pub(super) enum Side {
    /// Whatever member is asked: each holds everything.
    Server(Box<Remote>),
    Folder(Box<OfflineServer>),
}

/// The envelope of answers.
#[derive(Deserialize)]
struct Enveloped<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Item>,
    takes_accounts: bool,
    next: Option<String>,
}

/// What is there.
pub(super) struct Known {
    pub(super) items: Vec<Item>,
    /// Whether users can be restored there.
    pub(super) takes_accounts: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepForm<'a> {
    item: &'a Item,
    remove: bool,
    by_hand: bool,
}

impl Side {
    /// Logs in at a server that wants it.
    ///
    /// # Errors
    /// There is no password, or the server does not let this user in.
    pub(super) async fn of_server(arguments: &PlaceArguments) -> Result<Self> {
        let place = arguments.server.clone().unwrap_or_else(Place::local);
        let credentials = match &arguments.user {
            None => None,
            Some(user) => {
                let prompt = format!("password of {user} at {place}: ");
                let password =
                    Password::find(arguments.password_file.as_deref(), PASSWORD, &prompt)
                        .with_context(|| format!("no password for the user {user}"))?;
                Some(Credentials { user: user.clone(), password })
            }
        };
        let remote = Remote::new(place.clone(), credentials, arguments.timeout);
        remote.log_in().await.map_err(|error| anyhow!("cannot log in at {place}: {error}"))?;
        Ok(Self::Server(Box::new(remote)))
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Server(remote) => remote.place().to_string(),
            Self::Folder(server) => server.folder().display().to_string(),
        }
    }

    /// All that is there.
    ///
    /// # Errors
    /// The server does not answer, refuses, or answers something else.
    pub(super) async fn items(
        &self,
        with_accounts: bool,
        progress: &Progress,
    ) -> Result<Known, CallError> {
        let mut items = Vec::new();
        let mut after = String::new();
        let takes_accounts = loop {
            let page = self.page(&after, with_accounts).await?;
            progress.step(page.items.len());
            items.extend(page.items);
            match page.next {
                None => break page.takes_accounts,
                Some(next) if next == after => {
                    let text = "a page names itself as the next one".to_owned();
                    return Err(CallError::Unreadable(text));
                }
                Some(next) => after = next,
            }
        };
        // What changes between two pages may be on both, and the later one counts.
        let items: std::collections::BTreeMap<_, _> =
            items.into_iter().map(|item: Item| (item.place(), item)).collect();
        Ok(Known { items: items.into_values().collect(), takes_accounts })
    }

    async fn page(&self, after: &str, with_accounts: bool) -> Result<Page, CallError> {
        match self {
            Self::Server(remote) => {
                let accounts = with_accounts.to_string();
                let query = [("accounts", &*accounts), ("after", after)];
                let given = if after.is_empty() { &query[..1] } else { &query };
                Ok(remote.read::<Enveloped<Page>>(PATH, given).await?.data)
            }
            Self::Folder(server) => {
                let unreadable = |error: &dyn std::fmt::Display| {
                    CallError::Unreadable(format!("{}: {error}", server.folder().display()))
                };
                let cursor = match after {
                    "" => Cursor::default(),
                    text => Cursor::parse(text).map_err(|_| unreadable(&"no such page"))?,
                };
                let page = server.registry().backup_page(&cursor, with_accounts);
                let page = page.map_err(|error| unreadable(&error))?;
                let items = page.items.iter().map(|item| serde_json::from_str(item));
                let items = items.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
                let next = page.next.map(|next| next.text());
                Ok(Page { items, takes_accounts: true, next })
            }
        }
    }

    /// Carries out steps, of which none depends on another, and gives what became of each: why it
    /// was not done, if it was not.
    ///
    /// # Errors
    /// The server does not answer, refuses all, or answers something else. Some may be done.
    pub(super) async fn carry_out(&self, steps: &[Step]) -> Result<Vec<Option<String>>, CallError> {
        let outcomes = match self {
            Self::Server(remote) => {
                let forms = steps.iter().map(|Step { act, item, by_hand }| StepForm {
                    item,
                    remove: *act == Act::Remove,
                    by_hand: *by_hand,
                });
                let body = serde_json::json!({ "steps": forms.collect::<Vec<_>>() }).to_string();
                remote.send_json::<Enveloped<Vec<Option<String>>>>(PATH, body).await?.data
            }
            Self::Folder(server) => {
                let mut outcomes = Vec::with_capacity(steps.len());
                let actor = || "restore".to_owned();
                let Some(writes) = server.writes() else { return Ok(vec![None; steps.len()]) };
                // All are begun before any is waited for: the disk takes them in one.
                let begun: Vec<_> = steps
                    .iter()
                    .map(|Step { act, item, by_hand }| match act {
                        Act::Remove => writes.remove_restored(item.clone(), &actor),
                        _ => writes.restore(item.clone(), *by_hand, &actor),
                    })
                    .collect();
                for write in begun {
                    outcomes.push(write.outcome().await.err().map(|error| error.to_string()));
                }
                outcomes
            }
        };
        if outcomes.len() == steps.len() {
            return Ok(outcomes);
        }
        Err(CallError::Unreadable("the server answered to other steps than were sent".to_owned()))
    }

    /// Lets go of a folder. Everything is on the disk then.
    pub(super) async fn close(self) -> Result<()> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Folder(server) => server.close().await,
        }
    }
}
