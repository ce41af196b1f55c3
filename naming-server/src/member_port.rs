//! A port for members alone, which strangers can be kept away from by a firewall.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use distro_net::{Connecting, Connector, Io, PATH_PREFIX};
use hyper::http::request::Parts;

use crate::http::v1::Api;
use crate::http::{Answer, Call, Door, Handler, no_such_api};
use crate::tls::MemberDialer;

/// Answers what members ask of each other, and nothing else.
pub(crate) struct MembersOnly(pub(crate) Arc<Api>);

impl Handler for MembersOnly {
    fn handle(&self, call: &Call<'_>) -> Answer {
        match call.uri.starts_with(PATH_PREFIX) {
            true => self.0.handle(call),
            false => no_such_api(call).into(),
        }
    }

    fn door(&self, parts: &Parts, peer: SocketAddr) -> Door {
        match parts.uri.path().starts_with(PATH_PREFIX) {
            true => self.0.door(parts, peer),
            false => Door::Greeting,
        }
    }

    fn has_members(&self) -> bool {
        true
    }

    fn note_too_large(&self, path: &str) {
        self.0.note_too_large(path);
    }
}

/// Connects to the port for members, where a member has one, and otherwise to the one on the list.
pub(crate) struct MemberPort(pub(crate) u16, pub(crate) Arc<dyn Connector>);

impl Connector for MemberPort {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let Some((host, _)) = address.rsplit_once(':') else {
                return self.1.connect(address).await;
            };
            match self.1.connect(&format!("{host}:{}", self.0)).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.1.connect(address).await
                }
                connected => connected,
            }
        })
    }
}

/// Connects to the port for members in TLS, and nowhere else: a member that has no such port, or
/// speaks no TLS on it, is not reached.
pub(crate) struct SecureMemberPort {
    pub(crate) port: u16,
    pub(crate) dialer: Arc<MemberDialer>,
    /// What opens the connection that TLS begins on.
    pub(crate) inner: Arc<dyn Connector>,
}

impl Connector for SecureMemberPort {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let stream = self.inner.connect(&format!("{host}:{}", self.port)).await?;
            let stream = self.dialer.secure(host, stream).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
