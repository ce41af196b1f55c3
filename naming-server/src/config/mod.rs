//! Settings: the only place that knows the names of keys, flags and variables.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checks::Reach;
use crate::durable::is_durable;
use crate::http::HttpSettings;
use crate::networks::{Networks, bare};
use crate::push::PushSettings;
use crate::registry::{RegistrySettings, UpkeepSettings};

mod advertise;

mod arguments;
pub use arguments::{Arguments, Command, UserAddArguments, UserCommand};

mod audit;
pub use audit::AuditConfig;

mod auth;
pub use auth::{AuthConfig, Hidden};

mod check;

mod console;
pub use console::ConsoleConfig;

mod cluster;
pub(crate) use cluster::list as list_members;
pub use cluster::{ClusterConfig, Dialect};

mod data;
pub use data::{Acks, DataConfig, DurableConfig};

mod dns;
pub use dns::DnsConfig;

mod grpc;
pub use grpc::GrpcConfig;
mod identity;

mod http;
pub use http::HttpConfig;

mod live;
pub(crate) use live::Difference;

mod load;

mod limits;
pub use limits::LimitsConfig;

mod java2;
pub use java2::Java2Config;

mod nacos;
pub use nacos::NacosConfig;

mod official;
mod official_auth;
mod official_tls;

mod push;
pub use push::PushConfig;

mod registry;
pub use registry::RegistryConfig;

mod tls;
pub use tls::{ClientAuth, MemberTlsConfig, TlsConfig, TlsMode};
mod variables;

/// All settings of a server.
///
/// Every field has a default; [`Config::default`] is a server on port 8848 of all interfaces that
/// keeps everything in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: IPv4, IPv6 with or without brackets, or a host name. Default
    /// `0.0.0.0`, all IPv4 interfaces; `::` is all interfaces of both kinds.
    pub bind: String,
    /// TCP port; 0 takes any free one. Default 8848, which clients assume.
    pub port: u16,
    /// Address under which clients and other members reach this server, `host` or `host:port`: shown
    /// as that of this member, never listened on. Default empty: the bound address, or if that is
    /// all interfaces, the one from which this machine would reach others. Set it behind address
    /// translation, and in a cluster write it as the others do.
    pub advertise: String,
    /// Prefix of the API's paths. Default `/nacos`, which clients assume; `/` or empty for none.
    pub context_path: String,
    /// Connections and requests.
    pub http: HttpConfig,
    /// The front of Nacos clients of 2.x and 3.x.
    pub grpc: GrpcConfig,
    /// TLS on the ports of clients and consoles.
    pub tls: TlsConfig,
    /// What is kept of services and instances.
    pub registry: RegistryConfig,
    /// Judging instances by their beats.
    pub health: HealthConfig,
    /// The record store.
    pub store: StoreConfig,
    /// Removal of services without instances.
    pub empty_service: EmptyServiceConfig,
    /// UDP notices to subscribers.
    pub push: PushConfig,
    /// The record of why instances came and went.
    pub events: EventsConfig,
    /// Membership of a cluster.
    pub cluster: ClusterConfig,
    /// Where durable data is.
    pub data: DataConfig,
    /// Changes of durable data.
    pub durable: DurableConfig,
    /// The record of administrative writes.
    pub audit: AuditConfig,
    /// Users, passwords and tokens.
    pub auth: AuthConfig,
    /// The port for consoles.
    pub console: ConsoleConfig,
    /// How often one address may call.
    pub limits: LimitsConfig,
    /// DNS, for clients that know nothing else.
    pub dns: DnsConfig,
    /// Logging.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: "0.0.0.0".to_owned(),
            port: 8848,
            advertise: String::new(),
            context_path: "/nacos".to_owned(),
            http: HttpConfig::default(),
            grpc: GrpcConfig::default(),
            tls: TlsConfig::default(),
            registry: RegistryConfig::default(),
            health: HealthConfig::default(),
            store: StoreConfig::default(),
            empty_service: EmptyServiceConfig::default(),
            push: PushConfig::default(),
            events: EventsConfig::default(),
            cluster: ClusterConfig::default(),
            data: DataConfig::default(),
            durable: DurableConfig::default(),
            audit: AuditConfig::default(),
            auth: AuthConfig::default(),
            console: ConsoleConfig::default(),
            limits: LimitsConfig::default(),
            dns: DnsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// What the HTTP front needs to know.
    pub(crate) fn http_settings(&self) -> HttpSettings {
        let http = &self.http;
        HttpSettings {
            context_path: self.context_path.trim_end_matches('/').to_owned(),
            allowed_origins: http.allowed_origins.clone(),
            connections: Arc::new(self.http.connection_limits()),
            max_body_bytes: http.max_body_bytes,
            max_buffered_body_bytes: http.max_buffered_body_bytes,
            max_buffered_body_bytes_per_source: or_all(http.max_buffered_body_bytes_per_source),
            max_header_bytes: http.max_header_bytes,
            max_buffered_header_bytes: http.max_buffered_header_bytes,
            header_timeout: Duration::from_millis(http.header_timeout_ms),
            body_timeout: Duration::from_millis(http.body_timeout_ms),
            idle_timeout: Duration::from_millis(http.idle_timeout_ms),
            drain_timeout: Duration::from_millis(http.drain_timeout_ms),
        }
    }

    /// The same of the console port, where there is no context path.
    pub(crate) fn console_http_settings(&self) -> HttpSettings {
        HttpSettings { context_path: String::new(), ..self.http_settings() }
    }

    /// How long the removal of what is not durable is remembered.
    fn tombstone_retention_ms(&self) -> u64 {
        match self.cluster.is_enabled() {
            true => self.cluster.tombstone_retention_ms,
            false => self.store.tombstone_retention_ms,
        }
    }

    /// The rules and limits of the registry.
    pub(crate) fn registry_settings(&self, hash_seed: u64) -> RegistrySettings {
        RegistrySettings {
            limits: Arc::new(self.registry.limits()),
            max_metadata_bytes: self.registry.max_metadata_bytes,
            rendered_bytes: self.registry.rendered_bytes,
            protect_at_zero: self.registry.protect_at_zero,
            keep_operator_values: self.registry.keep_operator_values,
            empty_protection_seconds: self.registry.empty_protection_seconds,
            event_capacity: self.events.capacity,
            is_member: self.cluster.is_enabled(),
            store: distro_core::StoreConfig {
                tombstone_retention: Duration::from_millis(self.tombstone_retention_ms()),
                // What need not be kept goes at half of it, so that the rest has room.
                tombstone_bytes: self.store.tombstone_bytes / 2,
                keeps_empty: !self.empty_service.auto_clean,
                is_durable,
                durable_retention: self.durable.retention(),
                compensation_window: Duration::from_millis(self.health.compensation_window_ms),
                hash_seed,
                owner_policy: match self.cluster.speaks_nacos() {
                    true => distro_core::OwnerPolicy::Tags(crate::nacos::owner_number),
                    false => distro_core::OwnerPolicy::Slots,
                },
                ..distro_core::StoreConfig::default()
            },
        }
    }

    /// The rules of the protocol.
    pub(crate) fn distro_config(&self) -> distro_core::DistroConfig {
        self.cluster.apply(distro_core::DistroConfig {
            pause_threshold: Duration::from_millis(self.health.pause_threshold_ms),
            expire: self.health.expire_instances,
            ..distro_core::DistroConfig::default()
        })
    }

    /// What can be set about pushing.
    pub(crate) fn push_settings(&self) -> PushSettings {
        let push = &self.push;
        PushSettings {
            debounce: Duration::from_millis(push.debounce_ms),
            ack_timeout: Duration::from_millis(push.ack_timeout_ms),
            lifetime_margin: Duration::from_millis(push.lifetime_margin_ms),
            max_subscribers: push.max_subscribers,
            max_subscribers_per_service: push.max_subscribers_per_service,
            max_subscriber_bytes: push.max_subscriber_bytes,
            max_packet_bytes: push.max_packet_bytes,
            max_go_packet_bytes: push.max_go_packet_bytes,
            park_after_misses: push.park_after_misses,
            client_networks: push.client_networks.clone(),
            max_bytes_per_second: push.max_bytes_per_second,
            max_subscribers_per_address: push.max_subscribers_per_address,
            ..PushSettings::default()
        }
    }

    /// Where health checks may connect to.
    pub(crate) fn check_reach(&self) -> Reach {
        let bound = bare(self.bind.trim()).parse::<std::net::IpAddr>();
        let is_local = bound.is_ok_and(|bound| bound.to_canonical().is_loopback());
        Reach::new(self.health.check_networks.clone(), is_local)
    }

    /// How empty services are cleaned up.
    pub(crate) fn upkeep_settings(&self) -> UpkeepSettings {
        UpkeepSettings {
            auto_clean: self.empty_service.auto_clean,
            initial_delay: Duration::from_millis(self.empty_service.initial_delay_ms),
            period: Duration::from_millis(self.empty_service.period_ms),
        }
    }
}

/// The networks that nobody else can send from.
fn this_machine() -> Networks {
    "127.0.0.0/8,::1".parse().expect("these are networks")
}

/// 0 stands for no limit.
fn or_all(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// Judging instances by their beats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// Whether instances that sent no beat for long are removed. Default true; with false they
    /// stay unhealthy until somebody deregisters them.
    pub expire_instances: bool,
    /// Milliseconds the process must have stood still to count as paused: it then gives every
    /// instance a full time-out before it judges again. Default 3,000. Too small forgives the
    /// dead at every hiccup, too large condemns the living after a pause.
    pub pause_threshold_ms: u64,
    /// Milliseconds after a deregistration in which a late beat does not register the instance
    /// again. Default 10,000; 0 lets any beat do it.
    pub compensation_window_ms: u64,
    /// Networks that checks of persistent instances may connect to, `10.0.0.0/8,fd00::/8`. Default
    /// empty: every address but those of loopback and of the link; loopback too if `bind` is a
    /// loopback address. Instances elsewhere are kept, unchecked, with the health they have.
    pub check_networks: Networks,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            expire_instances: true,
            pause_threshold_ms: 3_000,
            compensation_window_ms: 10_000,
            check_networks: Networks::default(),
        }
    }
}

/// The record store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Milliseconds for which removed instances are remembered. Default 60,000. Not below
    /// `health.compensation_window_ms`; large values cost memory where instances come and go.
    pub tombstone_retention_ms: u64,
    /// Bytes that the memory of removed instances, and services that are left without instances, may
    /// take, alone and in a cluster. Default 256 MiB. At half of it the removals of busy services are
    /// forgotten after the compensation window, and empty services are cleaned up at once; at all of
    /// it new instances are refused.
    pub tombstone_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { tombstone_retention_ms: 60_000, tombstone_bytes: 256 << 20 }
    }
}

/// Removal of services without instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmptyServiceConfig {
    /// Whether services without instances are removed at all. Default true.
    pub auto_clean: bool,
    /// Milliseconds from the start to the first look. Default 50,000.
    pub initial_delay_ms: u64,
    /// Milliseconds between two looks. Default 30,000.
    pub period_ms: u64,
}

impl Default for EmptyServiceConfig {
    fn default() -> Self {
        Self { auto_clean: true, initial_delay_ms: 50_000, period_ms: 30_000 }
    }
}

/// The record of why instances came and went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Events kept; the oldest go first. Default 16,384.
    pub capacity: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { capacity: 16_384 }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, for single modules as `module=level`,
    /// several with commas between. Default `info`, which says nothing about single requests.
    pub level: String,
    /// Form of the lines. Default `text`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
