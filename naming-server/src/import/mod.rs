//! `naming-server import`: copies what a running Nacos keeps into a running server, through the API
//! of both.
//!
//! Every step looks at the target first and writes only what differs, so that it can be repeated or
//! taken up again. What was written is read once more: only what arrived counts.

mod answers;
mod arguments;
mod catalog;
mod instances;
mod namespaces;
mod report;
mod service;
mod source;
mod target;
mod v3;

use std::path::Path;

use hyper::Method;
use naming_http::Form;
use parking_lot::Mutex;

pub use arguments::{ImportArguments, SourceApi};
pub use report::ImportReport;

use arguments::{FROM_PASSWORD, TO_PASSWORD};
use catalog::ServiceName;
use source::Source;
use target::Target;

use crate::password::Password;
use crate::progress::{Progress, tell};
use crate::remote::{CallError, Credentials, Place, Remote};

/// Why an import did not begin. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Source and target are one.
    #[error("source and target are the same server, {0}")]
    SameServer(Place),
    /// There is no password for a user.
    #[error("no password for the user {user}: {reason}")]
    Password {
        /// The user.
        user: String,
        /// What is wrong with it.
        reason: std::io::Error,
    },
    /// A server does not let us in.
    #[error("cannot log in at {place}: {reason}")]
    LogIn {
        /// The server.
        place: Place,
        /// What it says.
        reason: String,
    },
    /// The namespaces cannot be read.
    #[error("cannot begin: {0}")]
    Namespaces(String),
}

/// An import that is about to begin.
#[derive(Debug)]
pub struct Import {
    source: Source,
    /// The API that was asked for.
    from_api: SourceApi,
    target: Target,
    /// None means all.
    namespaces: Vec<String>,
    all_services: bool,
    dry_run: bool,
    report: Mutex<ImportReport>,
}

impl Import {
    /// Asks for passwords where they are needed. No call is made yet.
    ///
    /// # Errors
    /// [`ImportError::SameServer`] and [`ImportError::Password`].
    pub fn new(arguments: &ImportArguments) -> Result<Self, ImportError> {
        let ImportArguments { from, timeout, dry_run, .. } = arguments;
        let to = arguments.target();
        if to.as_ref() == Some(from) {
            return Err(ImportError::SameServer(from.clone()));
        }
        let source = credentials(
            arguments.from_user.as_deref(),
            arguments.from_password_file.as_deref(),
            FROM_PASSWORD,
            from,
        )?;
        let target = match &to {
            Some(to) => {
                let user = arguments.to_user.as_deref();
                let file = arguments.to_password_file.as_deref();
                let credentials = credentials(user, file, TO_PASSWORD, to)?;
                Some(Remote::new(to.clone(), credentials, *timeout))
            }
            None => None,
        };
        Ok(Self {
            source: Source::V1(Remote::new(from.clone(), source, *timeout)),
            from_api: arguments.from_api,
            target: Target(target),
            namespaces: arguments.namespaces.clone(),
            all_services: arguments.all_services,
            dry_run: *dry_run,
            report: Mutex::new(ImportReport::new(from, to.as_ref(), *dry_run)),
        })
    }

    /// Copies everything. Cancelling it leaves what was copied so far.
    ///
    /// # Errors
    /// [`ImportError::LogIn`] and [`ImportError::Namespaces`]. Whatever happens later is in the
    /// report.
    pub async fn run(mut self) -> Result<ImportReport, ImportError> {
        let source = self.source.find_out(self.from_api).await;
        self.source = source.map_err(|error| ImportError::Namespaces(error.to_string()))?;
        log_in(self.source.remote()).await?;
        self.meet_target().await?;
        let copied = self.copy_namespaces().await;
        let ids = copied.map_err(|error| ImportError::Namespaces(error.to_string()))?;
        let progress = Progress::of("services");
        progress.during(self.copy_services(&ids, &progress)).await;
        Ok(self.report.into_inner())
    }

    /// Logs in at the target. A dry run does without a target that does not run yet.
    async fn meet_target(&mut self) -> Result<(), ImportError> {
        let Some(target) = &self.target.0 else { return Ok(()) };
        if self.dry_run
            && let Err(CallError::Lost { reason, .. }) = target.greet().await
        {
            self.report.get_mut().miss_target(&reason);
            self.target = Target(None);
            return Ok(());
        }
        log_in(target).await
    }

    async fn copy_services(&self, namespaces: &[String], progress: &Progress) {
        let mut services = Vec::new();
        for namespace in namespaces {
            match self.source.services(namespace).await {
                Ok(listed) => {
                    let count = listed.items.len();
                    tell(&format!("namespace {namespace}: {count} services\n"));
                    progress.expect(count);
                    if listed.missing > 0 {
                        let missing = listed.missing;
                        let text =
                            format!("namespace {namespace}: {missing} services were not shown");
                        self.report.lock().complain(&text);
                    }
                    services.extend(listed.items.into_iter().map(|grouped| (namespace, grouped)));
                }
                Err(lost @ CallError::Lost { .. }) => return self.report.lock().stop(&lost),
                Err(error) => {
                    self.report.lock().complain(&format!("namespace {namespace}: {error}"));
                }
            }
        }
        let rest = Mutex::new(services.iter());
        let worker = async || {
            loop {
                let next = rest.lock().next();
                let Some((namespace, grouped)) = next else { return };
                if self.report.lock().is_stopped() {
                    return;
                }
                if let Err(lost) = self.copy_service(ServiceName { namespace, grouped }).await {
                    self.report.lock().stop(&lost);
                }
                progress.step(1);
            }
        };
        // So many services at a time: enough to hide the way there and back, and no burden.
        tokio::join!(
            worker(),
            worker(),
            worker(),
            worker(),
            worker(),
            worker(),
            worker(),
            worker()
        );
    }

    /// Has something written at the target, or pretends to.
    async fn write(&self, method: Method, path: &str, form: Form) -> Result<String, CallError> {
        match &self.target.0 {
            Some(target) if !self.dry_run => target.write(method, path, form).await,
            _ => Ok("ok".to_owned()),
        }
    }
}

async fn log_in(remote: &Remote) -> Result<(), ImportError> {
    remote.log_in().await.map_err(|error| ImportError::LogIn {
        place: remote.place().clone(),
        reason: error.to_string(),
    })
}

fn credentials(
    user: Option<&str>,
    file: Option<&Path>,
    variable: &str,
    place: &Place,
) -> Result<Option<Credentials>, ImportError> {
    let Some(user) = user else { return Ok(None) };
    let prompt = format!("password of {user} at {place}: ");
    let password = Password::find(file, variable, &prompt);
    let user = user.to_owned();
    match password {
        Ok(password) => Ok(Some(Credentials { user, password })),
        Err(reason) => Err(ImportError::Password { user, reason }),
    }
}
