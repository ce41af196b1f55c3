//! gRPC, as Nacos 2.x and 3.x speak it.
//!
//! One connection to one server carries everything: calls, the instances that the client holds
//! there, and what the server tells of itself. The connection lives on a thread of its own with a
//! runtime of its own, so that servers find the client alive while the application keeps its
//! threads busy. Calls are made on the threads of the application.

mod ask;
pub(crate) use ask::{Ask, ask, hold, let_go};

mod fuzzy;
pub(crate) use fuzzy::{request as fuzzy_request, wire_pattern};

mod hold;
mod link;
pub(crate) use link::{Link, Via};

mod messages;
pub(crate) use messages::{Request, read_list};

mod open;
mod session;
pub(crate) use session::{Problem, Session};

mod stream;
mod verify;
mod wire;
mod writes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::beat::Beats;
use crate::call::Core;
use crate::http::Http;
use crate::poll::Topics;

/// How the client calls itself.
const CLIENT_VERSION: &str = concat!("Nacos-Rust-Client:v", env!("CARGO_PKG_VERSION"));
const AGENT: &str = concat!("naming-client/", env!("CARGO_PKG_VERSION"));

/// What the thread of a client works with.
pub(crate) struct Context {
    pub(crate) link: Arc<Link>,
    pub(crate) core: Arc<Core>,
    pub(crate) beats: Arc<Beats>,
    pub(crate) topics: Arc<Topics>,
    /// Connections for log-ins and probes from this thread. Those of the application's runtime end
    /// with it.
    pub(crate) http: Http,
    #[cfg(feature = "tls")]
    /// None if no server is spoken to over TLS.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) port_offset: u16,
    pub(crate) connect_timeout: Duration,
}

/// Starts the thread of a client. It ends when the last handle goes, and when `runtime` ends: then
/// the application is over. The task that is given ends with the thread.
///
/// # Errors
/// The system has no thread for us.
pub(crate) fn start(
    context: Context,
    runtime: &Handle,
    mut stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let closing = link::Closing(context.link.clone());
    let (alive, mut application) = oneshot::channel::<()>();
    let (ended, end) = oneshot::channel::<()>();
    let own = Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        let context = Arc::new(context);
        let (_closing, _ended) = (closing, ended);
        own.block_on(async {
            tokio::select! {
                // The sender is dropped with the client's last handle.
                _ = stop.changed() => {}
                // Or with the runtime of the application.
                _ = &mut application => {}
                () = link::keep(&context) => {}
                () = writes::run(&context) => {}
                () = verify::run(&context) => {}
            }
        });
    };
    std::thread::Builder::new().name("naming-client".to_owned()).spawn(work)?;
    Ok(runtime.spawn(async move {
        let _alive = alive;
        // It ends by being dropped.
        let _ = end.await;
    }))
}
