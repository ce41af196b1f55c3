//! What stands between clients and a node: it passes bytes on, until it does not.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Stands before one node; what passes through ends with it.
pub(super) struct Between {
    pub(super) address: SocketAddr,
    links: Rc<RefCell<Vec<Weak<Link>>>>,
    task: JoinHandle<()>,
}

/// One connection that passes through.
#[derive(Default)]
struct Link {
    stall: Notify,
    reset: Notify,
}

impl Between {
    /// Listens at a free port of `ip` and passes on to `target`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(super) async fn open(ip: IpAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await.context("open a port between")?;
        let address = listener.local_addr()?;
        let links = Rc::<RefCell<Vec<Weak<Link>>>>::default();
        let known = Rc::clone(&links);
        let task = tokio::task::spawn_local(async move {
            let mut passing = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        let link = Rc::<Link>::default();
                        known.borrow_mut().retain(|link| link.strong_count() > 0);
                        known.borrow_mut().push(Rc::downgrade(&link));
                        passing.spawn_local(pass(client, target, link));
                    }
                    Some(_) = passing.join_next() => {}
                }
            }
        });
        Ok(Self { address, links, task })
    }

    /// From now on a share of the connections passes nothing on, and nobody is told.
    pub(super) fn stall(&self, share: f64) {
        self.each(share, |link| link.stall.notify_one());
    }

    /// Resets all connections, at both ends.
    pub(super) fn reset(&self) {
        self.each(1.0, |link| link.reset.notify_one());
    }

    fn each(&self, share: f64, act: impl Fn(&Link)) {
        for link in self.links.borrow().iter().filter_map(Weak::upgrade) {
            if fastrand::f64() < share {
                act(&link);
            }
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, link: Rc<Link>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        biased;
        // Both sockets stay open.
        () = link.stall.notified() => link.reset.notified().await,
        () = link.reset.notified() => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        _ = copy_bidirectional(&mut client, &mut server) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    use super::*;

    async fn linked() -> (Between, TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        let between = Between::open(Ipv4Addr::LOCALHOST.into(), target).await.unwrap();
        let mut client = TcpStream::connect(between.address).await.unwrap();
        client.write_all(b"a").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'a');
        (between, client, server)
    }

    #[tokio::test]
    async fn what_is_reset_ends_at_both_ends() {
        let played = async {
            let (between, mut client, mut server) = linked().await;
            between.reset();
            assert!(client.read_u8().await.is_err());
            assert!(server.read_u8().await.is_err());
        };
        LocalSet::new().run_until(played).await;
    }

    #[tokio::test]
    async fn what_stalls_stays_open_and_passes_nothing_on() {
        let played = async {
            let (between, mut client, mut server) = linked().await;
            between.stall(1.0);
            client.write_all(b"b").await.unwrap();
            drop(client);
            let silence = std::time::Duration::from_millis(300);
            assert!(tokio::time::timeout(silence, server.read_u8()).await.is_err());
        };
        LocalSet::new().run_until(played).await;
    }
}
