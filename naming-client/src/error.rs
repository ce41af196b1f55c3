//! What can go wrong, and whether the registry may have changed all the same.

use std::fmt;
use std::time::Duration;

use naming_model::{InstanceError, NameError};

use crate::ServiceQuery;

/// Why a call failed.
///
/// Whether trying again could do harm is told by [`Error::may_have_had_effect`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no registry would take. Nothing was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An instance that no registry would take. Nothing was sent.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// An instance that this client keeps registered already. Nothing was sent.
    #[error("this client has already registered {instance} for {service}")]
    AlreadyRegistered {
        /// `group@@service`.
        service: String,
        /// `<ip>#<port>#<cluster>`.
        instance: String,
    },
    /// An update that would turn an instance into another one. Nothing was sent.
    #[error("address, port, cluster and ephemeral flag of {instance} cannot be updated")]
    Identity {
        /// `<ip>#<port>#<cluster>` before the update.
        instance: String,
    },
    /// A value of the builder that cannot work. Nothing was sent.
    #[error("{setting}: {reason}")]
    Setting {
        /// Which value.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A request that cannot be written, above all one with too much metadata: parameters travel
    /// in the request line, which is limited to 64 KiB. Nothing was sent.
    #[error("the request cannot be written: {0}")]
    Request(String),
    /// Every server was tried and none took the call.
    #[error("no server took the call: {}", Attempts(.attempts))]
    NoServer {
        /// What happened, in the order of the attempts.
        attempts: Vec<Attempt>,
    },
    /// A server understood the call and said no; other servers would too.
    #[error("{server} refused the call with status {status}: {message}")]
    Refused {
        /// Address of the server.
        server: String,
        /// HTTP status.
        status: u16,
        /// The server's words, shortened.
        message: String,
        /// Whether an earlier attempt of the same call got lost on its way back: then the refusal
        /// may be the answer to one's own success ("already exists").
        after_lost_attempt: bool,
    },
    /// The servers do not accept user and password.
    #[error("{server} does not accept the credentials of user {user:?}: {message}")]
    Credentials {
        /// Address of the server.
        server: String,
        /// The user.
        user: String,
        /// The server's words, shortened.
        message: String,
    },
    /// The service has no instance that is healthy, enabled and of a weight above 0.
    #[error("{query} has no usable instance")]
    NoInstance {
        /// What was looked for.
        query: ServiceQuery,
    },
    /// The client was shut down. Nothing was sent.
    #[error("the client was shut down")]
    ShutDown,
}

impl Error {
    /// Whether the registry may have changed although the call failed: a request was sent whose
    /// fate is unknown. `false` means that it surely had no effect.
    pub fn may_have_had_effect(&self) -> bool {
        match self {
            Self::NoServer { attempts } => {
                attempts.iter().any(|attempt| attempt.failure.may_have_had_effect())
            }
            Self::Refused { after_lost_attempt, .. } => *after_lost_attempt,
            _ => false,
        }
    }

    /// Whether the servers say that the service or instance does not exist. Nacos answers this
    /// with 400, 404 or 500, depending on the call.
    pub fn is_not_found(&self) -> bool {
        let says_so =
            |status, message| matches!(status, 400 | 404 | 500) && says_not_found(message);
        match self {
            Self::Refused { status, message, .. } => says_so(*status, message),
            Self::NoServer { attempts } => {
                !attempts.is_empty()
                    && attempts.iter().all(|attempt| match &attempt.failure {
                        Failure::Status { status, message } => says_so(*status, message),
                        _ => false,
                    })
            }
            _ => false,
        }
    }
}

/// Whether `message` says in the registry's words that something does not exist.
pub(crate) fn says_not_found(message: &str) -> bool {
    let words = ["not found", "not exist", "no ips found", "no matched ip", "no service "];
    words.iter().any(|word| message.contains(word))
}

/// One attempt of a call at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Address of the server, with its port.
    pub server: String,
    /// Why the attempt failed.
    pub failure: Failure,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.failure)
    }
}

/// Why one attempt at one server failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The host name has no address.
    #[error("the name does not resolve ({0})")]
    Unresolvable(String),
    /// Nothing listens on that port.
    #[error("connection refused")]
    ConnectionRefused,
    /// No connection for another reason, a connect time-out among them.
    #[error("no connection ({0})")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke before the answer was complete.
    #[error("the connection was cut ({0})")]
    Cut(String),
    /// An answer that says that the server is not able to serve now, or not at all.
    #[error("status {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The server's words, shortened.
        message: String,
    },
    /// An answer of status 200 that is not what the call promises.
    #[error("unexpected answer ({0})")]
    Malformed(String),
}

impl Failure {
    /// Whether the server may have acted on the request.
    pub fn may_have_had_effect(&self) -> bool {
        match self {
            Self::Unresolvable(_) | Self::ConnectionRefused | Self::Unreachable(_) => false,
            Self::TimedOut(_) | Self::Cut(_) | Self::Malformed(_) => true,
            // 503 is said before anything is done; any other 5xx may come from half-way.
            Self::Status { status, .. } => *status >= 500 && *status != 503 && *status != 501,
        }
    }
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is none");
        }
        for (index, attempt) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(f, "{gap}{attempt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failures: impl IntoIterator<Item = Failure>) -> Error {
        let attempt = |failure| Attempt { server: "a:8848".to_owned(), failure };
        Error::NoServer { attempts: failures.into_iter().map(attempt).collect() }
    }

    #[test]
    fn a_refused_connection_had_no_effect_and_a_lost_answer_may_have_had() {
        assert!(!failed([Failure::ConnectionRefused]).may_have_had_effect());
        let both = failed([Failure::ConnectionRefused, Failure::TimedOut(Duration::from_secs(3))]);
        assert!(both.may_have_had_effect());
        let text = both.to_string();
        assert!(text.contains("a:8848: connection refused; a:8848: no answer within 3s"));
        let gate = Failure::Status { status: 503, message: "starting".to_owned() };
        assert!(!failed([gate]).may_have_had_effect());
    }

    #[test]
    fn not_found_is_recognised_in_nacos_words() {
        let status = |status, message: &str| Failure::Status { status, message: message.into() };
        assert!(failed([status(500, "caused: service g@@s is not found!;")]).is_not_found());
        assert!(!failed([status(500, "caused: boom;")]).is_not_found());
        assert!(!failed([status(503, "not found")]).is_not_found());
        assert!(!failed([]).is_not_found());
    }
}
