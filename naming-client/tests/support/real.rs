//! A server of this project, in this process, on a runtime of its own so that it can be killed:
//! its connections are cut and nothing is drained, as with `kill -9`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use naming_server::{AuthConfig, Config, Hidden, NewUser, Server};
use tokio::runtime::{Builder, Runtime};

/// An address of loopback that is this test's alone: there the ports may be the usual ones, and
/// gRPC is where clients look for it.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, 64 | (high & 0x3f), low, number), 8848).into()
}

pub(crate) struct RealServer {
    address: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
}

impl RealServer {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(own_address(), adjust, Vec::new())
    }

    /// A server as of 1.x: HTTP alone.
    pub(crate) fn start_old() -> Self {
        Self::start_with(|config| config.grpc.port = Some(0))
    }

    /// With authentication on, and these users.
    pub(crate) fn start_guarded(token_ttl_s: u64, users: Vec<NewUser>) -> Self {
        let token_key = Hidden("dGVzdHMgb2YgdGhlIGNsaWVudCBhbmQgbm90aGluZyBlbHNl".to_owned());
        let auth = AuthConfig { enabled: true, token_key, token_ttl_s, ..AuthConfig::default() };
        Self::start_on(own_address(), |config| config.auth = auth, users)
    }

    fn start_on(
        address: SocketAddr,
        adjust: impl FnOnce(&mut Config),
        users: Vec<NewUser>,
    ) -> Self {
        let (bind, port) = (address.ip().to_string(), address.port());
        let mut config = Config { bind, port, ..Config::default() };
        adjust(&mut config);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Binding happens on the server's runtime but is waited for here, so that the address is
        // open when this returns.
        let (sender, receiver) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let server = Server::bind(config).await.expect("a free port");
            let server = users.into_iter().fold(server, Server::with_user);
            sender.send(server.local_addr()).expect("the test waits");
            server.run(std::future::pending()).await.expect("the server runs");
        });
        let address = receiver.recv().expect("the server starts");
        Self { address, runtime: Mutex::new(Some(runtime)) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends it without a word, as `kill -9` does.
    pub(crate) fn kill(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            // Waits for the threads, so that the port is free when this returns.
            std::thread::spawn(move || runtime.shutdown_timeout(std::time::Duration::from_secs(5)))
                .join()
                .unwrap();
        }
    }

    /// Starts an empty server on the same port.
    pub(crate) fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    /// The same with other settings.
    pub(crate) fn restart_with(&mut self, adjust: impl FnOnce(&mut Config)) {
        self.kill();
        *self = Self::start_on(self.address, adjust, Vec::new());
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.kill();
    }
}
