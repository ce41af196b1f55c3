//! Members of earlier releases.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use distro_core::{Now, Phase, Tick};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::io::DuplexStream;

use super::*;
use crate::auth::{Hello, Secret, Sessions, Welcome};
use crate::codec::{BadValue, Limits, MINOR, ValueCodec};
use crate::connect::{Connecting, Io};
use crate::service::HELLO_PATH;

struct Texts;

impl ValueCodec<String> for Texts {
    fn encode(&self, value: &String, target: &mut Vec<u8>) {
        target.extend_from_slice(value.as_bytes());
    }
    fn decode(&self, source: &[u8]) -> Result<String, BadValue> {
        String::from_utf8(source.into()).map_err(|error| BadValue(error.to_string()))
    }
}

fn address(port: u16) -> Address {
    format!("10.0.0.1:{port}").parse().unwrap()
}

fn identity(port: u16) -> Identity {
    let secret = Secret::new(b"the secret of this test, which is long enough").unwrap();
    Identity { cluster: "one".into(), member: address(port).member(), incarnation: 1, secret }
}

/// A member that speaks this minor version, and counts what it is sent after the greeting.
struct Old {
    minor: u32,
    calls: AtomicUsize,
    connections: AtomicUsize,
}

struct To(Arc<Old>);

impl Connector for To {
    fn connect<'a>(&'a self, _: &'a str) -> Connecting<'a> {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(Arc::clone(&self.0).serve(theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Io>) })
    }
}

impl Old {
    async fn serve(self: Arc<Self>, stream: DuplexStream) {
        let respond = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let is_hello = request.uri().path() == HELLO_PATH;
            let old = &self;
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = match is_hello {
                    true => old.welcome(&body),
                    false => {
                        old.calls.fetch_add(1, Ordering::Relaxed);
                        Vec::new()
                    }
                };
                Ok::<_, Infallible>(hyper::Response::new(Full::<Bytes>::from(body)))
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        // How it ends is up to the other side.
        let _ = http.serve_connection(TokioIo::new(stream), respond).await;
    }

    fn welcome(&self, sealed: &Bytes) -> Vec<u8> {
        let (identity, now) = (identity(2), Now { tick: Tick::ZERO, wall_ms: 1 });
        let (_, hello) = Hello::open(sealed, &identity).unwrap();
        let (welcome, _) = Sessions::default().begin(sealed, &identity, now).unwrap();
        let (welcome, _) = Welcome::open(&welcome.into(), &identity.secret, &hello).unwrap();
        let welcome = Welcome { minor: self.minor, ..welcome };
        Welcome::seal(&identity.secret, &hello, &welcome.encode_to_vec())
    }
}

async fn ask(minor: u32, requests: &[Request<String>]) -> (Vec<Outcome<String>>, Arc<Old>) {
    let (calls, connections) = Default::default();
    let old = Arc::new(Old { minor, calls, connections });
    let codec = Codec::new(Arc::new(Texts), Limits::default());
    let (to, clock) = (Arc::new(To(Arc::clone(&old))), Clock::of_runtime());
    let peers = Peers::new(identity(1), codec, to, clock, PeersConfig::default());
    peers.set_members(&[address(2)]);
    let mut outcomes = Vec::new();
    for request in requests {
        let outcome = peers.call(address(2).member(), request, Duration::from_secs(5)).await;
        outcomes.push(outcome);
    }
    (outcomes, old)
}

#[tokio::test]
async fn a_member_of_an_earlier_release_is_not_sent_what_it_does_not_understand() {
    let holds = [Request::Persist(Vec::new()), Request::Persist(Vec::new())];
    let (outcomes, old) = ask(2, &holds).await;
    assert!(matches!(outcomes[..], [Outcome::NotTaken, Outcome::NotTaken]), "{outcomes:?}");
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    assert_eq!((count(&old.calls), count(&old.connections)), (0, 1));
    // What it does understand, it is sent over the same connection; here it answers nonsense.
    let (outcomes, old) =
        ask(2, &[Request::Persist(Vec::new()), Request::Probe { phase: Phase::Up }]).await;
    assert!(matches!(outcomes[..], [Outcome::NotTaken, Outcome::NoAnswer]), "{outcomes:?}");
    assert_eq!((count(&old.calls), count(&old.connections)), (1, 1));
    let (_, current) = ask(MINOR, &holds[..1]).await;
    assert_eq!(count(&current.calls), 1);
}
