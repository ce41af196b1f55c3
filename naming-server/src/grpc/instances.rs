//! Requests that write: what a client registers over its connection, and persistent instances.
//!
//! A connection has one place in each service. An instance takes it, or a batch; what stood there
//! before goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use distro_core::Key;
use naming_model::{
    DEFAULT_BEAT_INTERVAL_MS, DEFAULT_BEAT_TIMEOUT_MS, DEFAULT_DELETE_TIMEOUT_MS, InstanceKey,
    META_BEAT_INTERVAL, META_BEAT_TIMEOUT, META_DELETE_TIMEOUT, META_ID_GENERATOR, RecordKey,
    ServiceKey,
};

use super::Front;
use super::admit::Admitted;
use super::answer::{Answer, Fields, code};
use super::body::{BatchRequest, InstanceBody, InstanceRequest, MOST_INSTANCES, MOST_METADATA};
use super::connections::Connection;
use super::dispatch::Request;
use super::kind::Kind;
use super::names::{cluster_of, illegal, service_of};
use super::refusal::Refusal;
use crate::naming::{Access, Need};
use crate::registry::{Action, Held, Instance, Metadata, check_address};

/// What a request wants.
const REGISTER: &str = "registerInstance";
const DEREGISTER: &str = "deregisterInstance";
const BATCH: &str = "batchRegisterInstance";

/// An instance of a request, with its names.
struct Wish {
    ip: String,
    port: u16,
    cluster: String,
    instance: Instance,
}

impl Wish {
    fn key(&self) -> InstanceKey<'_> {
        InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster }
    }
}

impl Request<'_> {
    /// One instance takes the place of this connection in a service, or leaves it.
    pub(super) async fn instance(&self) -> Result<Answer, Refusal> {
        let request: InstanceRequest = self.read()?;
        let service = service_of(request.names())?;
        let sender = self.writer_of(&service).await?;
        let wishes = match &*request.action {
            REGISTER => {
                let instance = request.instance.as_ref().ok_or_else(no_instance)?;
                check_times(&instance.metadata.map)?;
                vec![self.held(instance)?]
            }
            // Whatever this connection has there goes: the instance of the request is not compared.
            DEREGISTER => Vec::new(),
            other => return Err(no_such_action(other)),
        };
        self.take_place(&service, wishes, &sender).await?;
        Ok(self.done(&request.action))
    }

    /// Instances take the place of this connection in a service; an empty batch leaves it.
    pub(super) async fn batch(&self) -> Result<Answer, Refusal> {
        let request: BatchRequest = self.read()?;
        let service = service_of(request.names())?;
        let sender = self.writer_of(&service).await?;
        if request.action != BATCH {
            return Err(no_such_action(&request.action));
        }
        let batch = request.instances.as_ref().ok_or_else(no_instance)?;
        if batch.is_too_long {
            let text = format!("a batch has {MOST_INSTANCES} instances at most");
            return Err(illegal("instances", &text));
        }
        let wishes = batch.items.iter().map(|instance| self.held(instance));
        let wishes = wishes.collect::<Result<Vec<_>, _>>()?;
        self.take_place(&service, wishes, &sender).await?;
        Ok(self.done(BATCH))
    }

    /// A persistent instance does not depend on any connection.
    pub(super) async fn persistent(&self) -> Result<Answer, Refusal> {
        let request: InstanceRequest = self.read()?;
        let service = service_of(request.names())?;
        let sender = self.writer_of(&service).await?;
        let body = request.instance.as_ref().ok_or_else(no_instance)?;
        let Wish { ip, port, cluster, instance } = wish(body, None)?;
        let key = InstanceKey { ip: &ip, port, cluster: &cluster };
        let (naming, caller) = (&self.front.naming, self.caller(&sender));
        let write = match &*request.action {
            REGISTER => {
                let instance = instance.into_persistent();
                naming.register(&caller, &service, &key, instance, body.healthy)
            }
            DEREGISTER => naming.deregister(&caller, &service, &RecordKey::persistent(key)),
            other => return Err(no_such_action(other)),
        };
        write.outcome().await?;
        Ok(self.done(&request.action))
    }

    /// The sender, if it may write the service.
    async fn writer_of(&self, service: &ServiceKey) -> Result<Admitted, Refusal> {
        self.admit(Access::Write, &Need::Service(Action::Write, service)).await
    }

    /// Registers what a connection wants to have in a service, and removes what it had there
    /// besides.
    async fn take_place(
        &self,
        service: &ServiceKey,
        wishes: Vec<Wish>,
        sender: &Admitted,
    ) -> Result<(), Refusal> {
        let _writing = self.connection.writing.lock().await;
        if self.connection.is_over() {
            let text = "the connection is over";
            return Err(Refusal::Again(code::UNREGISTERED, text.to_owned()));
        }
        let (front, number) = (self.front, self.connection.number());
        let tag: Arc<str> = service.as_str().into();
        let (mark, caller) = (front.holder.mark_of(number), self.caller(sender));
        front.naming.may_hold(&caller, service)?;
        let mut keys = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let key = RecordKey::ephemeral(wish.key()).text();
            let held =
                front.naming.hold(&caller, service, &wish.key(), wish.instance.clone(), mark);
            // Somebody else may have registered it since: then it is theirs.
            if let Some(registered) = held.outcome().await? {
                let is_foreign = front.registry().is_foreign(service);
                if is_foreign {
                    front.beat_at_owner(number, &tag, Key::from(&*key), &registered.1);
                }
                let place = (Arc::clone(&tag), Key::from(&*key));
                if let Some(action) = front.holder.registered(number, place, registered) {
                    front.carry_out(action, front.now());
                } else if is_foreign {
                    front.holder.note_foreign(number, &(Arc::clone(&tag), Key::from(&*key)));
                }
            }
            keys.push(key);
        }
        keys.sort_unstable();
        let keeps = |key: &str| keys.binary_search_by(|known| known.as_str().cmp(key)).is_ok();
        let others = front.holder.retain(number, &tag, keeps);
        let is_replaced = self.kind == Kind::Instance && !keys.is_empty() && !others.is_empty();
        if is_replaced {
            front.warn_of_replaced(self.connection, service);
        }
        let reason = if is_replaced { ", with another instance" } else { "" };
        front.naming.let_go(&caller, service, (others, mark), reason).outcome().await?;
        Ok(())
    }

    /// An instance that this connection holds.
    fn held(&self, body: &InstanceBody) -> Result<Wish, Refusal> {
        let by = self.front.holder.mark_of(self.connection.number());
        wish(body, Some(Held::new(by, body.healthy)))
    }

    fn done(&self, action: &str) -> Answer {
        self.success(Fields::new().text("type", action))
    }
}

impl Front {
    /// Clients that register several instances of a service one by one keep the last one only. That
    /// is so in Nacos, and mostly a mistake.
    fn warn_of_replaced(&self, connection: &Connection, service: &ServiceKey) {
        let Some(left_out) = self.replaced.lock().line(Instant::now()) else { return };
        tracing::warn!(
            id = connection.id(),
            service = service.as_str(),
            left_out,
            "a connection registers one instance after another: only the last stays, several need a \
             batch"
        );
    }
}

/// What a client wants to be registered: held by its connection, or else persistent.
fn wish(body: &InstanceBody, held: Option<Held>) -> Result<Wish, Refusal> {
    check_address(&body.ip)?;
    let is_ideograph = |c: char| matches!(c, '\u{3000}'..='\u{9fff}' | '\u{20000}'..='\u{323af}');
    if body.ip.contains(is_ideograph) || body.ip.chars().count() > 128 {
        return Err(illegal("ip", "it has ideographs, or more than 128 characters"));
    }
    let Ok(port) = u16::try_from(body.port) else {
        return Err(illegal("port", "the value should be between 0 and 65535"));
    };
    let cluster = cluster_of(&body.cluster_name)?.to_owned();
    if body.metadata.is_too_long {
        let text = format!("its keys and values have more than {MOST_METADATA} characters");
        return Err(illegal("metadata", &text));
    }
    let metadata = metadata_of(&body.metadata.map)?;
    let mut instance = match held {
        Some(held) => {
            let held = held.with_id(&body.instance_id)?;
            let (held, weight) = held.with_weight(body.weight)?;
            let mut instance = Instance::new(weight, metadata)?;
            instance.held = Some(Box::new(held));
            instance
        }
        None => Instance::new(body.weight, metadata)?,
    };
    instance.enabled = body.enabled;
    Ok(Wish { ip: body.ip.clone(), port, cluster, instance })
}

fn metadata_of(map: &BTreeMap<String, String>) -> Result<Metadata, Refusal> {
    /// As JSON: each character takes 6 bytes at most, and each pair 6 besides.
    const MOST_BYTES: usize = 16 * MOST_METADATA;
    let generator = map.get(META_ID_GENERATOR).map_or("", String::as_str);
    if !["", "simple", "snowflake"].iter().any(|known| generator.eq_ignore_ascii_case(known)) {
        return Err(illegal(META_ID_GENERATOR, "it is neither simple nor snowflake"));
    }
    Ok(Metadata::new(map, MOST_BYTES)?)
}

/// An instance that beats so seldom would be gone between two beats. A batch is not looked at, as
/// in Nacos.
fn check_times(metadata: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let given = |name, default| match metadata.get(name).map(|text| text.parse::<u64>()) {
        Some(Ok(value)) => value,
        _ => default,
    };
    let interval = given(META_BEAT_INTERVAL, DEFAULT_BEAT_INTERVAL_MS);
    let time_outs = [
        (META_BEAT_TIMEOUT, DEFAULT_BEAT_TIMEOUT_MS),
        (META_DELETE_TIMEOUT, DEFAULT_DELETE_TIMEOUT_MS),
    ];
    for (name, default) in time_outs {
        if interval > given(name, default) {
            let text = format!("it is below {META_BEAT_INTERVAL}");
            return Err(illegal(name, &text));
        }
    }
    Ok(())
}

fn no_instance() -> Refusal {
    illegal("instance", "it is missing")
}

fn no_such_action(action: &str) -> Refusal {
    let action = crate::text::cut(action, 100);
    Refusal::bad_request(format!("Unsupported request type {action}"))
}
