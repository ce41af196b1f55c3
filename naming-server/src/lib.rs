//! A Nacos-compatible service registry.
//!
//! The program is a thin shell around this library, which exists so that tests can build a
//! [`Server`] in process.

#![warn(missing_docs)]

mod app;

mod audit;
mod auth;
pub use auth::NewUser;

mod config;
mod effects;
pub use config::{
    Arguments, AuditConfig, AuthConfig, ClusterConfig, Command, Config, EmptyServiceConfig,
    EventsConfig, HealthConfig, Hidden, HttpConfig, LogConfig, LogFormat, PushConfig,
    RegistryConfig, StoreConfig,
};

mod http;

mod logging;
pub use logging::finish as finish_logging;
pub use logging::start as start_logging;

mod membership;

mod metrics;

mod push;

mod registry;

mod server;
pub use server::Server;

#[cfg(test)]
mod simulation;
