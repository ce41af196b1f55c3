//! What it answers to members.

use std::sync::Arc;

use serde_json::{Value, json};

use super::data::{
    Instance, KEY_PREFIX, list_checksum, parse_datums, render_datums, service_checksum,
};
use super::http::{Request, Response};
use super::{Inner, VERSION, strict};

const TEXT: &str = "text/plain;charset=UTF-8";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

pub(super) type Answer = (Response, &'static str);

pub(super) fn text(status: u16, body: impl Into<String>) -> Answer {
    (Response { status, body: body.into() }, TEXT)
}

pub(super) fn json_text(body: impl Into<String>) -> Answer {
    (Response { status: 200, body: body.into() }, JSON)
}

impl Inner {
    pub(super) fn answer(self: &Arc<Self>, request: &Request) -> Answer {
        let path = request.path().strip_prefix("/nacos/v1/").unwrap_or_default();
        if let Some(refusal) = self.refusal(request, path) {
            return refusal;
        }
        match (&*request.method, path) {
            ("PUT", "ns/distro/datum") => self.take_datums(request),
            ("PUT", "ns/distro/checksum") => self.compare(request),
            ("GET", "ns/distro/datum") => self.give_datum(request),
            ("GET", "ns/distro/datums") => self.give_datums(request),
            ("POST", "core/cluster/report") => self.take_report(request),
            ("POST", "ns/service/status") => self.take_status(request),
            ("GET", "ns/instance/statuses") => self.give_statuses(request),
            _ => self
                .answer_operator(request, path)
                .unwrap_or_else(|| self.answer_client(request, path)),
        }
    }

    /// All members, this one too.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.state().members.keys().cloned().chain([self.own.clone()]).collect()
    }

    /// Notes what is wrong with a request, and that it came.
    pub(super) fn checked<T>(&self, kind: &'static str, checked: Result<T, String>) -> Option<T> {
        self.note(kind);
        match checked {
            Ok(value) => Some(value),
            Err(fault) if fault.contains("is no member") && self.lists_differ() => None,
            Err(fault) => {
                self.fault(format!("{kind}: {fault}"));
                None
            }
        }
    }

    fn take_datums(&self, request: &Request) -> Answer {
        if self.checked("put datum", strict::put_datum(request)).is_none() {
            return text(500, "caused: see the faults;");
        }
        let lists = parse_datums(&request.body).unwrap();
        let mut state = self.state();
        for (key, list) in lists {
            Self::apply(&mut state, &key, list);
        }
        text(200, "ok")
    }

    /// The checksums of another: what differs is fetched from it, what it owns and does not name
    /// is removed, and one key that is this one's own spoils the whole message.
    fn compare(self: &Arc<Self>, request: &Request) -> Answer {
        let members = self.addresses();
        if self.checked("put checksum", strict::put_checksum(request, &members)).is_none() {
            return text(500, "caused: see the faults;");
        }
        let source = request.parameter("source").unwrap();
        let map: Value = serde_json::from_str(&request.body).unwrap();
        let map = map.as_object().unwrap();
        let mut wanted = Vec::new();
        {
            let mut state = self.state();
            if !state.comparing.insert(source.clone()) {
                return text(200, "ok");
            }
            if let Some(own) = map.keys().find(|key| self.owns(&state, key)) {
                if state.view_changed.elapsed() > self.pace.checksum * 2 {
                    self.fault(format!("{source} sends a checksum of what is ours: {own}"));
                }
                state.comparing.remove(&source);
                return text(200, "ok");
            }
            for (key, sum) in map {
                let held = state.lists.get(key).map(|list| list_checksum(list));
                if held.as_deref() != sum.as_str() {
                    wanted.push(key.clone());
                }
            }
            let is_gone =
                |key: &String| !map.contains_key(key) && self.owner(&state, key) == source;
            let gone: Vec<String> =
                state.lists.keys().filter(|key| is_gone(key)).cloned().collect();
            for key in gone {
                state.lists.remove(&key);
            }
        }
        if !wanted.is_empty() {
            self.pull(&source, &wanted);
        }
        self.state().comparing.remove(&source);
        text(200, "ok")
    }

    fn give_datum(&self, request: &Request) -> Answer {
        if self.checked("get datum", strict::get_datum(request)).is_none() {
            return text(500, "caused: see the faults;");
        }
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let keys: Vec<&str> = body["keys"].as_str().unwrap().split(',').collect();
        let state = self.state();
        let wanted = state.lists.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        (Response { status: 200, body: render_datums(wanted) }, BYTES)
    }

    fn give_datums(&self, request: &Request) -> Answer {
        let members = self.addresses();
        if self.checked("get datums", strict::get_datums(request, &members)).is_none() {
            return text(500, "caused: see the faults;");
        }
        (Response { status: 200, body: render_datums(self.state().lists.iter()) }, BYTES)
    }

    fn take_report(&self, request: &Request) -> Answer {
        let Some(sender) = self.checked("report", strict::report(request)) else {
            return text(500, "caused: see the faults;");
        };
        let is_member = self.state().members.contains_key(&sender);
        self.hear(&sender);
        let data = is_member.to_string();
        json_text(json!({"code": 200, "message": null, "data": data}).to_string())
    }

    pub(super) fn own_member(&self) -> Value {
        let (ip, port) = self.own.split_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        json!({
            "ip": ip, "port": port, "state": "UP",
            "extendInfo": {
                "lastRefreshTime": 1_700_000_000_000_u64,
                "raftMetaData": {"metaDataMap": {"naming_persistent_service": {}}},
                "raftPort": (port - 1_000).to_string(), "version": VERSION,
            },
            "address": self.own, "failAccessCnt": 0,
        })
    }

    /// What another says of the health of what it owns.
    fn take_status(self: &Arc<Self>, request: &Request) -> Answer {
        let members = self.addresses();
        let checked = self.checked("service status", strict::service_status(request, &members));
        let Some((sender, statuses)) = checked else {
            return text(500, "caused: see the faults;");
        };
        let namespace = statuses["namespaceId"].as_str().unwrap();
        for (service, sum) in statuses["serviceName2Checksum"].as_object().unwrap() {
            let key = format!("{KEY_PREFIX}{namespace}##{service}");
            let own = self.state().lists.get(&key).map(|list| service_checksum(service, list));
            if own.is_some_and(|own| *sum != own) {
                let server = Arc::clone(self);
                let (sender, service) = (sender.clone(), format!("{namespace}##{service}"));
                std::thread::spawn(move || server.pull_statuses(&sender, &service));
            }
        }
        text(200, "ok")
    }

    fn give_statuses(&self, request: &Request) -> Answer {
        let members = self.addresses();
        if self.checked("instance statuses", strict::instance_statuses(request, &members)).is_none()
        {
            return text(500, "caused: see the faults;");
        }
        let key = format!("{KEY_PREFIX}{}", request.parameter("key").unwrap_or_default());
        let item = |instance: &Instance| format!("{}_{}", instance.place(), instance.healthy);
        let state = self.state();
        let ips: Vec<String> = state.lists.get(&key).into_iter().flatten().map(item).collect();
        json_text(json!({ "ips": ips }).to_string())
    }
}
