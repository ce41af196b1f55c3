//! What the closed loops ask for.

use xtask_grpc::Payload;

use xtask_grpc::messages::{instance, message, query};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Query,
    Register,
    Deregister,
}

/// What the requests of one closed loop ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The list of a service of ten instances.
    Query,
    /// Registrations of what the connection has registered already.
    Register,
}

/// Names services as the benchmark over HTTP does, so that a population can be filled there.
pub(super) fn service(number: u64) -> String {
    format!("bench.service.{number:06}")
}

impl Kind {
    pub(super) fn asks(self) -> Asks {
        match self {
            Self::Query => Asks::Query,
            Self::Register => Asks::Register,
        }
    }
}

impl Asks {
    /// The class of the request.
    fn class(self) -> &'static str {
        match self {
            Self::Query => "ServiceQueryRequest",
            Self::Register | Self::Deregister => "InstanceRequest",
        }
    }

    /// What the body of an answer holds if the server did what was asked.
    pub(super) fn expected(self) -> &'static [u8] {
        match self {
            Self::Query => b"\"hosts\":[{",
            Self::Register | Self::Deregister => b"\"resultCode\":200",
        }
    }

    /// Request `number` of connection `connection`, among so many services.
    pub(super) fn payload(self, connection: u64, number: u64, services: u64) -> Payload {
        // Neighbours in time are no neighbours in the registry.
        let service = service(number.wrapping_mul(7_919) % services);
        let ip = format!("10.77.{}.{}", connection / 256 % 256, connection % 256);
        let body = match self {
            Self::Query => query(&service),
            Self::Register => instance("registerInstance", &service, &ip, 8_080),
            Self::Deregister => instance("deregisterInstance", &service, &ip, 8_080),
        };
        message(self.class(), body)
    }
}
