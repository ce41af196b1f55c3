//! Writes that another member carries out because it owns the service.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{DATUM_KEY, Health, Operation, Stamp};
use naming_model::{RecordKey, ServiceKey};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::operator_values::PlannedValues;
use super::plan::{Known, Planned};
use super::writes::{check_service, number_of};
use super::{
    BeatAnswer, BeatOutcome, Content, EventKind, Instance, OperatorValues, Patched, Registry,
    RegistryError, ServiceSettings,
};

/// For how long a change is worked out anew because others changed the same thing meanwhile.
const TRY_WITHIN: Duration = Duration::from_secs(3);
/// The longest pause before the next try.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Writes at the owner of one service, which is another member.
pub(super) struct AtOwner {
    pub(super) registry: Arc<Registry>,
    pub(super) cluster: Arc<Cluster>,
}

/// Which instance a write is about.
pub(super) struct InstanceId {
    pub(super) service: ServiceKey,
    pub(super) id: String,
}

impl InstanceId {
    pub(super) fn new(service: &ServiceKey, key: &RecordKey<'_>) -> Self {
        Self { service: service.clone(), id: key.text() }
    }
}

impl AtOwner {
    pub(super) async fn register(
        self,
        target: InstanceId,
        instance: Instance,
        healthy: bool,
        actor: String,
    ) -> Result<(), RegistryError> {
        // Issued before anything is looked at. No lock holds off what an operator sets meanwhile
        // through this member, as it does at the owner; that gets a newer stamp, and stays.
        let stamp = self.issue()?;
        let kept = self.registry.kept_values(&target.service, &target.id, &instance);
        let known = self.registry.find_instance(&target.service, &target.id);
        let known = Known {
            instance: known.as_ref().map(|known| (&known.instance, known.health)),
            kept: kept.as_ref(),
            has_service: self.registry.find(&target.service).is_some(),
            is_removable: self.registry.has_room_to_remove_at(&target.service, &target.id),
        };
        let key = (target.service.as_str(), &*target.id);
        let number = || number_of(stamp);
        let planned = self.registry.plan_registration(key, &known, instance, healthy, number)?;
        let Planned { instance, health, kind } = planned;
        self.cluster.write(Self::registration(&target, stamp, instance, health)).await;
        if let Some(kind) = kind {
            self.registry.note(&target.service, &target.id, kind, &|| actor.clone());
        }
        Ok(())
    }

    pub(super) async fn patch(
        self,
        kind: EventKind,
        target: InstanceId,
        actor: String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), RegistryError> + Send,
    ) -> Result<Patched, RegistryError> {
        let mut tries = Tries::begin();
        while tries.next().await {
            let Some(known) = self.registry.find_instance(&target.service, &target.id) else {
                return Ok(Patched::NotFound);
            };
            let before = (&known.instance, known.health);
            let Planned { instance, health, .. } =
                self.registry.plan_patch(before, kind, &change)?;
            let register = Self::registration(&target, self.issue()?, instance, health);
            if self.cluster.write(register.expecting(known.written)).await.is_applied {
                self.registry.note(&target.service, &target.id, kind, &|| actor.clone());
                return Ok(Patched::Done);
            }
        }
        Err(contended())
    }

    pub(super) async fn deregister(
        self,
        target: InstanceId,
        actor: String,
    ) -> Result<(), RegistryError> {
        let was_known = self.registry.find_instance(&target.service, &target.id).is_some();
        let (tag, key) = (target.service.as_str(), target.id.as_str());
        self.cluster.write(Operation::deregister(tag, key, self.issue()?)).await;
        if was_known {
            let actor = || actor.clone();
            self.registry.note(&target.service, &target.id, EventKind::Deregistered, &actor);
        }
        Ok(())
    }

    /// Has the owner take a beat that is unknown here. `None` if it is unknown there, too.
    ///
    /// # Errors
    /// `NotReady` while this member does not know enough to say so.
    pub(super) async fn hear(
        self,
        target: InstanceId,
    ) -> Result<Option<BeatAnswer>, RegistryError> {
        let hear = Operation::hear(target.service.as_str(), target.id.as_str());
        let written = self.cluster.write(hear).await;
        if let Some(record) = written.record.as_ref().filter(|record| record.is_visible())
            && let Some(Content::Instance(instance)) = record.value.as_deref()
        {
            self.registry.beats.count(BeatOutcome::Known);
            return Ok(Some(BeatAnswer::Known { interval_ms: instance.beat_interval_ms() }));
        }
        // What the owner remembers of it is known here, too, by now.
        if let Some((answer, _)) = self.registry.hear(&target.service, &target.id) {
            return Ok(Some(answer));
        }
        match self.cluster.may_judge_unknown(self.registry.clock.tick()) {
            true => Ok(None),
            false => Err(not_yet_known()),
        }
    }

    pub(super) async fn change_settings(
        self,
        service: ServiceKey,
        change: impl Fn(Option<&ServiceSettings>) -> Result<ServiceSettings, RegistryError> + Send,
    ) -> Result<(), RegistryError> {
        check_service(&service)?;
        let mut tries = Tries::begin();
        while tries.next().await {
            let (known, written) = self.registry.find_settings(&service);
            let value = self.registry.plan_settings(&service, known.as_deref(), &change)?;
            let tag = service.as_str();
            let register =
                Operation::register(tag, DATUM_KEY, self.issue()?, value, Health::Healthy);
            let register = register.expecting(written);
            if self.cluster.write(register).await.is_applied {
                return Ok(());
            }
        }
        Err(contended())
    }

    pub(super) async fn change_operator_values(
        self,
        target: InstanceId,
        change: impl Fn(OperatorValues) -> OperatorValues + Send,
    ) -> Result<(), RegistryError> {
        let InstanceId { service, id } = target;
        let (tag, key) = (service.as_str(), RecordKey::operator_text(&id));
        let mut tries = Tries::begin();
        while tries.next().await {
            let found = self.registry.find_operator_values(&service, &id);
            let known = found.as_ref().map(|(values, _)| values);
            let values = match self.registry.plan_values((tag, &key), known, &change)? {
                PlannedValues::Same => return Ok(()),
                PlannedValues::Removed => {
                    self.cluster.write(Operation::deregister(tag, key, self.issue()?)).await;
                    return Ok(());
                }
                PlannedValues::Kept(values) => values,
            };
            let written = found.map(|(_, written)| written);
            let value = Arc::new(Content::Operator(Box::new(values)));
            let register = Operation::register(tag, &*key, self.issue()?, value, Health::Healthy);
            let register = register.expecting(written.unwrap_or(Stamp::NEVER));
            if self.cluster.write(register).await.is_applied {
                return Ok(());
            }
        }
        Err(contended())
    }

    pub(super) async fn write_record(
        self,
        tag: String,
        key: String,
        content: Option<Content>,
    ) -> Result<(), RegistryError> {
        let stamp = self.issue()?;
        self.cluster
            .write(match content {
                Some(content) => {
                    Operation::register(tag, key, stamp, Arc::new(content), Health::Healthy)
                }
                None => Operation::deregister(tag, key, stamp),
            })
            .await;
        Ok(())
    }

    pub(super) async fn delete_service(
        self,
        service: ServiceKey,
        actor: String,
    ) -> Result<bool, RegistryError> {
        let Some(instances) = self.registry.instances_of(&service) else { return Ok(false) };
        self.cluster.write(Operation::close(service.as_str(), self.issue()?)).await;
        for id in &instances {
            self.registry.note(&service, id, EventKind::ServiceDeleted, &|| actor.clone());
        }
        Ok(true)
    }

    fn registration(
        target: &InstanceId,
        stamp: Stamp,
        instance: Instance,
        health: Health,
    ) -> Operation<Content> {
        let value = Arc::new(Content::Instance(instance));
        Operation::register(target.service.as_str(), target.id.as_str(), stamp, value, health)
    }

    /// # Errors
    /// `NotReady` if this process was stopped: see [`Cluster::check_awake`].
    fn issue(&self) -> Result<Stamp, RegistryError> {
        let now = self.registry.clock.tick();
        self.cluster.check_awake(now)?;
        Ok(self.registry.store.clock().issue(now))
    }
}

/// The tries of one change.
struct Tries {
    until: Instant,
    pause: Option<Duration>,
}

impl Tries {
    fn begin() -> Self {
        Self { until: Instant::now() + TRY_WITHIN, pause: None }
    }

    /// Waits a little longer each time, but for the first; false when it is enough.
    async fn next(&mut self) -> bool {
        match self.pause {
            None => self.pause = Some(Duration::from_millis(1)),
            Some(pause) => {
                tokio::time::sleep(pause).await;
                self.pause = Some((pause * 2).min(LONGEST_PAUSE));
            }
        }
        Instant::now() < self.until
    }
}

fn contended() -> RegistryError {
    RegistryError::Contended("others change this at the same time, please try again".to_owned())
}

pub(super) fn not_yet_known() -> RegistryError {
    RegistryError::NotReady(
        "this server does not know yet which instances there are, try another".to_owned(),
    )
}
