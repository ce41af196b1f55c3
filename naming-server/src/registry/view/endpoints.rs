//! Where the instances of a service are that clients should use, kept by revision, for fronts that
//! write no JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::super::host::{Host, Hosts};
use super::super::{NamingDatum, Registry};
use super::{Charge, Views, settings};
use crate::networks::bare;

/// Greatest weight of an [`Endpoint`].
const MOST_WEIGHT: f64 = 65_535.0;
/// What a weight of 1 becomes, unless that makes the greatest weight of the service too great.
const SCALE: f64 = 100.0;
/// What an endpoint takes besides the text of its host, roughly.
const ENDPOINT_BYTES: usize = 64;

/// The enabled instances of a service that are healthy, or all enabled ones if few are healthy (its
/// protect threshold), as lists show them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// All of them, each address and port once.
    pub(crate) all: Box<[Endpoint]>,
    /// IPv4 addresses, each once.
    pub(crate) v4: Box<[Ipv4Addr]>,
    /// IPv6 addresses, each once.
    pub(crate) v6: Box<[Ipv6Addr]>,
    revision: u64,
    shown_until: Option<Instant>,
    _charge: Charge,
}

/// One place that clients may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: EndpointHost,
    /// 0 stands for no port.
    pub(crate) port: u16,
    /// Its share among the endpoints of the service; at least 1.
    pub(crate) weight: u16,
}

/// What an instance has as its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointHost {
    /// An address.
    Ip(IpAddr),
    /// Anything else: a host name, most likely.
    Name(Box<str>),
}

impl Registry {
    /// The endpoints of a service, if it exists. Shares what is kept; collects them only if the
    /// service has changed since.
    pub(crate) fn endpoints(&self, service: &ServiceKey) -> Option<Arc<Endpoints>> {
        let datum = self.find(service)?;
        Some(self.views.endpoints(&datum))
    }
}

impl Views {
    fn endpoints(&self, datum: &NamingDatum) -> Arc<Endpoints> {
        let state = datum.attached();
        if !state.used.load(Relaxed) {
            state.used.store(true, Relaxed);
        }
        let kept = state.endpoints.load();
        if let Some(kept) = &*kept
            && kept.revision >= datum.revision()
            && kept.shown_until.is_none_or(|until| Instant::now() < until)
        {
            return Arc::clone(kept);
        }
        drop(kept);
        let endpoints = Arc::new(self.collect_endpoints(datum));
        if self.bytes() <= self.max_bytes {
            state.endpoints.rcu(|known| match known {
                // Another thread was faster with something newer.
                Some(known) if known.revision > endpoints.revision => Some(Arc::clone(known)),
                _ => Some(Arc::clone(&endpoints)),
            });
        }
        endpoints
    }

    fn collect_endpoints(&self, datum: &NamingDatum) -> Endpoints {
        let last = datum.attached().protected.held();
        datum.read(|reader| {
            let held = last.as_ref().and_then(|last| last.hosts(&reader));
            let shown_until = last.as_ref().filter(|_| held.is_some()).map(|l| l.shown_until());
            let hosts = match held {
                Some(held) => Hosts::among(held.into_iter(), ""),
                None => Hosts::collect(&reader, ""),
            };
            let threshold = settings(&reader).protect_threshold;
            let protected = hosts.are_protected(threshold, self.protect_at_zero);
            let all = scaled(
                hosts
                    .candidates
                    .iter()
                    .filter(|host| host.instance.enabled && (host.healthy || protected)),
            );
            let bytes = all.iter().map(Endpoint::bytes).sum();
            let v4 = addresses(&all, |ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
            let v6 = addresses(&all, |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None });
            Endpoints {
                all,
                v4,
                v6,
                revision: reader.revision(),
                shown_until,
                _charge: Charge::new(&self.bytes, bytes),
            }
        })
    }
}

impl Endpoint {
    fn bytes(&self) -> usize {
        match &self.host {
            EndpointHost::Ip(_) => ENDPOINT_BYTES,
            EndpointHost::Name(name) => ENDPOINT_BYTES + name.len(),
        }
    }
}

impl EndpointHost {
    fn of(text: &str) -> Self {
        match bare(text).parse::<IpAddr>() {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) => Self::Name(text.into()),
        }
    }
}

/// Endpoints with whole weights, in the order of their addresses. A weight of 0 asks for no calls:
/// such instances are left out, unless all are such.
fn scaled<'a>(hosts: impl Iterator<Item = &'a Host<'a>> + Clone) -> Box<[Endpoint]> {
    let heaviest = hosts.clone().map(|host| host.instance.weight).fold(0.0, f64::max);
    let scale = if heaviest > 0.0 { SCALE.min(MOST_WEIGHT / heaviest) } else { 0.0 };
    let mut all: Vec<_> = hosts
        .filter(|host| heaviest <= 0.0 || host.instance.weight > 0.0)
        .map(|host| Endpoint {
            host: EndpointHost::of(host.key.ip),
            port: host.key.port,
            // A cast of a float saturates.
            weight: (host.instance.weight * scale).round().max(1.0) as u16,
        })
        .collect();
    all.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
    all.dedup_by(|b, a| a.host == b.host && a.port == b.port);
    all.into()
}

fn addresses<T: Ord>(all: &[Endpoint], pick: impl Fn(IpAddr) -> Option<T>) -> Box<[T]> {
    let ip = |endpoint: &Endpoint| match endpoint.host {
        EndpointHost::Ip(ip) => pick(ip),
        EndpointHost::Name(_) => None,
    };
    // They are in order already.
    let mut picked: Vec<T> = all.iter().filter_map(ip).collect();
    picked.dedup();
    picked.into()
}
