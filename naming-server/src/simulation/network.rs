//! The sockets of the simulated network, where the server expects sockets.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use distro_net::{Connecting, Connector, Io};
use parking_lot::Mutex;
use turmoil::net::{TcpListener, TcpStream};

use crate::http::{Accept, Stream};

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl Stream for TcpStream {}

/// Connects over the simulated network, which refuses what it cannot carry, like a firewall that
/// rejects. Cuts named here are silent instead: whoever connects across them waits. Shared by all
/// hosts.
#[derive(Clone, Default)]
pub(super) struct SimulatedConnector {
    silent: Arc<Mutex<BTreeSet<(IpAddr, IpAddr)>>>,
}

impl SimulatedConnector {
    /// Makes the cut from one host to another silent, or no more.
    pub(super) fn set_silent(&self, source: Ipv4Addr, target: Ipv4Addr, is_silent: bool) {
        let cut = (source.into(), target.into());
        let mut silent = self.silent.lock();
        if is_silent {
            silent.insert(cut)
        } else {
            silent.remove(&cut)
        };
    }

    /// A connection from one host to an address.
    pub(super) async fn open(&self, source: Ipv4Addr, address: &str) -> io::Result<TcpStream> {
        let opened = TcpStream::connect(address).await;
        let refused =
            opened.as_ref().err().filter(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused.is_some()
            && let Ok(target) = address.parse::<SocketAddr>()
            && self.silent.lock().contains(&(source.into(), target.ip()))
        {
            pending::<()>().await;
        }
        opened
    }
}

/// The connections of one member.
pub(super) struct MemberConnector {
    pub(super) network: SimulatedConnector,
    pub(super) source: Ipv4Addr,
}

impl Connector for MemberConnector {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            Ok(Box::new(self.network.open(self.source, address).await?) as Box<dyn Io>)
        })
    }
}
