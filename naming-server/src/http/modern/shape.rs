//! Instances as the answers of 2.x and 3.x show them, written without a tree in between: lists may
//! be long.

use distro_core::Reader;
use naming_model::{DEFAULT_BEAT_INTERVAL_MS, ServiceKey};

use crate::http::MOST_ANSWER_BYTES;
use crate::registry::{Content, Host, hosts, push_facts, push_id, push_number};

/// The instances of some clusters.
pub(super) struct Selected<'a> {
    /// In the order of their keys.
    pub(super) hosts: Vec<Host<'a>>,
}

impl<'a> Selected<'a> {
    /// Those of these clusters, separated by commas; all if there are none.
    pub(super) fn of(reader: &Reader<'a, Content>, clusters: &str) -> Self {
        let mut wanted: Vec<&str> = clusters.split(',').filter(|name| !name.is_empty()).collect();
        // A request can name thousands, and a service can have as many instances.
        wanted.sort_unstable();
        let is_wanted =
            |host: &Host<'_>| wanted.is_empty() || wanted.binary_search(&host.key.cluster).is_ok();
        Self { hosts: hosts(reader).filter(is_wanted).collect() }
    }

    /// How many are healthy.
    pub(super) fn healthy(&self) -> usize {
        self.hosts.iter().filter(|host| host.healthy).count()
    }
}

/// A JSON array of instances. What is longer than an answer may be ends soon behind that.
pub(super) fn array<'a>(
    service: &ServiceKey,
    hosts: impl Iterator<Item = (Host<'a>, bool)>,
) -> String {
    let mut out = String::from("[");
    for (host, healthy) in hosts {
        if out.len() > MOST_ANSWER_BYTES {
            break;
        }
        if out.len() > 1 {
            out.push(',');
        }
        push_host(&mut out, &host, healthy, service);
    }
    out.push(']');
    out
}

/// One instance as JSON, with this health.
pub(super) fn push_host(out: &mut String, host: &Host<'_>, healthy: bool, service: &ServiceKey) {
    let instance = host.instance;
    out.push_str("{\"instanceId\":\"");
    push_id(out, host, service);
    push_facts(out, host, healthy, instance.weight, service);
    let (unhealthy_after_ms, expire_after_ms) = instance.time_outs_ms();
    out.push_str(",\"instanceHeartBeatInterval\":");
    push_number(out, instance.beat_interval_ms().unwrap_or(DEFAULT_BEAT_INTERVAL_MS));
    out.push_str(",\"instanceHeartBeatTimeOut\":");
    push_number(out, unhealthy_after_ms);
    out.push_str(",\"ipDeleteTimeout\":");
    push_number(out, expire_after_ms);
    out.push('}');
}
