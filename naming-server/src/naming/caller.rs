//! The caller of a use case.

use std::net::{IpAddr, SocketAddr};

use super::Access;
use crate::registry::MAX_ACTOR;
use crate::text::cut;

/// The sender of a request, as its front knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The user who has proved to have sent it; `None` where no proof is asked for.
    pub(crate) user: Option<&'a str>,
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// How the client calls itself; empty if it does not say.
    pub(crate) agent: &'a str,
    /// The front that read the request.
    pub(crate) front: Front,
    /// What this layer has checked of the request already.
    pub(crate) clearance: Clearance,
}

/// A protocol that this server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// The HTTP APIs.
    Http,
    /// gRPC, of 2.x and 3.x.
    Grpc,
    /// DNS.
    Dns,
    /// One made up for tests.
    #[cfg(test)]
    Stub,
}

/// What this layer has checked for a whole request, before the use case that it ends in. Only the
/// checks of this layer give one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clearance {
    passed: bool,
    right: Granted,
    watched: bool,
    told: bool,
}

/// Which rights have been checked, to what the request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Granted {
    /// None that a use case asks for.
    #[default]
    Nothing,
    /// The one to this access.
    One(Access),
    /// All.
    All,
}

impl Clearance {
    pub(super) fn has_passed(self) -> bool {
        self.passed
    }

    pub(super) fn has_right(self, access: Access) -> bool {
        self.right == Granted::All || self.right == Granted::One(access)
    }

    /// Whether its sender need not be a user.
    pub(super) fn has_every_right(self) -> bool {
        self.right == Granted::All
    }

    pub(super) fn is_watched(self) -> bool {
        self.watched
    }

    pub(super) fn passed(self) -> Self {
        Self { passed: true, ..self }
    }

    pub(super) fn with_right(self, right: Granted) -> Self {
        Self { right, ..self }
    }

    pub(super) fn is_told(self) -> bool {
        self.told
    }

    pub(super) fn told(self) -> Self {
        Self { told: true, ..self }
    }

    pub(super) fn watched(self) -> Self {
        Self { watched: true, ..self }
    }
}

impl<'a> Caller<'a> {
    /// A caller of whom nothing has been checked.
    #[cfg(test)]
    pub(super) fn new(user: Option<&'a str>, peer: SocketAddr, agent: &'a str) -> Self {
        Self { user, peer, agent, front: Front::Stub, clearance: Clearance::default() }
    }

    /// Whether another server of 1.x calls, by its own word.
    pub(super) fn is_server(&self) -> bool {
        self.front == Front::Http && self.agent.starts_with("Nacos-Server")
    }

    /// The caller for events: address and agent, after the user and an `@` if that is known. No
    /// longer than events keep it, since an agent may be as long as a head.
    pub(crate) fn actor(&self) -> String {
        /// An IPv4 address and a blank; an IPv6 address makes the text grow once.
        const SHORT_ADDRESS: usize = 16;
        let agent = cut(self.agent, MAX_ACTOR);
        let mut actor = String::with_capacity(SHORT_ADDRESS + agent.len());
        if let Some(user) = self.user {
            actor.push_str(user);
            actor.push('@');
        }
        push_ip(&mut actor, self.peer.ip());
        if !agent.is_empty() {
            actor.push(' ');
            actor.push_str(agent);
        }
        actor
    }
}

/// Every new registration says who made it, so the usual form is written without formatting.
fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (n, octet) in ip.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push('.');
                }
                out.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(ip) => out.push_str(&ip.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.255.9", "::1", "fe80::1"] {
            let mut out = String::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text);
        }
    }
}
