//! A TCP relay that can be closed: connections are refused service and those that are open are
//! cut, while the server behind goes on. Or it holds everything up, as a network does that went
//! dead.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::real::own_address;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    /// Connections stay, and nothing passes.
    Dead,
}

/// A relay for both ports of a server.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Before the server at `target` and its gRPC, which is 1,000 above.
    pub(crate) async fn start(target: String) -> Self {
        let target: SocketAddr = target.parse().unwrap();
        let (address, state) = (own_address(), Arc::new(watch::Sender::new(State::Open)));
        let mut tasks = Vec::new();
        for offset in [0, 1_000] {
            let listener =
                TcpListener::bind((address.ip(), address.port() + offset)).await.unwrap();
            let target = SocketAddr::new(target.ip(), target.port() + offset);
            tasks.push(tokio::spawn(accept(listener, target, state.clone())));
        }
        Self { address, state, tasks }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }

    /// From now on nothing passes, and nobody is told.
    pub(crate) fn hold_up(&self) {
        self.state.send_replace(State::Dead);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: Arc<watch::Sender<State>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut state = state.subscribe();
        tokio::spawn(async move {
            if *state.borrow_and_update() == State::Open {
                let Ok(mut server) = TcpStream::connect(target).await else { return };
                tokio::select! {
                    () = until(&mut state, |now| now != State::Open) => {}
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                }
                until(&mut state, |now| now != State::Dead).await;
                return;
            }
            until(&mut state, |now| now != State::Dead).await;
        });
    }
}

async fn until(state: &mut watch::Receiver<State>, wanted: impl Fn(State) -> bool) {
    // The sender lives as long as the proxy.
    drop(state.wait_for(|now| wanted(*now)).await);
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
