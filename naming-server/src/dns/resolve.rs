//! What a question is answered with.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use hickory_proto::ProtoError;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use naming_model::DEFAULT_NAMESPACE;

use super::encode::Sections;
use super::names::{Label, Meaning};
use super::{DnsFront, DnsSettings};
use crate::naming::{Caller, NamingError};
use crate::registry::{Endpoint, EndpointHost, Endpoints, wall_ms};

/// How others should copy the zone, in seconds; nobody can.
const REFRESH_S: i32 = 3_600;
const RETRY_S: i32 = 600;
const EXPIRE_S: i32 = 86_400;

/// An answer, before it is bytes.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) code: ResponseCode,
    /// Whether the name is one of this zone.
    pub(super) is_ours: bool,
    pub(super) sections: Sections,
}

/// One question, with all that its answer depends on.
pub(super) struct Asked<'a> {
    pub(super) front: &'a DnsFront,
    pub(super) settings: &'a DnsSettings,
    pub(super) caller: Caller<'a>,
    pub(super) query: &'a Query,
}

impl Resolved {
    fn failure(code: ResponseCode) -> Self {
        Self { code, is_ours: false, sections: Sections::default() }
    }

    fn found(answers: Vec<Record>) -> Self {
        let sections = Sections { answers, ..Sections::default() };
        Self { code: ResponseCode::NoError, is_ours: true, sections }
    }
}

impl Asked<'_> {
    pub(super) fn resolve(&self) -> Resolved {
        if !matches!(self.query.query_class(), DNSClass::IN | DNSClass::ANY) {
            return Resolved::failure(ResponseCode::Refused);
        }
        if matches!(self.query.query_type(), RecordType::AXFR | RecordType::IXFR) {
            return Resolved::failure(ResponseCode::Refused);
        }
        // Names that are made of ours can be too long only if the suffix is: it was checked.
        self.resolve_name().unwrap_or_else(|_| Resolved::failure(ResponseCode::ServFail))
    }

    fn resolve_name(&self) -> Result<Resolved, ProtoError> {
        match self.front.zone.meaning(self.query.name()) {
            Meaning::Elsewhere => Ok(Resolved::failure(ResponseCode::Refused)),
            Meaning::Apex => self.apex(),
            Meaning::Address(ip) => self.address(ip),
            Meaning::Service { key: None, labels } => self.no_service(&labels),
            Meaning::Service { key: Some(key), labels } => {
                match self.front.naming.endpoints(&self.caller, &key) {
                    Ok(Some(endpoints)) => self.service(&endpoints),
                    Ok(None) => self.no_service(&labels),
                    Err(error) => Ok(Resolved::failure(code_of(&error))),
                }
            }
            Meaning::Nothing => self.nothing(ResponseCode::NXDomain),
        }
    }

    fn service(&self, endpoints: &Endpoints) -> Result<Resolved, ProtoError> {
        match self.query.query_type() {
            RecordType::A => self.found(self.picked(&endpoints.v4).map(|ip| RData::A(A(*ip)))),
            RecordType::AAAA => {
                self.found(self.picked(&endpoints.v6).map(|ip| RData::AAAA(AAAA(*ip))))
            }
            RecordType::SRV => self.places(&endpoints.all),
            RecordType::ANY => self.any(),
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    /// Service records, and where their targets are.
    fn places(&self, all: &[Endpoint]) -> Result<Resolved, ProtoError> {
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for endpoint in self.picked(all).filter(|endpoint| endpoint.port > 0) {
            let target = match &endpoint.host {
                EndpointHost::Ip(ip) => {
                    let name = self.front.zone.name_of(*ip)?;
                    targets.push(self.record(name.clone(), data_of(*ip)));
                    name
                }
                EndpointHost::Name(host) => {
                    // Whatever clients register as an address is shown as such, but this is none.
                    let Ok(mut name) = Name::from_ascii(&**host) else { continue };
                    name.set_fqdn(true);
                    name
                }
            };
            places.push(RData::SRV(SRV::new(0, endpoint.weight, endpoint.port, target)));
        }
        // Instances with different ports may share an address.
        targets.dedup();
        let mut resolved = self.found(places.into_iter())?;
        resolved.sections.additionals = targets;
        Ok(resolved)
    }

    /// There is no such service, but there may be names below its name.
    fn no_service(&self, labels: &[Label]) -> Result<Resolved, ProtoError> {
        let (naming, caller) = (&self.front.naming, &self.caller);
        let has_names_below = match labels {
            [label] => {
                naming.has_services(caller, DEFAULT_NAMESPACE, Some(label.group()))
                    || naming.has_services(caller, label.namespace(), None)
            }
            [group, space] => naming.has_services(caller, space.namespace(), Some(group.group())),
            _ => false,
        };
        self.nothing(if has_names_below { ResponseCode::NoError } else { ResponseCode::NXDomain })
    }

    fn address(&self, ip: IpAddr) -> Result<Resolved, ProtoError> {
        match (self.query.query_type(), ip) {
            (RecordType::A, IpAddr::V4(_)) | (RecordType::AAAA, IpAddr::V6(_)) => {
                self.found([data_of(ip)].into_iter())
            }
            (RecordType::ANY, _) => self.any(),
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    fn apex(&self) -> Result<Resolved, ProtoError> {
        let (server, ip) = &self.front.server;
        match self.query.query_type() {
            RecordType::SOA => self.found([RData::SOA(self.authority())].into_iter()),
            RecordType::NS => {
                let mut resolved = self.found([RData::NS(NS(server.clone()))].into_iter())?;
                let at = ip.map(|ip| self.record(server.clone(), data_of(ip)));
                resolved.sections.additionals = at.into_iter().collect();
                Ok(resolved)
            }
            RecordType::ANY => self.any(),
            _ => self.nothing(ResponseCode::NoError),
        }
    }

    /// As little as there can be (RFC 8482): who wants a record asks for it.
    fn any(&self) -> Result<Resolved, ProtoError> {
        let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        self.found([data].into_iter())
    }

    fn found(&self, all: impl Iterator<Item = RData>) -> Result<Resolved, ProtoError> {
        let name = self.query.name();
        let answers: Vec<_> = all.map(|data| self.record(name.clone(), data)).collect();
        match answers.is_empty() {
            true => self.nothing(ResponseCode::NoError),
            false => Ok(Resolved::found(answers)),
        }
    }

    /// There is nothing of the kind, or no such name; and for how long others may believe that.
    fn nothing(&self, code: ResponseCode) -> Result<Resolved, ProtoError> {
        let suffix = self.front.zone.suffix().clone();
        let authorities = vec![self.record(suffix, RData::SOA(self.authority()))];
        let sections = Sections { authorities, ..Sections::default() };
        Ok(Resolved { code, is_ours: true, sections })
    }

    fn authority(&self) -> SOA {
        let (server, responsible) = (self.front.server.0.clone(), self.front.responsible.clone());
        let serial = (wall_ms() / 1_000) as u32;
        let ttl_s = self.settings.ttl_s;
        SOA::new(server, responsible, serial, REFRESH_S, RETRY_S, EXPIRE_S, ttl_s)
    }

    /// At most so many as an answer may have, beginning elsewhere each time: clients take the first.
    fn picked<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let turn = self.front.turn.fetch_add(1, Relaxed);
        let (before, from) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
        from.iter().chain(before).take(self.settings.max_records)
    }

    fn record(&self, name: Name, data: RData) -> Record {
        Record::from_rdata(name, self.settings.ttl_s, data)
    }
}

fn data_of(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// What resolvers understand: they ask another server after a failure, and keep to a refusal.
fn code_of(error: &NamingError) -> ResponseCode {
    match error {
        NamingError::Auth(_) => ResponseCode::Refused,
        _ => ResponseCode::ServFail,
    }
}
