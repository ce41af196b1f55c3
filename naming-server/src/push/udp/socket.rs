//! The UDP socket: the seam where a simulated one plugs in.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// What pushes leave from and acks come to.
#[derive(Debug)]
pub(crate) enum PushSocket {
    /// A socket of the system.
    Real(UdpSocket),
    /// A socket of a simulated network.
    #[cfg(test)]
    Simulated(turmoil::net::UdpSocket),
}

impl From<UdpSocket> for PushSocket {
    fn from(socket: UdpSocket) -> Self {
        Self::Real(socket)
    }
}

impl PushSocket {
    pub(in crate::push) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Real(socket) => socket.local_addr(),
            #[cfg(test)]
            Self::Simulated(socket) => socket.local_addr(),
        }
    }

    pub(in crate::push) fn try_send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> io::Result<usize> {
        match self {
            Self::Real(socket) => socket.try_send_to(datagram, target),
            #[cfg(test)]
            Self::Simulated(socket) => socket.try_send_to(datagram, target),
        }
    }

    pub(in crate::push) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Real(socket) => socket.writable().await,
            #[cfg(test)]
            Self::Simulated(socket) => socket.writable().await,
        }
    }

    pub(in crate::push) async fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Real(socket) => socket.recv_from(buffer).await,
            #[cfg(test)]
            Self::Simulated(socket) => socket.recv_from(buffer).await,
        }
    }
}
