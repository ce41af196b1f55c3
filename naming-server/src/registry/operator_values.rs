//! What an operator set of an instance, kept beside it: laid over whatever registers there, until
//! the operator clears it.
//!
//! A durable record of its own, with the key of the instance behind
//! [`OPERATOR_MARK`](naming_model::OPERATOR_MARK): an instance of which nobody set anything costs
//! nothing, and one that comes and goes finds it where it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use distro_core::{Health, Reader, Stamp, Tick, Writer};
use naming_model::{RecordKey, ServiceKey};
use serde_json::{Map, Value, json};

use super::metadata_text::MAX_METADATA;
use super::{CLASS_OPERATOR, Content, Instance, Metadata, Registry, RegistryError};

/// What an operator set. What is `None` or not there is the client's to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OperatorValues {
    pub(crate) weight: Option<f64>,
    pub(crate) enabled: Option<bool>,
    /// By key: the value, or `None` for what is removed.
    pub(crate) metadata: BTreeMap<String, Option<String>>,
}

/// What one call of an operator names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Whether the call carries a whole instance, as forms do: then only what differs from what
    /// was there is the operator's word.
    pub(crate) is_whole: bool,
    pub(crate) weight: Option<f64>,
    pub(crate) enabled: Option<bool>,
    pub(crate) metadata: Option<MetadataChange>,
}

/// What a call does to the metadata. The map is shared by all instances that the call is about.
#[derive(Debug, Clone)]
pub(crate) enum MetadataChange {
    /// Nothing else is left. Only what differs from what was there is the operator's word.
    Replace(Arc<BTreeMap<String, String>>),
    /// These are set.
    Merge(Arc<BTreeMap<String, String>>),
    /// These keys are removed.
    Remove(Arc<BTreeMap<String, String>>),
}

impl MetadataChange {
    /// The metadata of an instance with this change made.
    pub(crate) fn applied_to(&self, known: &Instance) -> BTreeMap<String, String> {
        let mut map = known.metadata.to_map();
        match self {
            Self::Replace(whole) => map = (**whole).clone(),
            Self::Merge(set) => {
                map.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Self::Remove(keys) => map.retain(|name, _| !keys.contains_key(name)),
        }
        map
    }
}

impl OperatorValues {
    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with what a call names, of an instance that was `known` before it.
    pub(crate) fn with(mut self, named: &Named, known: &Instance) -> Self {
        let Named { is_whole, weight, enabled, metadata } = named;
        if let Some(weight) = weight
            && (!is_whole || self.weight.is_some() || *weight != known.weight)
        {
            self.weight = Some(*weight);
        }
        if let Some(enabled) = enabled
            && (!is_whole || self.enabled.is_some() || *enabled != known.enabled)
        {
            self.enabled = Some(*enabled);
        }
        match metadata {
            None => {}
            // As in Nacos: it lies over what the client says, whose other keys stay.
            Some(MetadataChange::Replace(map)) if known.held.is_some() => {
                let set = map.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
                self.metadata = set.collect();
            }
            Some(MetadataChange::Replace(map)) => self.replace(map, known.metadata.to_map()),
            Some(MetadataChange::Merge(map)) => {
                let set = map.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
                self.metadata.extend(set);
            }
            Some(MetadataChange::Remove(map)) => {
                self.metadata.extend(map.keys().map(|key| (key.clone(), None)));
            }
        }
        self
    }

    fn replace(&mut self, map: &BTreeMap<String, String>, known: BTreeMap<String, String>) {
        for (key, value) in map {
            if self.metadata.contains_key(key) || known.get(key) != Some(value) {
                self.metadata.insert(key.clone(), Some(value.clone()));
            }
        }
        for (key, value) in &mut self.metadata {
            if !map.contains_key(key) {
                *value = None;
            }
        }
        let removed = known.into_keys().filter(|key| !map.contains_key(key));
        self.metadata.extend(removed.map(|key| (key, None)));
    }

    /// Puts these values in place of those of a client. The metadata may become larger than a
    /// client may make it, but never larger than members can give each other.
    ///
    /// # Errors
    /// `Invalid` if it would.
    pub(super) fn lay_over(&self, instance: &mut Instance) -> Result<(), RegistryError> {
        if let Some(weight) = self.weight {
            instance.set_operator_weight(weight);
        }
        if let Some(enabled) = self.enabled {
            instance.enabled = enabled;
        }
        if self.metadata.is_empty() {
            return Ok(());
        }
        let given = instance.metadata.to_map();
        let mut map = given.clone();
        for (key, value) in &self.metadata {
            match value {
                Some(value) => _ = map.insert(key.clone(), value.clone()),
                None => _ = map.remove(key),
            }
        }
        if map != given {
            instance.set_metadata(Metadata::new(&map, MAX_METADATA)?);
        }
        Ok(())
    }

    /// # Errors
    /// `Invalid` if its metadata takes more than `limit` bytes.
    fn check_size(&self, limit: usize) -> Result<(), RegistryError> {
        let bytes = self.metadata_bytes();
        if bytes <= limit {
            return Ok(());
        }
        let text = format!(
            "Param 'metadata' is illegal, what is kept of it takes {bytes} bytes as JSON, \
             the limit is {limit}"
        );
        Err(RegistryError::invalid(text))
    }

    /// The metadata as JSON, `null` for what is removed.
    pub(super) fn metadata_json(&self) -> String {
        json!(self.metadata).to_string()
    }

    /// How long that is; 0 if there is none.
    pub(super) fn metadata_bytes(&self) -> usize {
        if self.metadata.is_empty() { 0 } else { self.metadata_json().len() }
    }

    /// As it is shown: what is set, and nothing else.
    pub(crate) fn to_json(&self) -> Value {
        let mut shown = Map::new();
        if let Some(weight) = self.weight {
            shown.insert("weight".to_owned(), json!(weight));
        }
        if let Some(enabled) = self.enabled {
            shown.insert("enabled".to_owned(), json!(enabled));
        }
        if !self.metadata.is_empty() {
            shown.insert("metadata".to_owned(), json!(self.metadata));
        }
        Value::Object(shown)
    }
}

/// What is to be done with the values that an operator set.
pub(super) enum PlannedValues {
    /// They stay as they are.
    Same,
    /// Nothing is kept any more.
    Removed,
    /// These are kept.
    Kept(OperatorValues),
}

impl Registry {
    /// A change of what an operator set of an instance.
    ///
    /// # Errors
    /// As [`Self::check_values`].
    pub(super) fn plan_values(
        &self,
        place: (&str, &str),
        known: Option<&OperatorValues>,
        change: impl FnOnce(OperatorValues) -> OperatorValues,
    ) -> Result<PlannedValues, RegistryError> {
        let values = change(known.cloned().unwrap_or_default());
        self.check_values(known.is_none(), &values)?;
        if values.is_empty() {
            let was_kept = known.is_some();
            return Ok(if was_kept { PlannedValues::Removed } else { PlannedValues::Same });
        }
        if known == Some(&values) {
            return Ok(PlannedValues::Same);
        }
        let before = known.map(OperatorValues::metadata_bytes);
        self.check_bytes(place, before, values.metadata_bytes())?;
        Ok(PlannedValues::Kept(values))
    }

    /// What an operator set of the instance with this key, and when it was written.
    pub(crate) fn find_operator_values(
        &self,
        service: &ServiceKey,
        id: &str,
    ) -> Option<(OperatorValues, Stamp)> {
        let key = RecordKey::operator_text(id);
        self.store.find(service.as_str())?.read(|reader| {
            let (record, content) = reader.find_visible(&key)?;
            Some((read(content)?.clone(), record.registration))
        })
    }

    /// The instance with this key as it is now.
    pub(crate) fn known(&self, service: &ServiceKey, id: &str) -> Option<Instance> {
        self.find_instance(service, id).map(|known| known.instance)
    }

    /// Whether what an operator sets of this instance outlasts its registrations. It does for those
    /// that a connection holds, as in Nacos: their clients register again whenever they reconnect.
    pub(crate) fn keeps_values_of(&self, instance: &Instance) -> bool {
        self.settings.keep_operator_values || instance.held.is_some()
    }

    /// Whether anything may be kept of any instance: one load tells a registration that it need
    /// not look. What was set over the later APIs is kept whatever the settings say.
    fn may_keep_values(&self, instance: &Instance) -> bool {
        self.keeps_values_of(instance) || self.store.visible_count(CLASS_OPERATOR) > 0
    }

    /// What is to be laid over a registration of this instance, if anything is.
    pub(super) fn kept_values(
        &self,
        service: &ServiceKey,
        id: &str,
        instance: &Instance,
    ) -> Option<OperatorValues> {
        let is_kept = self.may_keep_values(instance);
        is_kept.then(|| self.find_operator_values(service, id))?.map(|(values, _)| values)
    }

    /// The same under the lock of the service.
    pub(super) fn kept_values_in<'a>(
        &self,
        writer: &'a Writer<'_, Content>,
        id: &str,
        instance: &Instance,
    ) -> Option<&'a OperatorValues> {
        if !self.may_keep_values(instance) {
            return None;
        }
        read(writer.find_visible(&RecordKey::operator_text(id))?.1)
    }

    /// Writes what an operator set of an instance; nothing is kept of empty values.
    ///
    /// # Errors
    /// As [`Self::check_values`]; nothing is written then.
    pub(super) fn change_operator_values(
        &self,
        now: Tick,
        service: &ServiceKey,
        id: &str,
        change: impl FnOnce(OperatorValues) -> OperatorValues,
    ) -> Result<(), RegistryError> {
        let key = RecordKey::operator_text(id);
        let written = self.store.update_existing(service.as_str(), now, |writer| {
            let known = writer.find_visible(&key).and_then(|(_, content)| read(content));
            let planned = self.plan_values((service.as_str(), &key), known, change)?;
            // Issued under the lock, like all stamps: see `writes`.
            let stamp = self.store.clock().issue(now);
            match planned {
                PlannedValues::Same => {}
                PlannedValues::Removed => _ = writer.deregister(&key, stamp),
                PlannedValues::Kept(values) => {
                    let content = Arc::new(Content::Operator(Box::new(values)));
                    writer.register(&key, stamp, content, Health::Healthy);
                }
            }
            Ok(())
        });
        written.unwrap_or(Ok(()))
    }

    /// # Errors
    /// `Invalid` for too much metadata, `Full` if there is no room for one more such record: instances come
    /// and go, but these stay.
    pub(super) fn check_values(
        &self,
        is_new: bool,
        values: &OperatorValues,
    ) -> Result<(), RegistryError> {
        let limit = self.settings.limits.instances();
        if is_new && !values.is_empty() && self.store.visible_count(CLASS_OPERATOR) >= limit {
            return Err(RegistryError::Full(format!(
                "values are kept for too many instances, the limit is {limit} \
                 (registry.max_instances)"
            )));
        }
        values.check_size(self.settings.max_metadata_bytes)
    }
}

/// What an operator set of the instance with this key, as it is shown.
pub(crate) fn operator_values_json(reader: &Reader<'_, Content>, id: &str) -> Option<Value> {
    let (_, content) = reader.find_visible(&RecordKey::operator_text(id))?;
    Some(read(content)?.to_json())
}

fn read(content: &Content) -> Option<&OperatorValues> {
    match content {
        Content::Operator(values) => Some(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn instance(weight: f64, pairs: &[(&str, &str)]) -> Instance {
        Instance::new(weight, Metadata::new(&map(pairs), 4_096).unwrap()).unwrap()
    }

    fn values(pairs: &[(&str, Option<&str>)]) -> OperatorValues {
        let owned =
            |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(str::to_owned));
        let metadata = pairs.iter().map(owned).collect();
        OperatorValues { metadata, ..OperatorValues::default() }
    }

    #[test]
    fn what_is_laid_over_wins_and_all_else_stays() {
        let mut changed = instance(1.0, &[("a", "1"), ("b", "2"), ("c", "3")]);
        let pairs = [("a", Some("9")), ("b", None), ("d", Some("4")), ("e", None)];
        let both = OperatorValues { weight: Some(5.0), enabled: Some(false), ..values(&pairs) };
        both.lay_over(&mut changed).unwrap();
        assert_eq!((changed.weight, changed.enabled), (5.0, false));
        assert_eq!(changed.metadata.as_json(), r#"{"a":"9","c":"3","d":"4"}"#);
        let before = changed.clone();
        both.lay_over(&mut changed).unwrap();
        OperatorValues::default().lay_over(&mut changed).unwrap();
        assert_eq!(changed, before);
    }

    #[test]
    fn the_time_outs_follow_the_metadata_laid_over() {
        let mut changed = instance(1.0, &[]);
        values(&[("preserved.heart.beat.timeout", Some("20000"))]).lay_over(&mut changed).unwrap();
        assert_eq!(changed.time_outs_ms().0, 20_000);
    }

    #[test]
    fn metadata_that_nobody_gave_stays_absent() {
        let mut changed = Instance::new(1.0, Metadata::absent()).unwrap();
        values(&[("a", None)]).lay_over(&mut changed).unwrap();
        assert!(changed.metadata.is_absent());
    }

    #[test]
    fn what_members_cannot_give_each_other_is_refused() {
        let (half, mut changed) = ("x".repeat(MAX_METADATA / 2), instance(1.0, &[]));
        changed.set_metadata(Metadata::new(&map(&[("a", &half)]), MAX_METADATA).unwrap());
        assert!(values(&[("b", Some(&half))]).lay_over(&mut changed).is_err());
        assert!(values(&[("a", Some(&half))]).lay_over(&mut changed).is_ok());
    }

    #[test]
    fn of_a_form_only_what_differs_counts() {
        let known = instance(1.0, &[("a", "1"), ("b", "2")]);
        let form = |weight, pairs: &[(&str, &str)]| Named {
            is_whole: true,
            weight: Some(weight),
            enabled: Some(true),
            metadata: Some(MetadataChange::Replace(map(pairs).into())),
        };
        let same = OperatorValues::default().with(&form(1.0, &[("a", "1"), ("b", "2")]), &known);
        assert!(same.is_empty());
        let set = OperatorValues::default().with(&form(2.0, &[("a", "1"), ("c", "3")]), &known);
        let expected = values(&[("b", None), ("c", Some("3"))]);
        assert_eq!(set, OperatorValues { weight: Some(2.0), ..expected });
        // What is the operator's already stays so.
        let known = instance(2.0, &[("a", "1"), ("c", "3")]);
        let set = set.with(&form(1.0, &[("a", "1")]), &known);
        let expected = values(&[("b", None), ("c", None)]);
        assert_eq!(set, OperatorValues { weight: Some(1.0), ..expected });
    }

    #[test]
    fn what_a_call_names_counts_even_if_it_is_so_already() {
        let known = instance(1.0, &[("a", "1")]);
        let named = |metadata| Named { weight: Some(1.0), metadata, ..Named::default() };
        let merge = named(Some(MetadataChange::Merge(map(&[("a", "1")]).into())));
        let set = OperatorValues::default().with(&merge, &known);
        assert_eq!(set, OperatorValues { weight: Some(1.0), ..values(&[("a", Some("1"))]) });
        let remove = named(Some(MetadataChange::Remove(map(&[("a", "")]).into())));
        let set = set.with(&remove, &known);
        assert_eq!(set.to_json(), json!({"weight": 1.0, "metadata": {"a": null}}));
    }
}
