//! Writes that were kept here although a Java server owns the service, because views differed or
//! it was silent: it is told later, or its next checksum would take them back.

use std::collections::BTreeMap;
use std::time::Duration;

use distro_core::Tick;
use hyper::{HeaderMap, Method, StatusCode};
use naming_http::Form;
use naming_model::{RecordKey, ServiceKey};
use serde_json::{Value, json};

use super::{Adapter, Owner};
use crate::nacos::PeerInstance;
use crate::nacos::caller::Redirect;
use crate::nacos::wire::CallError;
use crate::registry::push_string;

/// From a write, or a try, to the next try.
const RETAIN_DELAY: Duration = Duration::from_millis(700);
/// How often the owner is tried. Views are the same again long before.
const MOST_TRIES: u32 = 60;
/// Writes that wait at most. Further ones are kept here until the owner says otherwise, and come
/// again with the beats of their clients.
const MOST_RETAINED: usize = 10_000;

/// An instance whose owner has to be told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RetainedWrite {
    /// Its service.
    pub(crate) service: ServiceKey,
    /// Its key.
    pub(crate) id: String,
}

/// The writes that wait, each instance once.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    waiting: BTreeMap<RetainedWrite, (Tick, u32)>,
}

impl Retained {
    fn add(&mut self, write: RetainedWrite, due: Tick, tries: u32) {
        if self.waiting.len() < MOST_RETAINED || self.waiting.contains_key(&write) {
            self.waiting.insert(write, (due, tries));
        }
    }

    fn take_due(&mut self, now: Tick) -> Vec<(RetainedWrite, u32)> {
        let due = self.waiting.extract_if(.., |_, (due, _)| *due <= now);
        due.map(|(write, (_, tries))| (write, tries)).collect()
    }
}

impl Adapter {
    /// Has the owner of a service told of an instance, what there is of it then.
    pub(crate) fn retain(&self, write: RetainedWrite) {
        self.retained.lock().add(write, self.now().after(RETAIN_DELAY), 0);
    }

    /// The same, at once if the owner listens.
    pub(crate) async fn tell(&self, write: RetainedWrite) {
        if !self.tell_owner(&write).await {
            self.retain(write);
        }
    }

    pub(super) async fn redirect_retained(&self) {
        loop {
            tokio::time::sleep(RETAIN_DELAY / 2).await;
            let due = self.retained.lock().take_due(self.now());
            for (write, tries) in due {
                let told = self.tell_owner(&write).await;
                if !told && tries < MOST_TRIES {
                    let due = self.now().after(RETAIN_DELAY);
                    self.retained.lock().add(write, due, tries + 1);
                }
            }
        }
    }

    /// Returns whether there is nothing left to be told.
    async fn tell_owner(&self, RetainedWrite { service, id }: &RetainedWrite) -> bool {
        let Owner::Foreign(owner) = self.owner(service) else { return true };
        match self.find_held(service, id) {
            Some(held) => self.register_at(&owner, service, &held).await.is_ok(),
            None => self.deregister_at(&owner, service, id).await.is_ok(),
        }
    }

    /// An instance as it is held here.
    fn find_held(&self, service: &ServiceKey, id: &str) -> Option<PeerInstance> {
        let key = RecordKey::parse(id)?.instance;
        let is_it = |held: &PeerInstance| {
            held.ip == key.ip && held.port == i32::from(key.port) && held.cluster == key.cluster
        };
        self.registry.peer_list(service).into_iter().find(is_it)
    }

    /// Registers with its owner an instance that is held here and that it does not know. Returns
    /// whether there was one.
    pub(crate) async fn register_held(&self, owner: &str, service: &ServiceKey, id: &str) -> bool {
        let Some(held) = self.find_held(service, id) else { return false };
        if let Err(error) = self.register_at(owner, service, &held).await {
            tracing::debug!(
                service = service.as_str(), id, %error,
                "the Java owner does not take an instance back"
            );
            self.retain(RetainedWrite { service: service.clone(), id: id.to_owned() });
        }
        true
    }

    /// Passes on a beat of an instance that is held here. It says all that a registration says: an
    /// owner that has lost the instance takes it from the beat.
    pub(crate) async fn beat_held(&self, service: &ServiceKey, id: &str) {
        let Owner::Foreign(owner) = self.owner(service) else { return };
        let Some(held) = self.find_held(service, id) else { return };
        let beat = beat_of(service, &held).to_string();
        let port = held.port.to_string();
        let parameters = [("ip", &*held.ip), ("port", &port), ("beat", &beat)];
        let path = "/v1/ns/instance/beat";
        if let Err(error) = self.write_to(&owner, Method::PUT, path, service, &parameters).await {
            tracing::debug!(
                %owner, service = service.as_str(), id, %error,
                "the Java owner did not take a beat"
            );
            if error == CallError::Refused {
                self.is_gone(&owner);
            }
        }
    }

    async fn register_at(
        &self,
        owner: &str,
        service: &ServiceKey,
        held: &PeerInstance,
    ) -> Result<(), CallError> {
        let mut metadata = String::from("{");
        for (n, (key, value)) in held.metadata.iter().flatten().enumerate() {
            if n > 0 {
                metadata.push(',');
            }
            push_string(&mut metadata, key);
            metadata.push(':');
            push_string(&mut metadata, value);
        }
        metadata.push('}');
        let (enabled, weight) = (held.enabled.to_string(), format!("{:?}", held.weight));
        let mut parameters = vec![
            ("weight", &*weight),
            ("enable", &enabled),
            ("enabled", &enabled),
            ("healthy", "true"),
            ("ephemeral", "true"),
            ("metadata", &metadata),
        ];
        if let Some(app) = &held.app {
            parameters.push(("app", app));
        }
        let port = held.port.to_string();
        let names = [("ip", &*held.ip), ("port", &port), ("clusterName", &held.cluster)];
        parameters.extend(names);
        self.write_at(owner, Method::POST, service, &parameters).await
    }

    async fn deregister_at(
        &self,
        owner: &str,
        service: &ServiceKey,
        id: &str,
    ) -> Result<(), CallError> {
        let Some(RecordKey { instance, .. }) = RecordKey::parse(id) else { return Ok(()) };
        let port = instance.port.to_string();
        let parameters = [
            ("ip", instance.ip),
            ("port", &port),
            ("clusterName", instance.cluster),
            ("ephemeral", "true"),
        ];
        self.write_at(owner, Method::DELETE, service, &parameters).await
    }

    async fn write_at(
        &self,
        owner: &str,
        method: Method,
        service: &ServiceKey,
        parameters: &[(&str, &str)],
    ) -> Result<(), CallError> {
        self.write_to(owner, method, "/v1/ns/instance", service, parameters).await
    }

    async fn write_to(
        &self,
        owner: &str,
        method: Method,
        path: &str,
        service: &ServiceKey,
        parameters: &[(&str, &str)],
    ) -> Result<(), CallError> {
        let of_service = [("namespaceId", service.namespace()), ("serviceName", service.grouped())];
        let query = Form::of(parameters).and(&of_service).into();
        let uri = self.caller.path(path);
        let redirect =
            Redirect { method, uri, query, headers: HeaderMap::new(), is_vouched_for: true };
        match self.caller.redirect(owner, &redirect).await? {
            (StatusCode::OK, _) => Ok(()),
            (status, body) => {
                Err(CallError::Status { status, text: String::from_utf8_lossy(&body).into_owned() })
            }
        }
    }
}

/// A beat as clients of Java 1.x send it.
fn beat_of(service: &ServiceKey, held: &PeerInstance) -> Value {
    let metadata: BTreeMap<&String, &String> = held.metadata.iter().flatten().collect();
    json!({
        "cluster": held.cluster, "ip": held.ip, "metadata": metadata, "port": held.port,
        "scheduled": false, "serviceName": service.grouped(), "weight": held.weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: usize) -> RetainedWrite {
        let service = ServiceKey::parse("public", "g@@s").unwrap();
        RetainedWrite { service, id: format!("10.0.0.1#{number}#DEFAULT") }
    }

    #[test]
    fn each_instance_waits_once_and_no_more_than_the_limit_do() {
        let mut retained = Retained::default();
        let at = Tick::from_ms;
        retained.add(write(1), at(10), 3);
        retained.add(write(1), at(20), 0);
        assert!(retained.take_due(at(10)).is_empty());
        assert_eq!(retained.take_due(at(20)), [(write(1), 0)]);
        (0..MOST_RETAINED + 5).for_each(|number| retained.add(write(number), at(0), 0));
        assert_eq!(retained.waiting.len(), MOST_RETAINED);
        assert_eq!(retained.take_due(at(0)).len(), MOST_RETAINED);
    }
}
