//! What the 2.x and 3.x APIs refuse, and how they say it: a status, a number that clients look at,
//! the text that belongs to the number, and the reason in `data`.

use hyper::StatusCode;
use serde_json::json;

use crate::http::{Answer, ApiError, Reply};
use crate::naming::NamingError;
use crate::registry::RegistryError;

/// The numbers of the protocol with their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    ParameterMissing,
    AccessDenied,
    ParameterInvalid,
    NotFound,
    Conflict,
    Weight,
    Metadata,
    InstanceNotFound,
    Instance,
    ServiceExists,
    NoService,
    ServiceNotEmpty,
    HealthChecked,
    Namespace,
    NoNamespace,
    NamespaceExists,
    State,
    ServerError,
    Disabled,
}

impl Code {
    fn shown(self) -> (u32, &'static str) {
        match self {
            Self::ParameterMissing => (10_000, "parameter missing"),
            Self::AccessDenied => (10_001, "access denied"),
            Self::ParameterInvalid => (20_002, "parameter validate error"),
            Self::NotFound => (20_004, "resource not found"),
            Self::Conflict => (20_005, "resource conflict"),
            Self::Weight => (21_001, "weight error"),
            Self::Metadata => (21_002, "metadata error"),
            Self::InstanceNotFound => (21_003, "instance not found"),
            Self::Instance => (21_004, "instance error"),
            Self::ServiceExists => (21_007, "service already exist"),
            Self::NoService => (21_008, "service not exist"),
            Self::ServiceNotEmpty => (21_009, "service delete failure"),
            Self::HealthChecked => (21_011, "health check still working"),
            Self::Namespace => (22_000, "illegal namespace"),
            Self::NoNamespace => (22_001, "namespace not exist"),
            Self::NamespaceExists => (22_002, "namespace already exist"),
            Self::State => (23_000, "illegal state"),
            Self::ServerError => (30_000, "server error"),
            Self::Disabled => (40_001, "API function disabled."),
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Fault {
    status: StatusCode,
    code: Code,
    reason: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: Code, reason: impl Into<String>) -> Self {
        Self { status, code, reason: reason.into() }
    }

    /// 400 with a number.
    pub(super) fn bad(code: Code, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, reason)
    }

    /// 400: a parameter that must be there is not.
    pub(super) fn missing(parameter: &str) -> Self {
        let reason = format!("Required parameter '{parameter}' type String is not present");
        Self::bad(Code::ParameterMissing, reason)
    }

    /// 400: the value of a parameter cannot be used; `reason` begins with "it".
    pub(super) fn illegal(parameter: &str, reason: impl std::fmt::Display) -> Self {
        let reason = format!("Param '{parameter}' is illegal, {reason}");
        Self::bad(Code::ParameterInvalid, reason)
    }

    /// 404.
    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, reason)
    }

    /// 501: this server does not offer that.
    pub(super) fn not_offered(reason: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, Code::Disabled, reason)
    }

    /// The same refusal for this reason.
    pub(super) fn because(self, reason: String) -> Self {
        Self { reason, ..self }
    }

    /// The same reason under another number, if it is the caller's fault: what the registry refuses
    /// it does not number.
    pub(super) fn numbered(self, code: Code) -> Self {
        match self.status {
            StatusCode::BAD_REQUEST => Self { code, ..self },
            _ => self,
        }
    }
}

/// What the registry refuses. Who knows what a request is about numbers it more precisely.
impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let (status, code) = match &error {
            RegistryError::Invalid(_) => (StatusCode::BAD_REQUEST, Code::ParameterInvalid),
            RegistryError::Missing(_) => (StatusCode::BAD_REQUEST, Code::NotFound),
            RegistryError::Conflict(_) => (StatusCode::BAD_REQUEST, Code::Conflict),
            RegistryError::Full(_)
            | RegistryError::NotReady(_)
            | RegistryError::Contended(_)
            | RegistryError::NotKept(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::ServerError),
        };
        Self::new(status, code, error.to_string())
    }
}

/// What a use case refuses.
impl From<NamingError> for Fault {
    fn from(error: NamingError) -> Self {
        match error {
            NamingError::Registry(error) => error.into(),
            error => ApiError::from(error).into(),
        }
    }
}

/// What the rest of the server refuses.
impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        let code = match error.status.as_u16() {
            400 | 413 | 415 => Code::ParameterInvalid,
            403 => Code::AccessDenied,
            404 => Code::NotFound,
            409 => Code::Conflict,
            501 => Code::Disabled,
            _ => Code::ServerError,
        };
        Self::new(error.status, code, error.message)
    }
}

impl From<naming_model::NameError> for Fault {
    fn from(error: naming_model::NameError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<Fault> for Reply {
    fn from(Fault { status, code, reason }: Fault) -> Self {
        let (number, message) = code.shown();
        let body = json!({ "code": number, "message": message, "data": reason });
        Self::json(body.to_string()).with_status(status)
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::Now(fault.into())
    }
}

/// The answer that an instance is not there, which is none of an error's status: clients register
/// again then.
pub(super) fn register_again() -> Reply {
    let (number, message) = Code::InstanceNotFound.shown();
    Reply::json(json!({ "code": number, "message": message, "data": null }).to_string())
}
