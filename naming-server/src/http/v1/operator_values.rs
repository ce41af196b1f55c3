//! What an operator sets of an instance, to be kept beside it: see
//! [`OperatorValues`](crate::registry::OperatorValues).

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::Api;
use crate::http::{ApiError, Params};
use crate::registry::{
    Instance, MetadataChange, Named, OperatorValues, Patched, RegistryError, Write,
};

/// The parameter of a PATCH that clears what is kept.
const PARAMETER: &str = "operatorValues";

impl Api {
    /// Changes parts of an instance. What the operator `named` is kept first, so that the
    /// registration that comes next has it already; before that, what was kept is forgotten if
    /// `clears` says so, whether the instance is there or not.
    pub(super) fn patch(
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

    /// Keeps what the form of an instance says, if the instance is there and anything is kept.
    pub(super) fn keep_named(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        instance: &Instance,
        named: impl FnOnce() -> Named,
    ) -> Write<Result<(), RegistryError>> {
        if !self.registry.settings.keep_operator_values {
            return Write::Done(Ok(()));
        }
        let Some(known) = self.registry.known(service, &key.text()) else {
            return Write::Done(Ok(()));
        };
        if let Err(full) = self.registry.check_kept_change(&known, instance) {
            return Write::Done(Err(full));
        }
        let named = named();
        self.writes.change_operator_values(service, key, move |before| before.with(&named, &known))
    }

    /// As [`Registry::choose_kind`](crate::registry::Registry::choose_kind), or if neither instance
    /// is there, the one of which something is kept.
    pub(super) fn choose_kind_to_clear<'a>(
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
    pub(super) fn has_values(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        self.registry.find_operator_values(service, &key.text()).is_some()
    }
}

/// Whether a PATCH clears what is kept.
///
/// # Errors
/// 400 if its parameter says anything but `clear`.
pub(super) fn clears_values(params: &Params<'_>) -> Result<bool, ApiError> {
    match params.optional(PARAMETER).as_deref() {
        None => Ok(false),
        Some("clear") => Ok(true),
        Some(_) => Err(ApiError::illegal(PARAMETER, "it can only be 'clear'")),
    }
}

/// What the form of an instance names, as opposed to what it leaves to its defaults.
pub(super) fn named_in_form(params: &Params<'_>, instance: &Instance) -> Named {
    let is_given = |name| params.optional(name).is_some();
    let enabled = is_given("enabled") || is_given("enable");
    let metadata = || MetadataChange::Replace(instance.metadata.to_map().into());
    Named {
        is_whole: true,
        weight: is_given("weight").then_some(instance.weight),
        enabled: enabled.then_some(instance.enabled),
        metadata: is_given("metadata").then(metadata),
    }
}

/// The key that was written down to be taken along.
pub(super) fn read_key(id: &str) -> Result<RecordKey<'_>, RegistryError> {
    RecordKey::parse(id).ok_or_else(|| RegistryError::Missing("instance not found".to_owned()))
}
