//! What operators change of instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::begun::begun;
use super::instances::{all_begun, read_key};
use super::watched::{of_instance, of_service};
use super::{Caller, Naming, NamingError};
use crate::registry::{
    Instance, Metadata, MetadataChange, Named, OperatorValues, Patched, RegistryError, Write,
};

/// The parts of an instance to be changed; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patch {
    /// Which of two instances with the same names is meant.
    pub(crate) ephemeral: Option<bool>,
    pub(crate) weight: Option<f64>,
    pub(crate) healthy: Option<bool>,
    pub(crate) enabled: Option<bool>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) app: Option<String>,
    /// Whether what was kept of the instance so far is forgotten.
    pub(crate) clears: bool,
}

impl Patch {
    fn apply(&self, known: &Instance) -> Result<(Instance, Option<bool>), RegistryError> {
        let metadata = self.metadata.clone().unwrap_or_else(|| known.metadata.clone());
        let mut instance = Instance::new(self.weight.unwrap_or(known.weight), metadata)?;
        instance.id.clone_from(&known.id);
        instance.app.clone_from(&known.app);
        instance.enabled = self.enabled.unwrap_or(known.enabled);
        instance.is_persistent = known.is_persistent;
        instance.keep_held(known);
        if let Some(app) = &self.app {
            instance = instance.with_app(app)?;
        }
        Ok((instance, self.healthy))
    }

    fn named(&self) -> Named {
        let replace = |map: &Metadata| MetadataChange::Replace(map.to_map().into());
        Named {
            is_whole: false,
            weight: self.weight,
            enabled: self.enabled,
            metadata: self.metadata.as_ref().map(replace),
        }
    }
}

/// What an operator lays over an instance. It is kept beside the instance and laid over what its
/// client registers later, whatever the settings say.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    /// Keys to be set; others stay.
    pub(crate) metadata: Arc<BTreeMap<String, String>>,
    /// Whether it takes the place of what was laid before.
    pub(crate) replaces: bool,
}

impl Layer {
    fn named(&self) -> Named {
        Named {
            is_whole: false,
            weight: Some(self.weight),
            enabled: Some(self.enabled),
            metadata: Some(MetadataChange::Merge(Arc::clone(&self.metadata))),
        }
    }

    /// The instance under this layer, without the keys that an earlier one had.
    fn over(
        &self,
        known: &Instance,
        forgotten: &[String],
        limit: usize,
    ) -> Result<Instance, RegistryError> {
        let mut map = known.metadata.to_map();
        map.retain(|name, _| !forgotten.contains(name));
        map.extend(self.metadata.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut instance = known.clone();
        // Which also checks that it is in its range.
        instance.weight = Instance::new(self.weight, Metadata::default())?.weight;
        instance.enabled = self.enabled;
        instance.set_metadata(Metadata::new(&map, limit)?);
        Ok(instance)
    }
}

impl Naming {
    /// Changes parts of an instance. If neither of two with these names is there, a patch that
    /// clears is meant for the one of which something is kept.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, there is no such instance, or the
    /// registry refuses.
    pub(crate) fn patch(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        patch: Patch,
    ) -> Write<Result<(), NamingError>> {
        self.watched(
            caller,
            "instance_patch",
            || of_instance(service, key),
            || {
                if let Err(refused) = self.enter_to_write(caller, service) {
                    return Write::Done(Err(refused));
                }
                let clears = patch.clears;
                let key = match clears {
                    true => self.choose_kind_to_clear(service, key, patch.ephemeral),
                    false => self.registry.choose_kind(service, key, patch.ephemeral),
                };
                let cleared = clears && self.has_values(service, &key);
                let named = self.registry.keeps_values_at(service, &key).then(|| patch.named());
                let change = move |known: &Instance| patch.apply(known);
                let write = self.patch_with(service, &key, caller.actor(), change, named, clears);
                let write = begun(write.map(move |patched| match patched? {
                    Patched::NotFound if !cleared => {
                        Err(RegistryError::Missing("instance not found".to_owned()))
                    }
                    Patched::NotFound | Patched::Done => Ok(()),
                }));
                match key.is_persistent {
                    true => write,
                    false => self.telling_owner_of(caller, service, &key.instance, write),
                }
            },
        )
    }

    /// Changes the metadata of several instances of a service, given by their record keys. Those
    /// that are not there are passed over; the outcome has those that were changed. The change
    /// outlasts the next registrations if it `is_kept`, whatever the settings say.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the registry refuses: what was
    /// changed before that stays.
    pub(crate) fn change_metadata(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        service: &ServiceKey,
        targets: Vec<String>,
        change: MetadataChange,
        is_kept: bool,
    ) -> Write<Result<Vec<String>, NamingError>> {
        let action = match &change {
            MetadataChange::Remove(_) => "metadata_batch_delete",
            MetadataChange::Replace(_) | MetadataChange::Merge(_) => "metadata_batch_update",
        };
        self.watched(
            caller,
            action,
            || of_service(service),
            || {
                if let Err(refused) = self.enter_to_write(caller, service) {
                    return Write::Done(Err(refused));
                }
                let (of, naming, actor) = (service, Arc::clone(self), caller.actor());
                let service = service.clone();
                let limit = self.registry.settings.max_metadata_bytes;
                let write = move |id: String| {
                    let key = match read_key(&id) {
                        Ok(key) => key,
                        Err(error) => return Write::Done(Err(error)),
                    };
                    let keeps = is_kept || naming.registry.keeps_values_at(&service, &key);
                    let named =
                        keeps.then(|| Named { metadata: Some(change.clone()), ..Named::default() });
                    let change = change.clone();
                    let apply = move |known: &Instance| {
                        let mut instance = known.clone();
                        instance.set_metadata(Metadata::new(&change.applied_to(known), limit)?);
                        Ok((instance, None))
                    };
                    let write =
                        naming.patch_with(&service, &key, actor.clone(), apply, named, false);
                    let id = id.clone();
                    write.map(move |patched| Ok((patched? == Patched::Done).then_some(id)))
                };
                let writes = Write::each(targets, write);
                let write =
                    all_begun(writes.map(|changed: Result<Vec<Option<String>>, RegistryError>| {
                        Ok(changed?.into_iter().flatten().collect())
                    }));
                let is_ephemeral =
                    |id: &&String| RecordKey::parse(id).is_some_and(|key| !key.is_persistent);
                self.telling_owner(caller, of, write, move |changed: &Vec<String>| {
                    changed.iter().filter(is_ephemeral).cloned().collect()
                })
            },
        )
    }

    /// Lays values over an instance.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the registry refuses.
    pub(crate) fn set_layer(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        layer: Layer,
    ) -> Write<Result<Patched, NamingError>> {
        self.watched(
            caller,
            "instance_patch",
            || of_instance(service, &key.instance),
            || {
                if let Err(refused) = self.enter_to_write(caller, service) {
                    return Write::Done(Err(refused));
                }
                let kept = self.registry.find_operator_values(service, &key.text());
                let forgotten = match kept {
                    Some((values, _)) if layer.replaces => values.metadata.into_keys().collect(),
                    _ => Vec::new(),
                };
                let limit = self.registry.settings.max_metadata_bytes;
                let (named, replaces) = (layer.named(), layer.replaces);
                let change =
                    move |known: &Instance| Ok((layer.over(known, &forgotten, limit)?, None));
                let actor = caller.actor();
                let write =
                    begun(self.patch_with(service, key, actor, change, Some(named), replaces));
                let id = (!key.is_persistent).then(|| key.text());
                self.telling_owner(caller, service, write, move |patched| match patched {
                    Patched::Done => id.into_iter().collect(),
                    Patched::NotFound => Vec::new(),
                })
            },
        )
    }

    /// Changes parts of an instance. What the operator `named` is kept first, so that the
    /// registration that comes next has it already; before that, what was kept is forgotten if
    /// `clears` says so, whether the instance is there or not.
    fn patch_with(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), RegistryError> + Send + 'static,
        named: Option<Named>,
        clears: bool,
    ) -> Write<Result<Patched, RegistryError>> {
        let id = key.text();
        let known = self.registry.known(service, &id);
        let named = match (named, known) {
            (Some(named), Some(known)) => match change(&known) {
                // Nothing is kept of what is refused.
                Err(error) => return Write::Done(Err(error)),
                Ok((changed, _)) => {
                    if let Err(full) = self.registry.check_kept_change(&known, &changed) {
                        return Write::Done(Err(full));
                    }
                    // As it is stored.
                    let weight = named.weight.map(|_| changed.weight);
                    Some((Named { weight, ..named }, known))
                }
            },
            _ => None,
        };
        if named.is_none() && !clears {
            return self.writes.patch(service, key, &|| actor.clone(), change);
        }
        let kept = self.writes.change_operator_values(service, key, move |before| {
            let before = if clears { OperatorValues::default() } else { before };
            match &named {
                Some((named, known)) => before.with(named, known),
                None => before,
            }
        });
        let (writes, service) = (self.writes.clone(), service.clone());
        kept.then(move |kept| match kept.and_then(|()| read_key(&id)) {
            Ok(key) => writes.patch(&service, &key, &|| actor.clone(), change),
            Err(error) => Write::Done(Err(error)),
        })
    }

    /// As [`Registry::choose_kind`](crate::registry::Registry::choose_kind), or if neither instance
    /// is there, the one of which something is kept.
    fn choose_kind_to_clear<'a>(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'a>,
        ephemeral: Option<bool>,
    ) -> RecordKey<'a> {
        let first = self.registry.choose_kind(service, key, ephemeral);
        let second = RecordKey { is_persistent: !first.is_persistent, ..first };
        let is_there = self.registry.known(service, &first.text()).is_some();
        let is_second =
            !is_there && !self.has_values(service, &first) && self.has_values(service, &second);
        if is_second { second } else { first }
    }

    /// Whether anything is kept for an instance with this key.
    fn has_values(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        self.registry.find_operator_values(service, &key.text()).is_some()
    }
}
