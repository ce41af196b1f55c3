//! Server-wide settings that operators change at run time.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::http::PushVersions;

/// The values of all switches, with the defaults of Nacos 1.4.8. Those without an effect are
/// kept to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SwitchValues {
    pub(crate) masters: Option<Vec<String>>,
    pub(crate) push_cache_ms: u64,
    pub(crate) client_beat_interval_ms: u64,
    pub(crate) default_cache_ms: u64,
    pub(crate) distro_threshold: f32,
    pub(crate) health_check_enabled: bool,
    pub(crate) auto_change_health_check_enabled: bool,
    pub(crate) distro_enabled: bool,
    pub(crate) enable_standalone: bool,
    pub(crate) push_enabled: bool,
    pub(crate) check_times: i32,
    pub(crate) server_status_period_ms: u64,
    pub(crate) service_status_period_ms: u64,
    pub(crate) disable_add_ip: bool,
    pub(crate) send_beat_only: bool,
    pub(crate) light_beat_enabled: bool,
    /// Path prefix to status, in the order in which they are tried.
    pub(crate) limited_urls: Vec<(String, u16)>,
    pub(crate) distro_server_expired_ms: u64,
    pub(crate) push_versions: PushVersions,
    pub(crate) overridden_status: Option<String>,
    pub(crate) default_instance_ephemeral: bool,
}

impl Default for SwitchValues {
    fn default() -> Self {
        Self {
            masters: None,
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
            server_status_period_ms: 2_000,
            service_status_period_ms: 5_000,
            disable_add_ip: false,
            send_beat_only: false,
            light_beat_enabled: true,
            limited_urls: Vec::new(),
            distro_server_expired_ms: 10_000,
            push_versions: PushVersions::default(),
            overridden_status: None,
            default_instance_ephemeral: true,
        }
    }
}

/// The switches. Read on every request without a lock.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    values: ArcSwap<SwitchValues>,
}

impl Switches {
    /// The values as of now.
    pub(crate) fn load(&self) -> Guard<Arc<SwitchValues>> {
        self.values.load()
    }

    /// Changes some of them. `change` may run more than once.
    pub(crate) fn update(&self, change: impl Fn(&mut SwitchValues)) {
        self.values.rcu(|values| {
            let mut values = SwitchValues::clone(values);
            change(&mut values);
            values
        });
    }
}
