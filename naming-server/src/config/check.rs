//! Ranges and rules between settings.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anyhow::{Result, ensure};
use tracing::level_filters::LevelFilter;

use super::Config;

/// One day; longer times are typing errors.
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Config {
    /// Checks every setting against its range, naming the key that is out of it.
    pub(super) fn check(&self) -> Result<()> {
        self.check_front()?;
        self.grpc.check(self.port)?;
        self.check_registry()?;
        self.check_push()?;
        self.cluster.check()?;
        self.check_identity()?;
        self.data.check()?;
        self.check_tls()?;
        self.durable.check(self.tombstone_retention_ms())?;
        ensure!(
            !(self.data.in_memory && self.durable.wants_majority()),
            "durable.acks = \"majority\" needs data on disk, but data.in_memory is true: changes \
             would be answered without waiting for any disk"
        );
        self.audit.check()?;
        self.auth.check()?;
        self.dns.check()?;
        self.limits.check()?;
        check_level(&self.log.level)
    }

    /// An identity speaks for this member. Without users this member cannot tell whom it would speak
    /// for: it would carry everybody's writes past the authentication of the others.
    pub(crate) fn check_identity(&self) -> Result<()> {
        ensure!(
            self.cluster.nacos.identity_key.is_empty() || self.auth.enabled,
            "cluster.nacos.identity_key needs auth.enabled = true: servers of Nacos take whatever \
             comes with the identity, so this member must know who sends what it passes on"
        );
        Ok(())
    }

    fn check_front(&self) -> Result<()> {
        ensure!(!self.bind.trim().is_empty(), "bind must not be empty");
        self.check_advertise()?;
        let path = self.context_path.as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        ensure!(
            path.is_empty() || path.starts_with('/') && !path.contains("//"),
            "context_path must begin with one slash, not {path:?}"
        );
        ensure!(
            path.bytes().all(plain),
            "context_path may hold letters, digits and /-._~ only, not {path:?}"
        );
        let http = &self.http;
        within("http.max_connections", http.max_connections, 1..=10_000_000)?;
        let per_source = http.max_connections_per_source;
        within("http.max_connections_per_source", per_source, 0..=10_000_000)?;
        within("http.max_body_bytes", http.max_body_bytes, 1_024..=1 << 30)?;
        let least = http.max_body_bytes;
        within("http.max_buffered_body_bytes", http.max_buffered_body_bytes, least..=1 << 40)?;
        let per_source = http.max_buffered_body_bytes_per_source;
        if per_source != 0 {
            within("http.max_buffered_body_bytes_per_source", per_source, least..=1 << 40)?;
        }
        within("http.max_header_bytes", http.max_header_bytes, 8_192..=16 << 20)?;
        let (heads, least) = (http.max_buffered_header_bytes, http.max_header_bytes);
        within("http.max_buffered_header_bytes", heads, least..=1 << 40)?;
        within("http.header_timeout_ms", http.header_timeout_ms, 100..=DAY_MS)?;
        within("http.body_timeout_ms", http.body_timeout_ms, 100..=DAY_MS)?;
        within("http.idle_timeout_ms", http.idle_timeout_ms, 100..=DAY_MS)?;
        within("http.drain_timeout_ms", http.drain_timeout_ms, 0..=DAY_MS)
    }

    fn check_registry(&self) -> Result<()> {
        let registry = &self.registry;
        within("registry.max_instances", registry.max_instances, 1..=1_000_000_000)?;
        let seconds = registry.empty_protection_seconds;
        within("registry.empty_protection_seconds", seconds, 0..=3_600)?;
        within("registry.max_instance_bytes", registry.max_instance_bytes, 0..=1 << 50)?;
        within("registry.max_metadata_bytes", registry.max_metadata_bytes, 0..=1 << 20)?;
        within("registry.rendered_bytes", registry.rendered_bytes, 0..=1 << 40)?;
        let health = &self.health;
        within("health.pause_threshold_ms", health.pause_threshold_ms, 500..=DAY_MS)?;
        within("health.compensation_window_ms", health.compensation_window_ms, 0..=DAY_MS)?;
        // What is forgotten cannot hold back a late beat.
        let least = health.compensation_window_ms.max(1_000);
        let retention = self.store.tombstone_retention_ms;
        within("store.tombstone_retention_ms", retention, least..=7 * DAY_MS)?;
        within("store.tombstone_bytes", self.store.tombstone_bytes, 1 << 20..=64 << 30)?;
        let empty = &self.empty_service;
        within("empty_service.initial_delay_ms", empty.initial_delay_ms, 0..=DAY_MS)?;
        within("empty_service.period_ms", empty.period_ms, 100..=DAY_MS)?;
        within("events.capacity", self.events.capacity, 1..=10_000_000)
    }

    fn check_push(&self) -> Result<()> {
        let push = &self.push;
        within("push.debounce_ms", push.debounce_ms, 0..=60_000)?;
        within("push.ack_timeout_ms", push.ack_timeout_ms, 100..=DAY_MS)?;
        within("push.lifetime_margin_ms", push.lifetime_margin_ms, 0..=DAY_MS)?;
        within("push.max_subscribers", push.max_subscribers, 0..=100_000_000)?;
        let all = push.max_subscribers;
        within("push.max_subscribers_per_service", push.max_subscribers_per_service, 0..=all)?;
        within("push.max_subscriber_bytes", push.max_subscriber_bytes, 0..=1 << 40)?;
        within("push.max_packet_bytes", push.max_packet_bytes, 512..=65_507)?;
        within("push.max_go_packet_bytes", push.max_go_packet_bytes, 512..=65_507)?;
        within("push.max_bytes_per_second", push.max_bytes_per_second, 65_536..=1 << 40)?;
        let of_address = push.max_subscribers_per_address;
        within("push.max_subscribers_per_address", of_address, 1..=100_000_000)?;
        within("push.park_after_misses", push.park_after_misses, 0..=1_000)
    }
}

pub(super) fn within<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<()> {
    let (least, most) = (range.start(), range.end());
    ensure!(range.contains(&value), "{key} must be from {least} to {most}, not {value}");
    Ok(())
}

/// A filter takes any word for a module name, so `inof` would silence everything.
fn check_level(text: &str) -> Result<()> {
    for item in text.split(',') {
        let level = item.rsplit('=').next().unwrap_or(item).trim();
        let known = level.parse::<LevelFilter>().is_ok() && level.parse::<u8>().is_err();
        ensure!(
            known && !level.is_empty(),
            "log.level must be off, error, warn, info, debug, trace or module=level, not {item:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Acks, DataConfig};

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_within_their_ranges() {
        Config::default().check().unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let text = refused(|config| config.http.max_connections = 0);
        assert_eq!(text, "http.max_connections must be from 1 to 10000000, not 0");
        let text = refused(|config| config.push.max_packet_bytes = 70_000);
        assert!(text.starts_with("push.max_packet_bytes must be"), "{text}");
        let text = refused(|config| config.health.compensation_window_ms = 61_000);
        assert!(text.starts_with("store.tombstone_retention_ms must be from 61000"), "{text}");
        let text = refused(|config| config.http.max_body_bytes = 1 << 29);
        assert!(text.starts_with("http.max_buffered_body_bytes must be"), "{text}");
    }

    #[test]
    fn a_majority_of_disks_needs_a_disk_here() {
        let text = refused(|config| config.durable.acks = Acks::Majority);
        assert!(text.contains("durable.acks") && text.contains("data.in_memory"), "{text}");
        let mut config = Config { data: DataConfig::at("/x"), ..Config::default() };
        config.durable.acks = Acks::Majority;
        config.check().unwrap();
    }

    #[test]
    fn an_identity_needs_users() {
        let text = refused(|config| {
            config.cluster.nacos.identity_key = "who".into();
            config.cluster.nacos.identity_value = crate::Hidden("s3cret".into());
        });
        assert!(text.contains("cluster.nacos.identity_key needs auth.enabled"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_context_path_is_a_path() {
        for good in ["", "/", "/nacos", "/a/b-c/"] {
            Config { context_path: good.to_owned(), ..Config::default() }.check().unwrap();
        }
        for bad in ["nacos", "//", "/a b", "/a?b", "/%41"] {
            let text = refused(|config| config.context_path = bad.to_owned());
            assert!(text.starts_with("context_path"), "{text}");
        }
    }

    #[test]
    fn misspelt_levels_are_refused() {
        for good in ["info", "off", "WARN", "info,hyper=debug", "naming_server::http=trace"] {
            check_level(good).unwrap();
        }
        for bad in ["inof", "", "info,", "hyper=", "3", "info,hyper"] {
            assert!(check_level(bad).is_err(), "{bad:?}");
        }
    }
}
