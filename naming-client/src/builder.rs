//! How a client is described and started.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::Address;
use crate::auth::{Auth, Source};
use crate::beat::{self, Beats};
use crate::cache::{self, Cache};
use crate::call::{Core, PushTarget};
use crate::client::{Inner, NamingClient};
use crate::contact;
use crate::counters::Counters;
use crate::endpoint;
use crate::error::{Attempt, Error};
use crate::http::Http;
use crate::names::Namespace;
use crate::poll::{self, Topics};
use crate::push;
use crate::servers::Servers;
use crate::topic::EmptyPolicy;
use crate::transport::Transport;

/// More servers than any cluster has; a list that is longer is a mistake.
pub(crate) const MAX_SERVERS: usize = 256;

/// How far above the port of HTTP servers have gRPC.
const GRPC_PORT_OFFSET: u16 = 1_000;

/// Describes a [`NamingClient`].
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
    transport: Transport,
    grpc_port_offset: u16,
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
            transport: Transport::default(),
            grpc_port_offset: GRPC_PORT_OFFSET,
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
    /// block. If it fails the call that needs the log-in fails with [`Error::Setting`].
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

    /// Lets [`ClientBuilder::build`] succeed while no server answers.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Starts the client: at least one server must answer, and take the credentials if there are
    /// any. Has to be called within a tokio runtime with time and IO; background tasks run there.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Name`] for values that cannot work,
    /// [`Error::NoServer`] with each address tried and why it failed, [`Error::Credentials`].
    pub async fn build(self) -> Result<NamingClient, Error> {
        let runtime = Handle::try_current().map_err(|e| setting("runtime", e))?;
        let addresses = self.parse_servers()?;
        let endpoint = self.endpoint.as_deref().map(endpoint::parse).transpose()?;
        if addresses.is_empty() && endpoint.is_none() {
            return Err(setting("servers", "neither a server nor an address endpoint is given"));
        }
        self.check_times()?;
        let core = Arc::new(self.core(addresses)?);
        self.find_servers(&core, endpoint.as_ref()).await?;
        let cache = self.open_cache(&core.namespace)?;
        let (socket, target) = self.open_push()?;
        let (stop, stopped) = watch::channel(false);
        let beats = Arc::new(Beats::default());
        let topics = Topics::new(self.empty_policy, (self.push, target), cache.clone());
        let topics = Arc::new(topics);
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        #[cfg(feature = "grpc")]
        if let Some(link) = &core.link {
            let setup = crate::grpc::Setup {
                link: link.clone(),
                core: core.clone(),
                beats: beats.clone(),
                topics: topics.clone(),
                http: self.http(),
                port_offset: self.grpc_port_offset,
                connect_timeout: self.connect_timeout,
            };
            let started = crate::grpc::start(setup, &runtime, stopped.clone());
            tasks.push(started.map_err(|e| setting("thread", e))?);
        }
        self.first_contact(&core).await?;
        tasks.extend([
            runtime.spawn(beat::run(core.clone(), beats.clone(), stopped.clone())),
            runtime.spawn(poll::run(core.clone(), topics.clone(), stopped.clone())),
        ]);
        if let Some(socket) = socket {
            let receiver = push::run(core.clone(), topics.clone(), socket, stopped.clone());
            tasks.push(runtime.spawn(receiver));
        }
        if let Some(cache) = cache {
            tasks.push(runtime.spawn(cache::run(cache, stopped.clone())));
        }
        if let Some(endpoint) = endpoint {
            tasks.push(runtime.spawn(endpoint::follow(core.clone(), endpoint, stopped)));
        }
        let (tasks, closed) = (Mutex::new(tasks), AtomicBool::new(false));
        let inner = Inner { core, beats, topics, runtime, stop, tasks, closed };
        Ok(NamingClient { inner: Arc::new(inner) })
    }

    fn parse_servers(&self) -> Result<Vec<Address>, Error> {
        let texts = self.servers.iter().flat_map(|text| text.split(','));
        let addresses: Vec<Address> = texts.map(str::parse).collect::<Result<_, _>>()?;
        if addresses.len() > MAX_SERVERS {
            return Err(setting("servers", format!("more than {MAX_SERVERS}")));
        }
        Ok(addresses)
    }

    fn check_times(&self) -> Result<(), Error> {
        let times = [
            ("connect time-out", self.connect_timeout),
            ("request time-out", self.request_timeout),
            ("call time-out", self.call_timeout),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((name, _)) => Err(setting(name, "has to be above zero")),
            None => Ok(()),
        }
    }

    fn http(&self) -> Http {
        Http::new(self.connect_timeout)
    }

    #[cfg(feature = "grpc")]
    fn link(&self) -> Option<Arc<crate::grpc::Link>> {
        let speaks_grpc = self.transport != Transport::Http;
        speaks_grpc.then(|| Arc::new(crate::grpc::Link::new(self.transport)))
    }

    fn core(&self, addresses: Vec<Address>) -> Result<Core, Error> {
        Ok(Core {
            http: self.http(),
            servers: Servers::new(addresses),
            auth: self.credentials.clone().map(Auth::new),
            namespace: Namespace::new(&self.namespace)?,
            application: self.application.clone(),
            counters: Counters::default(),
            #[cfg(feature = "grpc")]
            link: self.link(),
            request_timeout: self.request_timeout,
            call_timeout: self.call_timeout,
        })
    }

    /// Asks the address endpoint for the servers, if there is one.
    async fn find_servers(&self, core: &Core, endpoint: Option<&Address>) -> Result<(), Error> {
        let Some(endpoint) = endpoint else { return Ok(()) };
        let read = endpoint::read(core, endpoint).await.map_err(|failure| {
            let server = format!("address endpoint {}", endpoint.authority());
            Error::NoServer { attempts: vec![Attempt { server, failure }] }
        });
        self.unless_lazy(read.map(|addresses| core.servers.replace(addresses)))
    }

    async fn first_contact(&self, core: &Arc<Core>) -> Result<(), Error> {
        let outcome = async {
            let server = contact::first_server(core).await?;
            contact::log_in(core, &server).await
        };
        self.unless_lazy(outcome.await)
    }

    fn unless_lazy(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error @ Error::NoServer { .. }) if self.lazy => {
                tracing::warn!(%error, "starting without a server");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn open_cache(&self, namespace: &Namespace) -> Result<Option<Cache>, Error> {
        let Some(directory) = &self.cache_directory else { return Ok(None) };
        let opened = Cache::open(directory, namespace);
        opened.map(Some).map_err(|e| setting("cache directory", e))
    }

    fn open_push(&self) -> Result<(Option<UdpSocket>, Option<PushTarget>), Error> {
        if !self.push {
            return Ok((None, None));
        }
        let opened = push::bind(self.push_bind, self.push_port)
            .and_then(|socket| Ok((socket.local_addr()?.port(), socket)));
        match opened {
            Ok((port, socket)) => {
                let target = PushTarget { port, address: self.push_address.or(self.push_bind) };
                Ok((Some(socket), Some(target)))
            }
            Err(error) if self.push_port != 0 || self.push_bind.is_some() => {
                Err(setting("push address", error))
            }
            Err(error) => {
                tracing::warn!(%error, "no socket for pushes, relying on polling");
                Ok((None, None))
            }
        }
    }
}

fn setting(setting: &'static str, reason: impl ToString) -> Error {
    Error::Setting { setting, reason: reason.to_string() }
}
