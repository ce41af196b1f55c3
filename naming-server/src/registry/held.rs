//! What a client says of an instance that it registers over a connection and keeps by that.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Health, Key, LeaseTerms, Operation, Stamp, Tick, apply};
use naming_model::{MAX_WEIGHT, RecordKey, ServiceKey};

use super::{Content, EventKind, Instance, Registry, RegistryError, Writes};

/// Least silence that makes an instance unhealthy, and that removes it, if a connection holds it.
const LEAST_HELD_MS: (u32, u32) = (15_000, 30_000);
/// Bytes of an id that a client chooses.
pub(super) const MAX_CHOSEN_ID: usize = 512;

/// That an instance is held by a connection: no beats come, and the end of the connection is its
/// end. What its client declares beyond what beats know stands here, too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    /// Which connection it is. No two connections have the same, on whatever member.
    pub(crate) by: u64,
    /// Whether the client calls it unhealthy. It stays so while the connection lives: judging it
    /// by silence is another thing.
    pub(crate) is_unhealthy: bool,
    /// The weight, if it is none that beats may have; shown to clients on connections.
    pub(super) weight: Option<f64>,
    /// The id, if the client chose one; shown to clients on connections.
    pub(super) id: Option<Box<str>>,
}

impl Held {
    /// Held by this connection, healthy or not.
    pub(crate) fn new(by: u64, healthy: bool) -> Self {
        Self { by, is_unhealthy: !healthy, weight: None, id: None }
    }

    /// With this id, if it is none that the server would make: empty means that.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn with_id(self, id: &str) -> Result<Self, RegistryError> {
        if id.len() > MAX_CHOSEN_ID {
            let reason = format!("it is longer than {MAX_CHOSEN_ID} bytes");
            return Err(RegistryError::illegal("instanceId", reason));
        }
        let id = (!id.is_empty()).then(|| id.into());
        Ok(Self { id, ..self })
    }

    /// With this weight, and the weight that the others get to see.
    ///
    /// # Errors
    /// It is no number.
    pub(crate) fn with_weight(self, weight: f64) -> Result<(Self, f64), RegistryError> {
        if !weight.is_finite() {
            return Err(RegistryError::illegal("weight", "it is no number"));
        }
        let shown = weight.clamp(0.0, MAX_WEIGHT);
        let exact = (shown != weight).then_some(weight);
        Ok((Self { weight: exact, ..self }, shown))
    }

    /// About how many bytes it is encoded.
    pub(super) fn encoded_bytes(&self) -> usize {
        const FIXED: usize = 24;
        FIXED + self.id.as_ref().map_or(0, |id| id.len())
    }

    /// The same under another weight, which an operator has set.
    pub(super) fn without_weight(&self) -> Self {
        Self { weight: None, ..self.clone() }
    }

    /// Whether two look alike, whichever connections hold them; an instance that nobody holds looks
    /// like one of which nothing is declared.
    pub(super) fn shows_like(one: Option<&Self>, other: Option<&Self>) -> bool {
        let shown = |held: Option<&Self>| match held {
            Some(Self { is_unhealthy, weight, id, .. }) => (*is_unhealthy, *weight, id.clone()),
            None => (false, None, None),
        };
        match (one, other) {
            (None, None) => true,
            _ => shown(one) == shown(other),
        }
    }
}

impl Instance {
    /// When silence counts, if it does.
    pub(crate) fn lease(&self) -> Option<LeaseTerms> {
        let (mut unhealthy_ms, mut expire_ms) = self.time_outs_ms();
        if self.held.is_some() {
            // No beats come. Whoever holds it renews it every few seconds, however short its
            // client wants the time-outs of beats to be.
            unhealthy_ms = unhealthy_ms.max(LEAST_HELD_MS.0);
            expire_ms = expire_ms.max(LEAST_HELD_MS.1);
        }
        (!self.is_persistent).then(|| LeaseTerms {
            unhealthy_after: Duration::from_millis(u64::from(unhealthy_ms)),
            expire_after: Duration::from_millis(u64::from(expire_ms)),
        })
    }

    /// Whether subscribers see no difference.
    pub(super) fn shows_like(&self, other: &Self) -> bool {
        let Self { weight, metadata, id, app, enabled, is_persistent, held, times } = self;
        (*weight, *enabled, *is_persistent) == (other.weight, other.enabled, other.is_persistent)
            && (metadata, id, app, times) == (&other.metadata, &other.id, &other.app, &other.times)
            && Held::shows_like(held.as_deref(), other.held.as_deref())
    }

    /// An operator has changed what was `known`: whoever holds that goes on holding it.
    pub(crate) fn keep_held(&mut self, known: &Self) {
        self.held = known.held.as_deref().map(|held| match self.weight == known.weight {
            true => Box::new(held.clone()),
            false => Box::new(held.without_weight()),
        });
    }

    /// Sets the weight that an operator wants, whatever the client declares.
    pub(super) fn set_operator_weight(&mut self, weight: f64) {
        self.weight = weight;
        if let Some(held) = &mut self.held {
            **held = held.without_weight();
        }
    }

    /// Whether its client calls it unhealthy.
    pub(super) fn is_declared_unhealthy(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_unhealthy)
    }
}

impl Registry {
    /// Whether a connection holds an instance.
    pub(crate) fn is_held(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        let known = self.find_instance(service, &key.text());
        known.is_some_and(|known| known.instance.held.is_some())
    }

    /// Whether what an operator sets of the instance with this key outlasts its registrations.
    pub(crate) fn keeps_values_at(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        self.settings.keep_operator_values || self.is_held(service, key)
    }

    /// An operator writes an instance anew: whoever holds it goes on holding it.
    pub(crate) fn keep_held(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        instance: &mut Instance,
    ) {
        if let Some(known) = self.find_instance(service, &key.text()) {
            instance.keep_held(&known.instance);
        }
    }

    /// The registration of an instance that a connection holds, and which.
    pub(crate) fn mark_of(&self, tag: &str, key: &str) -> Option<(Stamp, u64)> {
        self.store.find(tag)?.read(|reader| {
            let (record, content) = reader.find_visible(key)?;
            let Content::Instance(instance) = &**content else { return None };
            Some((record.registration, instance.held.as_ref()?.by))
        })
    }

    /// Removes an instance for the client whose connection holds it, as of this registration, or of
    /// one that an operator has made of it since.
    pub(crate) fn retract(
        &self,
        service: &ServiceKey,
        key: &str,
        (registration, by): (Stamp, u64),
        now: Tick,
        actor: &dyn Fn() -> String,
    ) {
        let tag = service.as_str();
        let last = self.mark_of(tag, key).filter(|(_, mark)| *mark == by);
        let registration = last.map_or(registration, |(last, _)| last);
        if self.store.retract(tag, key, registration, now) {
            self.note(service, key, EventKind::Deregistered, actor);
        }
    }

    /// Notes that an instance has gone with its connection.
    pub(crate) fn note_lapse(&self, service: &ServiceKey, key: &str) {
        self.note(service, key, EventKind::Lapsed, &String::new);
    }

    /// The registration of an instance that this connection holds, and what was registered. `None`
    /// if it is not there, or somebody else has registered it since.
    pub(crate) fn held_registration(
        &self,
        tag: &str,
        key: &str,
        by: u64,
    ) -> Option<(Stamp, Arc<Content>)> {
        self.store.find(tag)?.read(|reader| {
            let (record, content) = reader.find_visible(key)?;
            let Content::Instance(instance) = &**content else { return None };
            let is_it = instance.held.as_ref().is_some_and(|held| held.by == by);
            // A Java owner keeps no such mark.
            (is_it || self.store.is_foreign(tag))
                .then(|| (record.registration, Arc::clone(content)))
        })
    }
}

impl Writes {
    /// Registers once more what a living connection holds, and what readers do not see any more.
    /// The stamp of the registration; `None` if somebody else was faster.
    pub(crate) async fn register_anew(
        &self,
        tag: &str,
        key: &Key,
        value: Arc<Content>,
    ) -> Option<Stamp> {
        let registry = self.registry();
        let now = registry.clock.tick();
        let stamp = registry.store.clock().issue(now);
        let operation = Operation::register(tag, key.clone(), stamp, value, Health::Healthy)
            .expecting(Stamp::NEVER);
        let written = match self.elsewhere_of(tag) {
            Some(elsewhere) => elsewhere.cluster.write(operation).await,
            None => apply(&registry.store, &operation, now),
        };
        let record = written.record.filter(|_| written.is_applied)?;
        if let Some(service) = ServiceKey::from_tag(tag) {
            let actor = || "its connection lives".to_owned();
            registry.note(&service, key, EventKind::Registered, &actor);
        }
        Some(record.registration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_an_instance_is_not_seen_and_what_is_declared_is() {
        let held = |by| Held::new(by, true);
        assert!(Held::shows_like(Some(&held(1)), Some(&held(2))));
        assert!(Held::shows_like(Some(&held(1)), None) && Held::shows_like(None, None));
        assert!(!Held::shows_like(Some(&Held::new(1, false)), None));
        let named = held(1).with_id("mine").unwrap();
        assert!(!Held::shows_like(Some(&named), Some(&held(1))));
        assert!(held(1).with_id(&"x".repeat(MAX_CHOSEN_ID + 1)).is_err());
    }

    #[test]
    fn weights_beyond_the_range_are_kept_beside_one_within_it() {
        for (weight, exact, shown) in
            [(1.5, None, 1.5), (0.0, None, 0.0), (-1.0, Some(-1.0), 0.0), (1e6, Some(1e6), 1e4)]
        {
            let (held, within) = Held::new(1, true).with_weight(weight).unwrap();
            assert_eq!((held.weight, within), (exact, shown));
        }
        assert!(Held::new(1, true).with_weight(f64::NAN).is_err());
    }
}
