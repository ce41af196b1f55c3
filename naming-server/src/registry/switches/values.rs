//! What the switches are set to.

use std::collections::BTreeMap;

use super::versions::PushVersions;

/// Whether this node takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerStatus {
    /// Not ready yet.
    Starting,
    /// Takes everything.
    Up,
    /// Takes nothing.
    Down,
    /// Takes nothing for the moment.
    Paused,
    /// Takes everything but GET.
    WriteOnly,
    /// Takes GET alone.
    ReadOnly,
}

impl ServerStatus {
    /// All statuses.
    pub(crate) const ALL: [Self; 6] =
        [Self::Starting, Self::Up, Self::Down, Self::Paused, Self::WriteOnly, Self::ReadOnly];

    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Paused => "PAUSED",
            Self::WriteOnly => "WRITE_ONLY",
            Self::ReadOnly => "READ_ONLY",
        }
    }

    /// Whether clients are held back altogether.
    pub(crate) fn takes_nothing(self) -> bool {
        matches!(self, Self::Starting | Self::Down | Self::Paused)
    }

    /// The status of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Pace of one kind of health check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CheckPace {
    /// Longest time between two checks, in milliseconds.
    pub(crate) max_ms: u64,
    /// Shortest time between two checks, in milliseconds.
    pub(crate) min_ms: u64,
    /// How fast the time follows what was measured, from 0 to 1.
    pub(crate) factor: f32,
}

/// The values of all switches, with the defaults of Nacos 1.4.8. Those without an effect are
/// kept to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SwitchValues {
    pub(crate) masters: Option<Vec<String>>,
    pub(crate) address_weights: BTreeMap<String, i32>,
    pub(crate) push_cache_ms: u64,
    pub(crate) client_beat_interval_ms: u64,
    pub(crate) default_cache_ms: u64,
    pub(crate) distro_threshold: f32,
    pub(crate) health_check_enabled: bool,
    pub(crate) auto_change_health_check_enabled: bool,
    pub(crate) distro_enabled: bool,
    pub(crate) enable_standalone: bool,
    pub(crate) push_enabled: bool,
    pub(crate) check_times: u32,
    pub(crate) http_check: CheckPace,
    pub(crate) tcp_check: CheckPace,
    pub(crate) mysql_check: CheckPace,
    pub(crate) incremental_list: Vec<String>,
    pub(crate) server_status_period_ms: u64,
    pub(crate) service_status_period_ms: u64,
    pub(crate) disable_add_ip: bool,
    pub(crate) send_beat_only: bool,
    pub(crate) light_beat_enabled: bool,
    /// Path prefix to status, in the order in which they are tried.
    pub(crate) limited_urls: Vec<(String, u16)>,
    pub(crate) distro_server_expired_ms: u64,
    pub(crate) push_versions: PushVersions,
    pub(crate) enable_authentication: bool,
    /// The status that stands in for the real one.
    pub(crate) overridden_status: Option<ServerStatus>,
    /// Whether somebody took the status back: it is shown as the empty text then and not as
    /// `null`, like in Nacos.
    pub(crate) status_taken_back: bool,
    pub(crate) default_instance_ephemeral: bool,
    pub(crate) health_check_white_list: Vec<String>,
}

impl Default for SwitchValues {
    fn default() -> Self {
        Self {
            masters: None,
            address_weights: BTreeMap::new(),
            push_cache_ms: 10_000,
            client_beat_interval_ms: 5_000,
            default_cache_ms: 3_000,
            distro_threshold: 0.7,
            health_check_enabled: true,
            auto_change_health_check_enabled: true,
            distro_enabled: true,
            enable_standalone: true,
            push_enabled: true,
            check_times: 3,
            http_check: CheckPace { max_ms: 5_000, min_ms: 500, factor: 0.85 },
            tcp_check: CheckPace { max_ms: 5_000, min_ms: 1_000, factor: 0.75 },
            mysql_check: CheckPace { max_ms: 3_000, min_ms: 2_000, factor: 0.65 },
            incremental_list: Vec::new(),
            server_status_period_ms: 2_000,
            service_status_period_ms: 5_000,
            disable_add_ip: false,
            send_beat_only: false,
            light_beat_enabled: true,
            limited_urls: Vec::new(),
            distro_server_expired_ms: 10_000,
            push_versions: PushVersions::default(),
            enable_authentication: false,
            overridden_status: None,
            status_taken_back: false,
            default_instance_ephemeral: true,
            health_check_white_list: Vec::new(),
        }
    }
}

impl SwitchValues {
    /// What this node tells and does: the status an operator set, or else that it is up.
    pub(crate) fn status(&self) -> ServerStatus {
        self.overridden_status.unwrap_or(ServerStatus::Up)
    }
}
