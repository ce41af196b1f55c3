//! The ports of this server: that of clients, where all APIs answer, and that of consoles.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::http::request::Parts;

use crate::http::v1::Api;
use crate::http::{Answer, Call, Door, Handler};

/// Answers on the port of clients: the APIs of 2.x and 3.x what is theirs, that of 1.x all else.
pub(crate) struct Front(pub(crate) Arc<Api>);

impl Handler for Front {
    fn handle(&self, call: &Call<'_>) -> Answer {
        super::handle(&self.0, call).unwrap_or_else(|| self.0.handle(call))
    }

    fn door(&self, parts: &Parts, peer: SocketAddr) -> Door {
        self.0.door(parts, peer)
    }

    fn has_members(&self) -> bool {
        self.0.has_members()
    }

    fn may_be_late(&self) -> bool {
        self.0.may_be_late()
    }

    fn note_too_large(&self, path: &str) {
        self.0.note_too_large(path);
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
