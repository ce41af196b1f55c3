//! A client of Nacos-compatible service registries: applications register themselves and find
//! each other, through servers that may come and go.
//!
//! It speaks the naming protocols of Nacos: gRPC to servers of 2.x and 3.x, HTTP with UDP pushes to
//! those of 1.x, and both to servers of this project. It needs a tokio runtime with IO and time.
//! Minimum Rust version: 1.95.
//!
//! # Connecting
//!
//! ```no_run
//! use naming_client::NamingClient;
//!
//! # async fn example() -> Result<(), naming_client::Error> {
//! let client = NamingClient::builder()
//!     .servers(["10.0.0.1:8848", "10.0.0.2:8848", "10.0.0.3:8848"])
//!     .namespace("shop")
//!     .application("checkout")
//!     .build()
//!     .await?; // names each address tried and why it failed, if all did
//! # Ok(())
//! # }
//! ```
//!
//! [`NamingClient`] is cheap to clone and holds no global state. Everything it runs in the
//! background (a thread for the connection, one task for all beats, one for all polls, one for
//! pushes) ends when the last handle goes: the clones, the registrations and the subscriptions. [`NamingClient::shutdown`]
//! ends it in order, with everything deregistered.
//!
//! # Transport
//!
//! [`Transport::Auto`], the default, tries gRPC on the port of each server + 1,000
//! ([`ClientBuilder::grpc_port_offset`]). If no server has it and one answers over HTTP, it speaks
//! HTTP; from then on it tries gRPC every 15 s or so, and whenever a server comes back that was
//! gone. So servers may be brought from 1.x to 2.x under a running application. Where gRPC worked
//! before, HTTP is used only after 5 s without it: a server that starts may answer HTTP first.
//! What a server does not take over gRPC (501, or a request it does not know) goes over HTTP.
//!
//! Over gRPC one connection to one server carries everything, and holds the ephemeral instances:
//! they live as long as it does, and nothing beats. It lives on a thread of its own with a runtime
//! of its own. Questions of the server whether the client is alive, pushes and health checks (after
//! 5 s of silence) are therefore answered while the application keeps every thread of its runtime
//! busy. The thread ends with the application's runtime: instances do not outlive it.
//!
//! When the connection is lost, the client goes to the next server, at first at once, then with
//! pauses that grow to 5 s, none of them as long as another client's. There everything is written
//! again: all instances of a service in one request, 128 services at a time. A server that asks its
//! clients to go elsewhere is left at once; the old connection stays until the new one holds
//! everything. Every 8 s, less often where there are many, the lists of registered services are
//! read, and what the registry has lost is registered again.
//!
//! [`NamingClient::status`] tells what is spoken to whom, and what is pending.
//!
//! # Registering
//!
//! ```no_run
//! # async fn example(client: naming_client::NamingClient) -> Result<(), naming_client::Error> {
//! use naming_client::Instance;
//!
//! let instance = Instance::new("10.0.1.7", 8080).metadata("version", "1.4.0");
//! let registration = client.register("order-service", instance).await?;
//!
//! registration.update(|instance| instance.weight = 0.5).await?; // in place, no gap
//! registration.close().await?; // or drop it: deregisters in the background
//! # Ok(())
//! # }
//! ```
//!
//! A [`Registration`] is a guard. While it lives, the instance is kept alive by the connection, or
//! over HTTP by beats at the interval the registry asks for, and registered again whenever the
//! registry has forgotten it. [`NamingClient::register_all`] registers many at once; over gRPC those
//! of one service travel in one request.
//!
//! # Finding
//!
//! ```no_run
//! # async fn example(client: naming_client::NamingClient) -> Result<(), naming_client::Error> {
//! let mut orders = client.subscribe("order-service").await?;
//!
//! // On the path of a request: no wait, no server asked.
//! if let Some(instance) = orders.choose() {
//!     println!("calling http://{}/", instance.authority());
//! }
//!
//! // To follow what happens; a Subscription is a Stream, too.
//! while let Some(change) = orders.changed().await {
//!     println!("{} came, {} went", change.added.len(), change.removed.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Subscription::choose`] and [`NamingClient::select`] choose by weight among the instances
//! that are healthy and enabled. [`NamingClient::instances`] asks once. Names are parsed once,
//! into [`ServiceName`] (`group@@service`, or a bare service in `DEFAULT_GROUP`) and
//! [`ServiceQuery`] (with a choice of clusters); calls take these types or texts.
//!
//! [`NamingClient::watch_services`] follows which services there are, by a pattern of their names.
//!
//! How fresh a list is:
//!
//! - Over gRPC servers tell changes on the connection, and the client acknowledges them; a poll
//!   every 30 s makes up for what goes wrong all the same.
//! - Over HTTP servers push changes by UDP, usually within a second, this project's server within
//!   milliseconds. Where packets do not get through, polling finds changes after 10 s at the
//!   latest, or 3 s with [`ClientBuilder::push`] off.
//! - A push is taken at its word only from the address of a known server; one from elsewhere
//!   makes the client ask. Pushes that arrive out of order are sorted out for each server by
//!   itself, so that no server with a slow clock is ignored.
//! - An empty list after one with instances is believed only when it is confirmed
//!   ([`EmptyPolicy`]): a registry that was just restarted must not stop every caller.
//! - While no server answers, the list known last is kept, and with
//!   [`ClientBuilder::cache_directory`] survives a restart of the application; it is then
//!   [marked as stale](Instances::is_stale).
//!
//! A dead instance stays in the list until its beats have been missed for long enough (15 s to
//! be unhealthy, unless its metadata says otherwise), so callers must be ready to try another.
//!
//! # Servers
//!
//! Reads stay with one server, at first a random one, and move when it fails; beats are
//! spread over all servers. Each server that fails is asked last for a while that grows with each
//! failure, but none is ever left out: a call fails only when every server has failed, within
//! [`ClientBuilder::call_timeout`]. The death of one server costs no beat.
//!
//! # Choosing
//!
//! [`Chooser`] adds what only the caller knows: it prefers instances near by, spills over when too
//! few of them are usable, and leaves those alone that failed lately. [`Registration::disable`] and
//! [`Registration::leave`] close an instance for calls before it goes.
//!
//! # Errors
//!
//! Calls fail with [`Error`], which tells names and values that can never work from servers that
//! cannot be reached, lists each attempt of the latter, and says by
//! [`Error::may_have_had_effect`] whether the registry may have changed all the same.
//!
//! # How servers see it
//!
//! Over HTTP Nacos gives pushes and grouped host names only to agents it knows by prefix. The client calls
//! itself `Nacos-Java-Client:v1.4.8-naming-client/VERSION`: servers read the prefix and the first
//! three parts of the version, people and logs read the rest.
//!
//! # Features
//!
//! `grpc` is on by default. Without default features the client speaks HTTP alone, and neither h2 nor
//! prost is among its dependencies. It depends on 64 crates in all, on 51 without `grpc`, on 77 with
//! `tls`.
//!
//! - `tls`: servers whose address begins with `https`, with certificate authorities and
//!   certificates of one's own.
//! - `metrics`: counters through the crate `metrics`: `naming_client_calls_total` by `transport`
//!   and `outcome`, `naming_client_pushes_total`, `naming_client_connections_lost_total`.
//! - `tower`: `tower::ServiceDiscover` makes a balancer or a gRPC
//!   channel follow the registry, `tower::ServiceResolver` turns `http://order-service/path` into
//!   a chosen instance around any HTTP client that is a tower service.
//! - `cli`: the program `naming`, to look into a registry and register things by hand.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(feature = "grpc"),
    allow(dead_code, unused_mut, reason = "HTTP alone leaves what a connection needs unused")
)]

mod address;
mod auth;
mod beat;
mod builder;
pub use builder::ClientBuilder;

mod cache;
mod call;
mod chooser;
mod client;
pub use chooser::{Chooser, OutlierPolicy};

mod contact;
mod counters;
pub use client::{ClientLoad, NamingClient};

#[cfg(feature = "tower")]
mod discover;

/// The registry for tower (feature `tower`).
#[cfg(feature = "tower")]
pub mod tower {
    pub use crate::discover::{ResolvedError, ResolvedService, ServiceDiscover, ServiceResolver};
}

mod endpoint;
mod error;
pub use error::{Attempt, Error, Failure};

mod fetch;

#[cfg(feature = "grpc")]
mod grpc;

mod http;
mod instances;
pub use instances::{Change, Instances};

mod generations;
mod operator;
pub use operator::{ClusterMember, InstanceSettings, NamespaceEntry, Operator, RegistryClient};

mod names;
pub use names::{Namespace, ServiceName, ServiceQuery};

mod pattern;
pub use pattern::ServicePattern;

mod poll;
mod push;
mod registration;
pub use registration::{Registration, RegistrationStatus};

mod schedule;
mod servers;
mod services;
pub use services::{ServiceSettings, Services};

mod status;
pub use status::{ClientStatus, ServerStatus};

mod subscribe;
pub use subscribe::Subscription;

#[cfg(feature = "tls")]
pub use naming_http::Tls;

mod topic;
pub use topic::EmptyPolicy;

mod transport;
pub use transport::Transport;

mod watch;
pub use watch::{ServiceWatch, ServicesChange};

mod write;

pub use naming_model::{
    ClusterDetail, Instance, InstanceError, InstanceEvent, InstanceKey, NameError, Selector,
    ServiceDetail, ServicePage,
};
