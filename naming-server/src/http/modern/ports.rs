//! The ports of this server: that of clients, where all APIs answer, and that of consoles.

use std::net::SocketAddr;
use std::sync::Arc;

use distro_net::PATH_PREFIX;
use hyper::http::request::Parts;

use crate::http::v1::Api;
use crate::http::{Answer, ApiError, Call, Door, Handler};

/// Answers on the port of clients: the APIs of 2.x and 3.x what is theirs, that of 1.x all else.
pub(crate) struct Front {
    pub(crate) api: Arc<Api>,
    /// Members are answered on a port of their own alone, over TLS.
    pub(crate) members_need_tls: bool,
}

impl Front {
    fn turns_away(&self, path: &str) -> bool {
        self.members_need_tls && path.starts_with(PATH_PREFIX)
    }
}

impl Handler for Front {
    fn handle(&self, call: &Call<'_>) -> Answer {
        if self.turns_away(call.uri) {
            return ApiError::forbidden("members speak TLS, on cluster.bind_port").into();
        }
        super::handle(&self.api, call).unwrap_or_else(|| self.api.handle(call))
    }

    fn door(&self, parts: &Parts, peer: SocketAddr) -> Door {
        match self.turns_away(parts.uri.path()) {
            // Bodies are small, and no answer proves anything.
            true => Door::Greeting,
            false => self.api.door(parts, peer),
        }
    }

    fn has_members(&self) -> bool {
        self.api.has_members()
    }

    fn may_be_late(&self) -> bool {
        self.api.may_be_late()
    }

    fn note_too_large(&self, path: &str) {
        self.api.note_too_large(path);
    }
}

/// Answers on the port of consoles: the API that pages and tools of operators call, without context
/// path.
pub(crate) struct ConsolePort(pub(crate) Arc<Api>);

impl Handler for ConsolePort {
    fn handle(&self, call: &Call<'_>) -> Answer {
        super::handle_console(&self.0, call)
    }

    fn may_be_late(&self) -> bool {
        self.0.may_be_late()
    }
}
