//! What it does by itself: lists to others, comparisons, reports, health, expiry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::data::{
    Instance, KEY_PREFIX, list_checksum, now_ms, parse_datums, render_datums, service_checksum,
    split_key,
};
use super::http::{Request, Response};
use super::{Inner, LIBRARY, TICK, VERSION};

const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Of a report: what takes longer counts as a failure.
const REPORT_DEADLINE: Duration = Duration::from_millis(2_500);

fn json_call(method: &str, target: impl Into<String>, body: String) -> Request {
    Request::new(method, target)
        .header("Accept-Charset", "UTF-8")
        .header("Accept-Encoding", "gzip")
        .header("Content-Type", "application/json;charset=UTF-8")
        .body(body)
}

fn as_server(request: Request) -> Request {
    request.header("User-Agent", &format!("Nacos-Server:{VERSION}"))
}

impl Inner {
    /// With the header by which servers know each other.
    pub(super) fn identified(&self, request: Request) -> Request {
        match &self.auth {
            Some(auth) => request.header(&auth.identity.0, &auth.identity.1),
            None => request,
        }
    }

    /// Headers of the calls that have their parameters in the query.
    fn query_call(&self, target: String) -> Request {
        self.identified(as_server(Request::new("GET", target)))
            .header("Accept-Encoding", "gzip,deflate,sdch")
            .header("Client-Version", VERSION)
            .header("Content-Encoding", "gzip")
            .header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
            .header("Request-Source", &self.own)
    }

    /// Takes the lists of the first member that answers.
    pub(super) fn load(&self) {
        let others: Vec<String> = self.state().members.keys().cloned().collect();
        for other in others {
            let target = "/nacos/v1/ns/distro/datums?encoding=UTF-8&nofix=1";
            let Ok(Response { status: 200, body }) =
                self.query_call(target.to_owned()).send(&other, CALL_DEADLINE)
            else {
                continue;
            };
            match parse_datums(&body) {
                Ok(lists) => self.state().lists.extend(lists),
                Err(fault) => self.fault(format!("datums of {other}: {fault}")),
            }
            return;
        }
    }

    pub(super) fn run(self: Arc<Self>) {
        let pace = self.pace;
        let mut next = [pace.checksum, pace.report, pace.status, pace.judge]
            .map(|period| Instant::now() + period);
        let mut round = 0_usize;
        while !self.has_ended() {
            thread::sleep(TICK);
            let now = Instant::now();
            let mut is_due = |index: usize, period: Duration| {
                let due = next[index] <= now;
                if due {
                    next[index] = now + period;
                }
                due
            };
            self.watch_list(now);
            self.send_lists(now);
            if is_due(0, pace.checksum) {
                self.for_each_member(Self::send_checksums);
            }
            if is_due(1, pace.report) {
                let others: Vec<String> = self.state().members.keys().cloned().collect();
                if others.is_empty() {
                    continue;
                }
                round += 1;
                let (server, target) = (Arc::clone(&self), others[round % others.len()].clone());
                thread::spawn(move || server.send_report(&target));
            }
            if is_due(2, pace.status) {
                self.for_each_member(Self::send_statuses);
            }
            if is_due(3, pace.judge) {
                self.judge();
            }
        }
    }

    fn for_each_member(self: &Arc<Self>, call: fn(&Self, &str)) {
        let others: Vec<String> = self.state().members.keys().cloned().collect();
        for other in others {
            let server = Arc::clone(self);
            thread::spawn(move || {
                if !server.has_ended() {
                    call(&server, &other);
                }
            });
        }
    }

    /// The lists that are due, for each member in one message.
    fn send_lists(self: &Arc<Self>, now: Instant) {
        let mut batches: BTreeMap<String, Vec<String>> = BTreeMap::new();
        self.state().due.retain(|(target, key), due| {
            if *due <= now {
                batches.entry(target.clone()).or_default().push(key.clone());
            }
            *due > now
        });
        for (target, keys) in batches {
            let server = Arc::clone(self);
            thread::spawn(move || server.send_list(&target, &keys));
        }
    }

    fn send_list(&self, target: &str, keys: &[String]) {
        let body = {
            let state = self.state();
            let is_told = |key: &String| keys.contains(key) && !state.muted.contains(key);
            let lists: Vec<_> = state.lists.iter().filter(|(key, _)| is_told(key)).collect();
            if lists.is_empty() || self.has_ended() {
                return;
            }
            render_datums(lists.into_iter())
        };
        let request = as_server(json_call("PUT", "/nacos/v1/ns/distro/datum", body))
            .header("Accept-Encoding", "gzip,deflate,sdch")
            .header("Client-Version", VERSION)
            // It is not: the body is plain.
            .header("Content-Encoding", "gzip");
        let answer = self.identified(request).send(target, CALL_DEADLINE);
        if matches!(&answer, Ok(answer) if answer.status == 200) {
            return;
        }
        if let Ok(refusal) = answer {
            self.refused(format!("{target} refuses lists: {refusal:?}"));
        }
        let due = Instant::now() + self.pace.put_retry;
        let mut state = self.state();
        for key in keys {
            state.due.entry((target.to_owned(), key.clone())).or_insert(due);
        }
    }

    fn send_checksums(&self, target: &str) {
        let map: BTreeMap<String, String> = {
            let state = self.state();
            let owned = state.lists.iter().filter(|(key, _)| self.owns(&state, key));
            owned.map(|(key, list)| (key.clone(), list_checksum(list))).collect()
        };
        // Java says nothing if it owns nothing.
        if map.is_empty() {
            return;
        }
        let path = format!("/nacos/v1/ns/distro/checksum?source={}", self.own);
        let request = as_server(json_call("PUT", path, json!(map).to_string()))
            .header("Client-Version", VERSION);
        if let Ok(answer) = self.identified(request).send(target, CALL_DEADLINE)
            && (answer.status, &*answer.body) != (200, "ok")
        {
            self.refused(format!("{target} answers checksums: {answer:?}"));
        }
    }

    /// Fetches lists from who sent other checksums.
    pub(super) fn pull(&self, source: &str, keys: &[String]) {
        let body = json!({ "keys": keys.join(",") }).to_string();
        let request = json_call("GET", "/nacos/v1/ns/distro/datum", body)
            .header("User-Agent", "Apache-HttpClient/4.5.14 (Java/17.0.15)");
        let Ok(answer) = self.identified(request).send(source, CALL_DEADLINE) else { return };
        match parse_datums(&answer.body) {
            Ok(lists) if answer.status == 200 => {
                let mut state = self.state();
                for (key, list) in lists {
                    Self::apply(&mut state, &key, list);
                }
            }
            _ => self.refused(format!("{source} answers a pull: {answer:?}")),
        }
    }

    fn send_report(&self, target: &str) {
        let request =
            json_call("POST", "/nacos/v1/core/cluster/report", self.own_member().to_string())
                .header("Nacos-Server", VERSION)
                .header("User-Agent", LIBRARY);
        if self.has_ended() {
            return;
        }
        match self.identified(request).send(target, REPORT_DEADLINE) {
            // Too old, says Java, and changes nothing.
            Ok(Response { status: 404 | 501, .. }) => {}
            Ok(answer) => {
                let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let is_good =
                    answer.status == 200 && matches!(body["code"].as_i64(), Some(0 | 200));
                self.see(target, if is_good { Ok(()) } else { Err("refused by an answer") });
            }
            Err(error) => self.see(target, Err(&error)),
        }
    }

    fn send_statuses(&self, target: &str) {
        let map: BTreeMap<String, String> = {
            let state = self.state();
            let is_told = |key: &str| key.starts_with(&format!("{KEY_PREFIX}public##"));
            let owned =
                state.lists.iter().filter(|(key, _)| self.owns(&state, key) && is_told(key));
            let entry = |(key, list): (&String, &Vec<Instance>)| {
                let (_, service) = split_key(key).unwrap();
                (service.to_owned(), service_checksum(service, list))
            };
            owned.map(entry).collect()
        };
        let statuses = json!({"namespaceId": "public", "serviceName2Checksum": map}).to_string();
        let body = json!({"clientIP": self.own, "statuses": statuses}).to_string();
        let request = as_server(json_call("POST", "/nacos/v1/ns/service/status", body));
        if let Ok(answer) = self.identified(request).send(target, CALL_DEADLINE)
            && (answer.status, &*answer.body) != (200, "ok")
        {
            self.refused(format!("{target} answers statuses: {answer:?}"));
        }
    }

    /// Takes the health of a service from who owns it; what it does not name is unhealthy.
    pub(super) fn pull_statuses(&self, source: &str, service: &str) {
        let query = super::http::encode(service);
        let target = format!("/nacos/v1/ns/instance/statuses?key={query}&encoding=UTF-8&nofix=1");
        let Ok(answer) = self.query_call(target).send(source, CALL_DEADLINE) else { return };
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(ips) = body["ips"].as_array().filter(|_| answer.status == 200) else {
            return self.refused(format!("{source} answers a pull of health: {answer:?}"));
        };
        let healthy: Vec<&str> = ips
            .iter()
            .filter_map(|item| item.as_str()?.rsplit_once('_'))
            .filter_map(|(place, healthy)| (healthy == "true").then_some(place))
            .collect();
        let mut state = self.state();
        if let Some(list) = state.lists.get_mut(&format!("{KEY_PREFIX}{service}")) {
            for instance in list {
                instance.healthy = healthy.contains(&&*instance.place());
            }
        }
    }

    /// Gives up what does not beat, of what it owns. A new owner knows only the beats that came
    /// with lists, so that it condemns the living.
    fn judge(&self) {
        let mut state = self.state();
        if !state.judges_beats {
            return;
        }
        let keys: Vec<String> =
            state.lists.keys().filter(|key| self.owns(&state, key)).cloned().collect();
        for key in keys {
            let list = state.lists.get_mut(&key).unwrap();
            let before = list.len();
            list.retain_mut(|instance| {
                let age = Duration::from_millis(now_ms().saturating_sub(instance.last_beat_ms));
                if age > instance.timeout("preserved.heart.beat.timeout", 15_000) {
                    instance.healthy = false;
                }
                age <= instance.timeout("preserved.ip.delete.timeout", 30_000)
            });
            if list.len() < before {
                self.changed(&mut state, &key);
            }
        }
    }
}
