//! A server in this process and a small client, for tests of the API.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use naming_server::{Config, Server};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server on a free loopback port; stops when dropped.
pub(crate) struct Site {
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    // Dropped last: it waits for nothing, the tasks end with it.
    _runtime: Runtime,
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; the status must be 200.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config { bind: Ipv4Addr::LOCALHOST.to_string(), port: 0, ..Config::default() };
        change(&mut config);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(config)).unwrap();
        let address = server.local_addr();
        let (shutdown, stopped) = oneshot::channel();
        runtime.spawn(server.run(async {
            // A sender that is gone asks for the same.
            let _ = stopped.await;
        }));
        Self { address, shutdown: Some(shutdown), _runtime: runtime }
    }

    /// Sends `METHOD path` below `/nacos/v1/ns/` with these parameters in the query.
    #[track_caller]
    pub(crate) fn call(&self, request: &str, parameters: &[(&str, &str)]) -> Answer {
        let (method, path) = request.split_once(' ').expect("METHOD path");
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let query = query.join("&");
        let target = format!("/nacos/v1/ns/{path}?{query}");
        self.send(&format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    }

    /// Like [`Self::call`], for what must succeed with `ok`.
    #[track_caller]
    pub(crate) fn ok(&self, request: &str, parameters: &[(&str, &str)]) {
        let answer = self.call(request, parameters);
        assert_eq!((answer.status, &*answer.text), (200, "ok"), "{request} {parameters:?}");
    }

    /// Like [`Self::call`], for what must be refused with this status and a text that has `part`.
    #[track_caller]
    pub(crate) fn refused(
        &self,
        request: &str,
        parameters: &[(&str, &str)],
        status: u16,
        part: &str,
    ) {
        let answer = self.call(request, parameters);
        // Some parameters are refused for their length.
        let about = format!("{request} {parameters:.80?}: {}", answer.text);
        assert_eq!(answer.status, status, "{about}");
        assert!(answer.text.contains(part), "{about}");
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(
        &self,
        request: &str,
        parameters: &[(&str, &str)],
        wanted: impl Fn(&Answer) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(request, parameters);
            if wanted(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "{request} {parameters:?} stays {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), text: body.to_owned() }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Fails only if the server has ended already.
        let _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
