//! A Nacos-compatible service registry.
//!
//! The program is a thin shell around this library, which exists so that tests can build a
//! [`Server`] in process.

#![warn(missing_docs)]

mod app;

mod audit;
mod auth;
pub use auth::NewUser;

mod backup;
pub use backup::{
    ExportArguments, PlaceArguments, RestoreArguments, RestoreReport, export, restore,
};

mod checks;

mod config;
mod effects;
pub use config::{
    Acks, Arguments, AuditConfig, AuthConfig, ClientAuth, ClusterConfig, Command, Config,
    ConsoleConfig, DataConfig, Dialect, DnsConfig, DurableConfig, EmptyServiceConfig, EventsConfig,
    GrpcConfig, HealthConfig, Hidden, HttpConfig, Java2Config, LimitsConfig, LogConfig, LogFormat,
    MemberTlsConfig, NacosConfig, PushConfig, RegistryConfig, StoreConfig, TlsConfig, TlsMode,
    UserAddArguments, UserCommand,
};

mod dns;

mod durable;

mod grpc;

mod http;
pub use http::{AllowedOrigins, NotOrigins};

mod import;
pub use import::{Import, ImportArguments, ImportError, ImportReport, SourceApi};

mod java2;
mod java_owners;

mod live;

mod logging;
pub use logging::finish as finish_logging;
pub use logging::start as start_logging;

mod member_port;
mod membership;

mod metrics;

mod migrate;
pub use migrate::{
    CheckArguments, CheckReport, MigrateCommand, MigrationCheck, MigrationPlan, MigrationStatus,
    PlanArguments, PlanReport, StatusArguments, StatusReport,
};

mod nacos;

mod naming;

mod networks;
pub use networks::{Networks, NotNetworks};

mod offline;
pub use offline::{add_user, check_config};

mod online;
pub use online::RemoteAdministrator;

mod pace;
mod password;
pub use password::Password;

mod probe;
pub use probe::Probe;

mod progress;

mod push;

mod registry;
mod secret_watch;

mod remote;
pub use remote::Place;

mod server;
pub use server::Server;

mod source_rates;

mod supervision;
pub use supervision::say_stopping;

mod text;

mod tls;
mod undone;

#[cfg(test)]
mod simulation;
