//! Why nobody is believed, and what else can be wrong with an account.

/// Why nobody is believed to have sent a request. The texts are those of Nacos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No credentials, or wrong ones.
    #[error("unknown user!")]
    UnknownUser,
    /// The token was good, and is over or was given for another password.
    #[error("token expired!")]
    TokenExpired,
    /// The token is none, or was signed by somebody else.
    #[error("token invalid!")]
    TokenInvalid,
    /// The token has a good signature, but does not tell which password it was given for.
    #[error("token invalid! It has no version of the password, see auth.accept_nacos_tokens")]
    TokenUnversioned,
    /// Known, but not allowed.
    #[error("authorization failed!")]
    NotAllowed,
    /// Too many wrong passwords.
    #[error("too many failed log-ins, please try again in a minute!")]
    TooManyFailures,
    /// More log-ins wait than can be taken on.
    #[error("too many log-ins at the same time, please try again later!")]
    Busy,
}

/// A call about users or tokens that failed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// The caller is not believed, or has to come again later.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A parameter cannot be used; the text names the parameter.
    #[error("{0}")]
    Invalid(String),
    /// This server is to blame; the log says more.
    #[error("{0}")]
    Internal(&'static str),
}

impl AuthError {
    /// A password that cannot be used; `reason` begins with "it".
    pub(super) fn bad_password(reason: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("Param 'password' is illegal, {reason}"))
    }
}
