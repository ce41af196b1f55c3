//! Ranges of the switches, so that none makes clients or this server spin.

use std::ops::RangeInclusive;

use super::{CheckPace, SwitchValues};
use crate::registry::RegistryError;

/// Items of one list or map.
pub(crate) const MAX_SWITCH_ITEMS: usize = 64;
/// Bytes of one item.
const MAX_ITEM_BYTES: usize = 256;
/// One day; longer times are typing errors.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl SwitchValues {
    /// Checks all values.
    ///
    /// # Errors
    /// `Invalid` that says which one is out of its range, in the words of Nacos where it has some.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        check_times(self)?;
        check_numbers(self)?;
        check_paces(self)?;
        check_lists(self)
    }
}

fn check_times(values: &SwitchValues) -> Result<(), RegistryError> {
    // Clients beat at this pace: below it they would do nothing else.
    within("clientBeatInterval", values.client_beat_interval_ms, 100..=60 * 60 * 1_000)?;
    let least = [
        (values.push_cache_ms, 10_000, "min cache time for http or tcp is too small(<10000)"),
        (values.default_cache_ms, 1_000, "min default cache time  is too small(<1000)"),
        (
            values.service_status_period_ms,
            5_000,
            "serviceStatusSynchronizationPeriodMillis is too small(<5000)",
        ),
        // The text is wrong, but it is the one tools know.
        (
            values.server_status_period_ms,
            1_000,
            "serverStatusSynchronizationPeriodMillis is too small(<15000)",
        ),
    ];
    for (value, least, text) in least {
        ensure(value >= least, || text.to_owned())?;
    }
    within("pushCacheMillis", values.push_cache_ms, 0..=DAY_MS)?;
    within("defaultCacheMillis", values.default_cache_ms, 0..=DAY_MS)?;
    let (service, server) = (values.service_status_period_ms, values.server_status_period_ms);
    within("serviceStatusSynchronizationPeriodMillis", service, 0..=DAY_MS)?;
    within("serverStatusSynchronizationPeriodMillis", server, 0..=DAY_MS)?;
    within("distroServerExpiredMillis", values.distro_server_expired_ms, 1..=DAY_MS)
}

fn check_numbers(values: &SwitchValues) -> Result<(), RegistryError> {
    let threshold = values.distro_threshold;
    ensure(threshold > 0.0 && threshold.is_finite(), || {
        format!("distroThreshold can not be zero or negative: {threshold:?}")
    })?;
    within("healthCheckTimes", values.check_times.into(), 1..=1_000)
}

fn check_paces(values: &SwitchValues) -> Result<(), RegistryError> {
    for CheckPace { max_ms, min_ms, factor } in
        [values.http_check, values.tcp_check, values.mysql_check]
    {
        ensure(min_ms >= 500, || "min check time for http or tcp is too small(<500)".to_owned())?;
        ensure(max_ms >= 3_000, || {
            "max check time for http or tcp is too small(<3000)".to_owned()
        })?;
        ensure((0.0..=1.0).contains(&factor), || "malformed factor".to_owned())?;
        within("max check time", max_ms, min_ms.min(DAY_MS)..=DAY_MS)?;
    }
    Ok(())
}

fn check_lists(values: &SwitchValues) -> Result<(), RegistryError> {
    let masters = values.masters.as_deref().unwrap_or_default();
    check_items("masters", masters.iter())?;
    check_items("adWeightMap", values.address_weights.keys())?;
    check_items("incrementalList", values.incremental_list.iter())?;
    check_items("healthCheckWhiteList", values.health_check_white_list.iter())?;
    check_items("limitedUrlMap", values.limited_urls.iter().map(|(prefix, _)| prefix))?;
    for (prefix, status) in &values.limited_urls {
        ensure(!prefix.is_empty(), || "url can not be empty, url: ".to_owned())?;
        // Informational statuses do not end an exchange.
        ensure((200..=599).contains(status), || format!("illegal normal status code: {status}"))?;
    }
    Ok(())
}

fn check_items<'a>(
    name: &str,
    items: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), RegistryError> {
    ensure(items.len() <= MAX_SWITCH_ITEMS, || {
        format!("{name} may have {MAX_SWITCH_ITEMS} items at most")
    })?;
    for item in items {
        ensure(item.len() <= MAX_ITEM_BYTES, || {
            format!("an item of {name} may have {MAX_ITEM_BYTES} bytes at most")
        })?;
    }
    Ok(())
}

fn within(name: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), RegistryError> {
    let (least, most) = (range.start(), range.end());
    ensure(range.contains(&value), || format!("{name} must be from {least} to {most}, not {value}"))
}

fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), RegistryError> {
    if holds { Ok(()) } else { Err(RegistryError::invalid(text())) }
}
