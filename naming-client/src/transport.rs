//! Which protocol a client speaks.

use std::fmt;

/// How a client speaks to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// gRPC where a server has it, HTTP otherwise: the client tries the port for gRPC first and
    /// follows servers that come to speak gRPC later. The default. Without the feature `grpc` this
    /// is HTTP.
    #[default]
    Auto,
    /// gRPC alone, of Nacos 2.x and later. Only what gRPC does not have (log-in, settings of
    /// services, events) goes over HTTP.
    #[cfg(feature = "grpc")]
    Grpc,
    /// HTTP of Nacos 1.x with UDP pushes.
    Http,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            #[cfg(feature = "grpc")]
            Self::Grpc => "grpc",
            Self::Http => "http",
        })
    }
}

impl std::str::FromStr for Transport {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            #[cfg(feature = "grpc")]
            "grpc" => Ok(Self::Grpc),
            "http" => Ok(Self::Http),
            other => Err(crate::Error::Setting {
                setting: "transport",
                reason: format!("{other:?} is none of auto, grpc, http"),
            }),
        }
    }
}
