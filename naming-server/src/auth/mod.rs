//! Who calls: tokens and passwords, and whom to believe.
//!
//! What somebody may do is a matter of [`Accounts`]; which right a request needs is said beside
//! the route table. Here it is found out who sent it, from the [`Credentials`] that a front read. That costs next to nothing for a token or a
//! password that was verified before. A password that was not takes tens of milliseconds of one
//! core, by intention, so it is verified beside the threads that serve, few at a time.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::registry::{Accounts, Later};

mod credentials;
mod error;
mod failures;
mod flights;
mod key;
mod lanes;
mod log;
mod new_user;
mod passwords;
mod tokens;
mod verified;

pub(crate) use credentials::{Credentials, Proof};
pub(crate) use error::{AuthError, Refusal};
use failures::Failures;
use flights::Flights;
pub(crate) use key::{TokenKey, TokenKeys};
use lanes::{Lane, Lanes, Source};
use log::FailureLog;
pub use new_user::NewUser;
pub(crate) use passwords::check_password;
use tokens::Tokens;
pub(crate) use tokens::worthless_token;
use verified::Verified;

/// What authentication works with.
pub(crate) struct AuthSettings {
    tokens: Tokens,
    token_ttl: Duration,
    takes_unversioned: bool,
    verified: Verified,
}

impl AuthSettings {
    /// Tokens are signed by the first of `keys` and good for `token_ttl`. `takes_unversioned` says whether those
    /// of Nacos are taken, too, which do not tell which password they were given for.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(
        keys: &TokenKeys,
        token_ttl: Duration,
        takes_unversioned: bool,
    ) -> Result<Self, getrandom::Error> {
        let tokens = Tokens::new(keys, token_ttl, takes_unversioned);
        Ok(Self { tokens, token_ttl, takes_unversioned, verified: Verified::new()? })
    }
}

impl fmt::Debug for AuthSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AuthSettings(hidden)")
    }
}

/// Finds out who calls. There is one if authentication is on.
pub(crate) struct Auth {
    accounts: Arc<Accounts>,
    tokens: ArcSwap<Tokens>,
    token_ttl: Duration,
    takes_unversioned: bool,
    verified: Verified,
    lanes: Lanes,
    flights: Flights,
    failures: Failures,
    log: FailureLog,
}

/// Who sent a request.
pub(crate) enum Caller {
    /// This user.
    Known(Arc<str>),
    /// Nobody is believed to.
    Refused(Refusal),
    /// It takes a while to find out. Once the future says yes it will be known at once.
    Unverified(Later<Result<(), Refusal>>),
}

impl Auth {
    /// Knows these users.
    pub(crate) fn new(settings: AuthSettings, accounts: Arc<Accounts>) -> Self {
        let AuthSettings { tokens, token_ttl, takes_unversioned, verified } = settings;
        Self {
            accounts,
            tokens: ArcSwap::from_pointee(tokens),
            token_ttl,
            takes_unversioned,
            verified,
            lanes: Lanes::new(passwords::cores()),
            flights: Flights::default(),
            failures: Failures::default(),
            log: FailureLog::default(),
        }
    }

    /// Takes other keys of tokens. Tokens of keys that are not among them end.
    pub(crate) fn change_keys(&self, keys: &TokenKeys) {
        let tokens = Tokens::new(keys, self.token_ttl, self.takes_unversioned);
        self.tokens.store(Arc::new(tokens));
    }

    /// Finds out who sent a request.
    pub(crate) fn identify(self: &Arc<Self>, credentials: &Credentials<'_>) -> Caller {
        match &credentials.proof {
            Proof::Token(token) => match self.tokens.load().read(token, &self.accounts.load()) {
                Ok(user) => Caller::Known(user),
                Err(refusal) => self.refuse(credentials.address, "", refusal),
            },
            Proof::Password { user, password } => {
                self.identify_by_password(credentials.address, user, password)
            }
            // Not worth a line in the log: nothing was tried.
            Proof::Nothing => Caller::Refused(Refusal::UnknownUser),
        }
    }

    /// The token that a request brings, or a new one for the password that it brings.
    ///
    /// # Errors
    /// The password is not that of the user any more.
    pub(crate) fn token_for(&self, credentials: &Credentials<'_>) -> Result<String, AuthError> {
        let unknown = || AuthError::from(Refusal::UnknownUser);
        match &credentials.proof {
            Proof::Token(token) => Ok(token.clone().into_owned()),
            Proof::Password { user, password } => {
                let accounts = self.accounts.load();
                let hash = accounts.password_hash(user).ok_or_else(unknown)?;
                // It may have changed since it was verified: a token for the new one would be a gift.
                let digest = self.verified.digest(user, password);
                if !self.verified.contains(&digest, hash, Instant::now()) {
                    return Err(unknown());
                }
                self.tokens.load().issue(user, hash)
            }
            Proof::Nothing => Err(unknown()),
        }
    }

    /// Makes the hash of a new password, when its turn comes. It is the turn of this user, who has
    /// been identified: a crowd of strangers at the same address is not before them.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) async fn hash(&self, user: &str, password: String) -> Result<Arc<str>, AuthError> {
        let hashed =
            self.lanes.run(Lane::User(user.into()), move || passwords::hash(&password)).await;
        match hashed {
            None => Err(Refusal::Busy.into()),
            Some(hash) => hash.map(Arc::from).map_err(|error| {
                tracing::error!(%error, "a password cannot be hashed");
                AuthError::Internal("the password cannot be hashed")
            }),
        }
    }

    fn identify_by_password(
        self: &Arc<Self>,
        address: IpAddr,
        user: &str,
        password: &str,
    ) -> Caller {
        let hash = self.accounts.load().password_hash(user).cloned();
        let digest = self.verified.digest(user, password);
        if let Some(hash) = &hash
            && self.verified.contains(&digest, hash, Instant::now())
        {
            return Caller::Known(user.into());
        }
        if check_password(password).is_err() {
            return self.refuse(address, user, Refusal::UnknownUser);
        }
        let source = Source::of(address);
        if !self.failures.allow(source, user, Instant::now()) {
            return self.refuse(address, user, Refusal::TooManyFailures);
        }
        let address = address.to_canonical();
        let attempt = Attempt { source, address, user: user.into(), hash, digest };
        let (auth, password) = (Arc::clone(self), password.to_owned());
        Caller::Unverified(Box::pin(async move { auth.attempt(attempt, password).await }))
    }

    /// Tries a password, when its turn comes, for all from this source who wait for the same.
    async fn attempt(self: Arc<Self>, attempt: Attempt, password: String) -> Result<(), Refusal> {
        let (auth, source) = (Arc::clone(&self), attempt.source);
        let key = (source, attempt.digest);
        let verify = async {
            let work = move || auth.verify(&attempt, &password);
            let outcome = self.lanes.run(Lane::Source(source), work).await;
            outcome.unwrap_or(Err(Refusal::Busy))
        };
        self.flights.join(key, verify).await
    }

    fn verify(&self, attempt: &Attempt, password: &str) -> Result<(), Refusal> {
        let Attempt { source, address, user, hash, digest } = attempt;
        // Somebody else may have come with it meanwhile.
        if let Some(hash) = hash
            && self.verified.contains(digest, hash, Instant::now())
        {
            return Ok(());
        }
        // Others who waited have failed meanwhile.
        if !self.failures.allow(*source, user, Instant::now()) {
            return Err(Refusal::TooManyFailures);
        }
        // Who does not exist takes as long as who has another password.
        let is_good = passwords::verify(password, hash.as_deref());
        match hash.as_ref().filter(|_| is_good) {
            Some(hash) => {
                self.verified.insert(*digest, Arc::clone(hash), Instant::now());
                Ok(())
            }
            None => {
                self.failures.note(*source, user, Instant::now());
                self.log.note(*address, user, Refusal::UnknownUser);
                Err(Refusal::UnknownUser)
            }
        }
    }

    /// A user who is known may not do what a request asks for.
    pub(crate) fn deny(&self, address: IpAddr, user: &str) -> Refusal {
        self.log.note(address.to_canonical(), user, Refusal::NotAllowed);
        Refusal::NotAllowed
    }

    fn refuse(&self, address: IpAddr, user: &str, refusal: Refusal) -> Caller {
        self.log.note(address.to_canonical(), user, refusal);
        Caller::Refused(refusal)
    }
}

/// A password to be tried.
struct Attempt {
    source: Source,
    /// For the log.
    address: IpAddr,
    user: Box<str>,
    /// `None` if there is no such user.
    hash: Option<Arc<str>>,
    digest: verified::Digest,
}
