//! How a client is described and started.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Source;
use crate::topic::EmptyPolicy;
use crate::transport::Transport;
#[cfg(feature = "tls")]
use naming_http::Tls;

mod start;

/// More servers than any cluster has; a list that is longer is a mistake.
pub(crate) const MAX_SERVERS: usize = 256;

/// How far above the port of HTTP servers have gRPC.
const GRPC_PORT_OFFSET: u16 = 1_000;

/// Describes a [`NamingClient`](crate::NamingClient).
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    servers: Vec<String>,
    endpoint: Option<String>,
    namespace: String,
    credentials: Option<Source>,
    application: String,
    connect_timeout: Duration,
    request_timeout: Duration,
    call_timeout: Duration,
    cache_directory: Option<PathBuf>,
    empty_policy: EmptyPolicy,
    push: bool,
    push_port: u16,
    push_bind: Option<IpAddr>,
    push_address: Option<IpAddr>,
    lazy: bool,
    warm: bool,
    transport: Transport,
    grpc_port_offset: u16,
    #[cfg(feature = "tls")]
    tls: Tls,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            endpoint: None,
            namespace: String::new(),
            credentials: None,
            application: "unknown".to_owned(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            cache_directory: None,
            empty_policy: EmptyPolicy::default(),
            push: true,
            push_port: 0,
            push_bind: None,
            push_address: None,
            lazy: false,
            warm: false,
            transport: Transport::default(),
            grpc_port_offset: GRPC_PORT_OFFSET,
            #[cfg(feature = "tls")]
            tls: Tls::default(),
        }
    }
}

impl ClientBuilder {
    /// Adds a server: `host`, `host:port`, `[v6]:port` or `http://host:port/context`. The port is
    /// 8848 and the context `/nacos` unless named.
    pub fn server(mut self, address: impl ToString) -> Self {
        self.servers.push(address.to_string());
        self
    }

    /// Which protocol to speak. Default [`Transport::Auto`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// How far above the port of a server its gRPC is. Default 1,000. 0 for servers that take both
    /// on one port.
    pub fn grpc_port_offset(mut self, offset: u16) -> Self {
        self.grpc_port_offset = offset;
        self
    }

    /// Certificates for servers whose address begins with `https://`, over both protocols.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Adds several servers. A text with commas counts as several, so that the value of an
    /// environment variable can be given as it is.
    pub fn servers<A: ToString>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.servers.extend(addresses.into_iter().map(|address| address.to_string()));
        self
    }

    /// Asks `host:port`, or `http://host:port/path` (default path `/nacos/serverlist`), for the
    /// addresses of the servers, one a line, now and every 30 s.
    pub fn address_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The namespace's id. Default `public`.
    pub fn namespace(mut self, id: impl Into<String>) -> Self {
        self.namespace = id.into();
        self
    }

    /// User and password for servers that want a log-in.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Source::Fixed(user.into(), password.into()));
        self
    }

    /// A file with the user in its first line and the password in its second. It is read for each
    /// log-in, so that it may be replaced while the client runs.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(Source::File(path.into()));
        self
    }

    /// A function that gives user and password; it is called for each log-in, on a thread that may
    /// block. If it fails the call that needs the log-in fails with [`Error::Setting`](crate::Error::Setting).
    pub fn credentials_from(
        mut self,
        ask: impl Fn() -> io::Result<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        self.credentials = Some(Source::Asked(Arc::new(ask)));
        self
    }

    /// Name of this application, which servers show beside its subscriptions. Default `unknown`.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = name.into();
        self
    }

    /// Longest time for opening a connection. Default 1 s. Too short fails on far networks, too
    /// long delays the move to another server.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// Longest time for one attempt at one server. Default 3 s. Beats never take more than two
    /// fifths of their interval, so that there is time to ask another server.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// Longest time for one call with its attempts at all servers. Default 10 s.
    pub fn call_timeout(mut self, time: Duration) -> Self {
        self.call_timeout = time;
        self
    }

    /// Keeps the lists known last below this directory, for a start while no server answers.
    /// Default none. Several processes may share it.
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_directory = Some(directory.into());
        self
    }

    /// What to do when a service that had instances seems to have none. Default: believe it when
    /// it has stayed so for 6 s.
    pub fn empty_policy(mut self, policy: EmptyPolicy) -> Self {
        self.empty_policy = policy;
        self
    }

    /// Whether to ask for UDP pushes. Default true. Where packets cannot reach this process,
    /// polling finds changes too, only later: after 10 s at most with pushes asked for in vain,
    /// after 3 s without.
    pub fn push(mut self, enabled: bool) -> Self {
        self.push = enabled;
        self
    }

    /// Port for pushes. Default 0, any free one.
    pub fn push_port(mut self, port: u16) -> Self {
        self.push_port = port;
        self
    }

    /// Local address to receive pushes at. Default all.
    pub fn push_bind(mut self, address: IpAddr) -> Self {
        self.push_bind = Some(address);
        self
    }

    /// Address the servers should send pushes to. Default the local address towards the server;
    /// to be set where that is translated on the way and a port is forwarded.
    pub fn push_address(mut self, address: IpAddr) -> Self {
        self.push_address = Some(address);
        self
    }

    /// Lets subscriptions begin with the list on disk, if there is one with instances, and ask the
    /// servers afterwards: the application waits for no server. Default false. The list is marked
    /// as stale until a server has answered. Needs a [cache
    /// directory](ClientBuilder::cache_directory).
    pub fn warm_start(mut self) -> Self {
        self.warm = true;
        self
    }

    /// Lets [`ClientBuilder::build`] succeed while no server answers.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }
}
