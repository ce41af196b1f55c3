//! Starting a client as it was described.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{ClientBuilder, MAX_SERVERS};
use crate::address::Address;
use crate::auth::Auth;
use crate::beat::{self, Beats};
use crate::cache::{self, Cache};
use crate::call::{Core, PushTarget};
use crate::client::{Inner, NamingClient};
use crate::counters::Counters;
use crate::error::{Attempt, Error};
use crate::http::Http;
use crate::names::Namespace;
use crate::poll::{self, Topics};
use crate::servers::Servers;
#[cfg(feature = "grpc")]
use crate::transport::Transport;
use crate::{contact, endpoint, push};

impl ClientBuilder {
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
        #[cfg(feature = "grpc")]
        let own = addresses.clone();
        let core = Arc::new(self.core(addresses)?);
        self.find_servers(&core, endpoint.as_ref()).await?;
        let cache = self.open_cache(&core.namespace)?;
        let (socket, target) = self.open_push()?;
        let (stop, stopped) = watch::channel(false);
        let beats = Arc::new(Beats::default());
        let topics = Topics::new(self.empty_policy, (self.push, target), cache.clone(), self.warm);
        let topics = Arc::new(topics);
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        #[cfg(feature = "grpc")]
        if let Some(link) = &core.link {
            let context = crate::grpc::Context {
                link: link.clone(),
                core: core.clone(),
                beats: beats.clone(),
                topics: topics.clone(),
                http: self.http(&own)?,
                #[cfg(feature = "tls")]
                tls: self.certificates_of_grpc(&own)?,
                port_offset: self.grpc_port_offset,
                connect_timeout: self.connect_timeout,
            };
            let started = crate::grpc::start(context, &runtime, stopped.clone());
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

    #[cfg(not(feature = "tls"))]
    fn http(&self, _: &[Address]) -> Result<Http, Error> {
        Ok(Http::new(self.connect_timeout))
    }

    #[cfg(feature = "tls")]
    fn http(&self, addresses: &[Address]) -> Result<Http, Error> {
        Ok(Http::new(self.connect_timeout, self.certificates(addresses)?))
    }

    /// The certificates, if any server is spoken to over TLS: the authorities of the system are
    /// many, and not read for nothing.
    #[cfg(feature = "tls")]
    fn certificates(&self, addresses: &[Address]) -> Result<Option<rustls::ClientConfig>, Error> {
        let is_needed = self.endpoint.is_some() || addresses.iter().any(Address::is_tls);
        let config = is_needed.then(|| self.tls.load()).transpose();
        config.map_err(|error| setting("tls", error))
    }

    /// The same for connections of gRPC.
    #[cfg(all(feature = "grpc", feature = "tls"))]
    fn certificates_of_grpc(
        &self,
        addresses: &[Address],
    ) -> Result<Option<Arc<rustls::ClientConfig>>, Error> {
        let config = self.certificates(addresses)?;
        Ok(config.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        }))
    }

    #[cfg(feature = "grpc")]
    fn link(&self) -> Option<Arc<crate::grpc::Link>> {
        let speaks_grpc = self.transport != Transport::Http;
        speaks_grpc.then(|| Arc::new(crate::grpc::Link::new(self.transport)))
    }

    fn core(&self, addresses: Vec<Address>) -> Result<Core, Error> {
        Ok(Core {
            http: self.http(&addresses)?,
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
