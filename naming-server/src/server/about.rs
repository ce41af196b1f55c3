//! What a server that has its sockets can tell of itself.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Server;
use super::dns::DnsSockets;
use crate::config::{TlsMode, list_members};
use crate::durable::Data;

impl Server {
    /// Whether requests need a user.
    pub fn is_auth_on(&self) -> bool {
        self.auth.is_some()
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of its gRPC port, with the real port, if it has one.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// The address at which Java servers of 2.x and 3.x ask it, with the real port, if they are
    /// members.
    pub fn java2_address(&self) -> Option<SocketAddr> {
        self.java2_listener.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// The address at which DNS is answered, by UDP and TCP, with the real port, if it is.
    pub fn dns_address(&self) -> Option<SocketAddr> {
        self.dns.as_ref().and_then(DnsSockets::address)
    }

    /// Where clients find the API, for people to read and copy.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => [127, 0, 0, 1].into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let scheme = if self.config.tls.mode == TlsMode::Required { "https" } else { "http" };
        format!("{scheme}://{address}{}", self.config.http_settings().context_path)
    }

    /// The members of the cluster as of the start, if it is one.
    pub fn members(&self) -> Option<String> {
        self.membership.as_ref().map(|membership| list_members(&membership.members))
    }

    /// The address that clients and other members are told.
    pub fn advertised(&self) -> &str {
        self.origin.address.as_str()
    }

    /// The folder of the durable data, unless it is in memory only.
    pub fn data_folder(&self) -> Option<&Path> {
        self.data.as_ref().map(Data::path)
    }
}
