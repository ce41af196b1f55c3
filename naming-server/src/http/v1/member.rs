//! `/v1/core/cluster/*` and the lists of servers: the members as this one sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use distro_core::{MemberState, Phase, SLOT_COUNT, Slot};
use distro_net::MemberStatus;
use serde_json::{Value, json};

use super::{Api, COMPATIBLE_VERSION};
use crate::http::{Answer, ApiError, Call, Reply};
use crate::java2::Peers;
use crate::nacos::{Adapter, OtherShown, Owner, PeerState};
use crate::registry::wall_ms;

impl Api {
    pub(super) fn member_self(&self) -> Result<Reply, ApiError> {
        Ok(result(&self.own_member()))
    }

    pub(super) fn member_nodes(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let keyword = call.params.or("keyword", "");
        let is_asked_for = |member: &Value| {
            member["address"].as_str().is_some_and(|address| address.starts_with(&*keyword))
        };
        let members: Vec<_> = self.members().into_iter().filter(is_asked_for).collect();
        Ok(result(&json!(members)))
    }

    pub(super) fn member_simple_nodes(&self) -> Result<Reply, ApiError> {
        let members = self.members();
        let addresses: Vec<_> = members.iter().map(|member| &member["address"]).collect();
        Ok(result(&json!(addresses)))
    }

    pub(super) fn member_health(&self) -> Result<Reply, ApiError> {
        Ok(result(&json!(self.own_state())))
    }

    /// Another server tells of itself. It is told whether it is a member, as text.
    fn member_report(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let Some(sender) = reported_address(call.body) else {
            let refusal = json!({
                "code": 400, "message": "Node information is illegal", "data": null,
            });
            return Ok(Reply::json(refusal.to_string()));
        };
        let is_member = self.members().iter().any(|member| member["address"] == *sender);
        Ok(result(&json!(is_member.to_string())))
    }

    /// Takes a report of a member, of either make.
    pub(super) fn hear_report(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        match (&self.nacos, &self.java2) {
            (Some(nacos), _) => self.take_report(nacos, call),
            (None, Some(peers)) => take_report_of_2x(peers, call),
            (None, None) => self.member_report(call),
        }
    }

    /// Only servers of Nacos are taken off the list by a call.
    pub(super) fn administer_members(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        match &self.nacos {
            Some(nacos) if call.path.ends_with("/leave") => self.take_leaving(nacos, call),
            _ => self.refuse_member_admin().map(Answer::Now),
        }
    }

    fn refuse_member_admin(&self) -> Result<Reply, ApiError> {
        let text = "members are not changed by calls: change the list that the members read \
                    (cluster.members_file, cluster.dns_name), or stop the member; calls of Nacos \
                    servers need cluster.dialect = \"nacos\"";
        Err(ApiError::not_implemented(text))
    }

    pub(super) fn refuse_peer_protocol(&self) -> Result<Reply, ApiError> {
        let text = "the protocol between Nacos servers is off (cluster.dialect is distro): set \
                    cluster.dialect = \"nacos\" on this member, or do not list it in their \
                    cluster.conf";
        Err(ApiError::not_implemented(text))
    }

    pub(super) fn operator_servers(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let healthy_only = call.params.flag_lenient("healthy", false);
        let mut servers = self.members();
        servers.retain(|member| !healthy_only || member["state"] == "UP");
        Ok(Reply::json(json!({ "servers": servers }).to_string()))
    }

    pub(super) fn distro_status(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let shown = match &*call.params.or("action", "view") {
            "view" => json!({ "status": self.members() }),
            _ => json!({}),
        };
        Ok(Reply::json(shown.to_string()))
    }

    /// Who judges the instances of a service.
    pub(super) fn responsible_server(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        if self.registry.find(&service).is_none() {
            return Err(ApiError::bad_request("service not found"));
        }
        let owner = self.registry.store.owner(service.as_str());
        let elsewhere = |cluster: &super::ApiCluster| cluster.peers.address(owner?);
        let of_java = |nacos: &Arc<Adapter>| match nacos.owner(&service) {
            Owner::Foreign(address) => Some(address),
            Owner::Here | Owner::Ours => None,
        };
        let address = self.nacos.as_ref().and_then(of_java);
        let address = address.or_else(|| self.cluster.as_ref().and_then(elsewhere));
        let address = address.unwrap_or_else(|| self.address.as_str().into());
        Ok(Reply::json(json!({ "responsibleServer": &*address }).to_string()))
    }

    /// Who takes the writes of a client: every member does, so it is this one.
    pub(super) fn client_server(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        call.params.required("ip")?;
        crate::registry::check_port(call.params.required_int("port")?)?;
        Ok(Reply::json(json!({ "responsibleServer": self.address.as_str() }).to_string()))
    }

    /// One `ip:port` a line, for clients with an endpoint configured. They disagree about what
    /// ends a line, so the last has no end.
    pub(super) fn server_list(&self) -> Result<Reply, ApiError> {
        let mut addresses: Vec<Arc<str>> = vec![self.address.as_str().into()];
        if let Some(nacos) = &self.nacos {
            let others = nacos.others().into_iter();
            let others = others.filter(|other| other.state != PeerState::Down);
            addresses.extend(others.map(|other| other.address));
        } else {
            let status = self.control.status();
            let others = status.members.iter();
            let others = others.filter(|other| other.view.state != MemberState::Down);
            addresses.extend(others.map(|other| Arc::clone(&other.address)));
        }
        addresses.sort_unstable();
        Ok(Reply::text(addresses.join("\n")))
    }

    /// All members in the order of their addresses.
    pub(in crate::http) fn members(&self) -> Vec<Value> {
        let status = self.control.status();
        let mut members: Vec<Value> = match &self.nacos {
            Some(nacos) => nacos.others().iter().map(shown_by_java).collect(),
            None => status.members.iter().map(shown).collect(),
        };
        for other in self.java2.iter().flat_map(|peers| peers.shown()) {
            let is_known = |known: &Value| known["address"] == *other.address;
            if !members.iter().any(is_known) {
                let details = json!({ "version": other.version });
                members.push(member(&other.address, other.state, other.failures, details));
            }
        }
        members.push(self.own_member());
        members.sort_unstable_by(|a, b| a["address"].as_str().cmp(&b["address"].as_str()));
        members
    }

    /// How many of the slots each member owns in this member's view, by address; none where owners
    /// are not counted by slot.
    pub(in crate::http) fn shares(&self) -> BTreeMap<String, usize> {
        let store = &self.registry.store;
        let Some(cluster) = &self.cluster else {
            return BTreeMap::from([(self.address.as_str().to_owned(), SLOT_COUNT)]);
        };
        let mut shares = BTreeMap::new();
        for owner in Slot::all().filter_map(|slot| store.owner_of_slot(slot)) {
            *shares.entry(owner).or_default() += 1;
        }
        let name = |member| match cluster.peers.address(member) {
            Some(address) => address.to_string(),
            None => self.address.as_str().to_owned(),
        };
        shares.into_iter().map(|(member, count)| (name(member), count)).collect()
    }

    /// What this member has to load before it knows everything: the phase it is in, and the
    /// thirty-seconds of the load that are left.
    pub(in crate::http) fn phase(&self) -> Value {
        let status = self.control.status();
        json!({
            "phase": format!("{:?}", status.phase).to_lowercase(),
            "whyNotReady": self.cluster.as_ref().and(status.why_not_ready),
            "loadLeft": status.load_left,
            "ownerChanges": status.owner_changes,
            "movedSlots": status.moved_slots,
            "digest": format!("{:016x}", self.registry.store.root()),
        })
    }

    pub(in crate::http) fn own_member(&self) -> Value {
        if let Some(nacos) = &self.nacos {
            return serde_json::from_str(&nacos.own_report()).unwrap_or_default();
        }
        member(
            self.address.as_str(),
            self.own_state(),
            0,
            json!({
                "lastRefreshTime": self.started.wall_ms,
                "version": COMPATIBLE_VERSION,
            }),
        )
    }

    pub(in crate::http) fn own_state(&self) -> &'static str {
        if self.cluster.is_none() {
            return "UP";
        }
        match self.control.status().phase {
            Phase::Joining | Phase::Loading => "STARTING",
            Phase::Up => "UP",
            Phase::Leaving => "ISOLATION",
        }
    }
}

/// A member of Nacos before 2.2.4 tells of itself over HTTP.
fn take_report_of_2x(peers: &Peers, call: &Call<'_>) -> Result<Reply, ApiError> {
    match peers.hear_report(call.peer.ip(), call.headers, call.body) {
        Ok(true) => Ok(result(&json!("true"))),
        Ok(false) => Ok(result(&json!("false"))),
        Err(text) => Err(ApiError::bad_request(text)),
    }
}

/// Another member among Java servers, as it reports and as its reports are answered.
fn shown_by_java(other: &OtherShown) -> Value {
    let version = other.version.as_ref().map(|version| json!({ "version": version }));
    let details = version.unwrap_or_else(|| json!({}));
    member(&other.address, other.state.name(), other.failures, details)
}

/// Another member. What Nacos has no field for stands in `extendInfo`.
fn shown(other: &MemberStatus) -> Value {
    let state = match other.view.state {
        MemberState::Joining => "STARTING",
        MemberState::Up => "UP",
        MemberState::Suspicious => "SUSPICIOUS",
        MemberState::Down => "DOWN",
        MemberState::Leaving => "ISOLATION",
    };
    let failures = u32::from(state != "UP");
    member(
        &other.address,
        state,
        failures,
        json!({
            "lastRefreshTime": wall_ms(),
            "version": COMPATIBLE_VERSION,
            "startNumber": other.view.incarnation,
            "agreesOnMembers": other.view.agrees_on_members,
            "lagMillis": u64::try_from(other.view.lag.as_millis()).unwrap_or(u64::MAX),
            "queuedRecords": other.view.queued_keys,
            "queuedBeats": other.view.queued_beats,
            "differences": other.view.differences,
            "clockAheadMillis": other.clock_ahead_ms,
        }),
    )
}

fn member(address: &str, state: &str, failures: u32, details: Value) -> Value {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    json!({
        "ip": host,
        "port": port.parse::<u16>().unwrap_or_default(),
        "state": state,
        "extendInfo": details,
        "address": address,
        "failAccessCnt": failures,
    })
}

fn result(data: &Value) -> Reply {
    Reply::json(json!({ "code": 200, "message": null, "data": data }).to_string())
}

/// The address of the member a report tells of, if it is a report.
fn reported_address(body: &[u8]) -> Option<String> {
    let member: Value = serde_json::from_slice(body).ok()?;
    let text = |field: &str| {
        let text = member.get(field)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let port = member.get("port")?.as_i64()?;
    text("ip")?;
    (port != -1).then_some(text("address")?)
}
