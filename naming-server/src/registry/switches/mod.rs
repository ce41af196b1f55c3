//! Server-wide settings that operators change at run time.
//!
//! Each field of the object that shows them is a record of its own, so that two operators who
//! change different ones on different members both win. In force on a member are the defaults,
//! above them the records, and above those what was set on this member alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use distro_core::{Key, Stamp};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::{Content, NamingDatum};
use crate::text::cut;

mod check;
mod object;
mod values;
mod versions;

pub(crate) use check::MAX_SWITCH_ITEMS;
pub(crate) use object::{Fields, SwitchObject, parse_status, parse_version, unsigned};
pub(crate) use values::{CheckPace, ServerStatus, SwitchValues};
pub(crate) use versions::{PushVersions, Version};

/// Bytes of a value that the log shows.
const MAX_SHOWN: usize = 200;

/// A part that does not look at the switches but must be told of them.
pub(crate) trait SwitchSink: Send + Sync {
    /// These are in force from now on. Must be quick. Returns false if it could not take all of
    /// them over and wants to be told again.
    fn switched(&self, values: &SwitchValues) -> bool;
}

/// The switches. Read on every request without a lock.
pub(crate) struct Switches {
    values: ArcSwap<SwitchValues>,
    layers: Mutex<Layers>,
    sink: OnceLock<Arc<dyn SwitchSink>>,
}

/// What the values in force are made of.
struct Layers {
    defaults: Fields,
    records: BTreeMap<Key, Written>,
    /// Set on this member alone, with the stamp of the record that each stands above: a later
    /// record of the same field ends it.
    own: BTreeMap<Key, Written>,
    /// Whether the sink has not taken over what is in force.
    is_untold: bool,
}

/// The value of one field.
struct Written {
    stamp: Stamp,
    /// `None` if the record makes no sense here.
    value: Option<Box<RawValue>>,
}

impl Default for Switches {
    fn default() -> Self {
        let values = SwitchValues::default();
        let layers = Layers {
            defaults: SwitchObject::fields(&values),
            records: BTreeMap::new(),
            own: BTreeMap::new(),
            is_untold: false,
        };
        let values = ArcSwap::from_pointee(values);
        Self { values, layers: Mutex::new(layers), sink: OnceLock::new() }
    }
}

impl Switches {
    /// The values in force now.
    pub(crate) fn load(&self) -> Guard<Arc<SwitchValues>> {
        self.values.load()
    }

    /// Pushes nothing unless somebody switches that on, as the configuration asks.
    pub(crate) fn disable_push(&self) {
        let mut layers = self.layers.lock();
        let values = SwitchValues { push_enabled: false, ..SwitchValues::default() };
        layers.defaults = SwitchObject::fields(&values);
        self.put_in_force(&mut layers);
    }

    /// Sets who is told of changes, beginning with what is in force now. The first one stays.
    pub(crate) fn connect(&self, sink: Arc<dyn SwitchSink>) {
        // A second call has no effect; there is one pusher and one driver per server.
        let _ = self.sink.set(sink);
        self.tell(&mut self.layers.lock());
    }

    /// Sets fields on this member alone, until they are written for all or the process ends.
    pub(crate) fn set_here(&self, fields: Fields) {
        let mut layers = self.layers.lock();
        for (name, value) in fields {
            let name = Key::from(name);
            let stamp = layers.records.get(&name).map_or(Stamp::NEVER, |written| written.stamp);
            layers.own.insert(name, Written { stamp, value: Some(value) });
        }
        self.put_in_force(&mut layers);
    }

    /// Takes over the records. Called after every change of the datum: the last call sees the last
    /// state, however the calls overlap.
    pub(super) fn follow(&self, datum: &NamingDatum) {
        let mut layers = self.layers.lock();
        layers.records = datum.read(|reader| {
            let written = reader.visible().map(|(key, record, content)| {
                let value = match &**content {
                    Content::Switch(text) => serde_json::from_str(text).ok(),
                    _ => None,
                };
                (Arc::clone(key), Written { stamp: record.registration, value })
            });
            written.collect()
        });
        let Layers { records, own, .. } = &mut *layers;
        own.retain(|name, written| {
            records.get(name).map_or(Stamp::NEVER, |record| record.stamp) == written.stamp
        });
        self.put_in_force(&mut layers);
    }

    /// Tells again who could not listen before. To be called now and then.
    pub(crate) fn settle(&self) {
        let mut layers = self.layers.lock();
        if layers.is_untold {
            self.tell(&mut layers);
        }
    }

    fn put_in_force(&self, layers: &mut Layers) {
        let (before, after) = (self.values.load_full(), Arc::new(layers.sum()));
        if before == after {
            return;
        }
        self.values.store(Arc::clone(&after));
        self.tell(layers);
        log_change(&before, &after);
    }

    fn tell(&self, layers: &mut Layers) {
        let Some(sink) = self.sink.get() else { return };
        let could = sink.switched(&self.load());
        if !could && !layers.is_untold {
            tracing::warn!(
                "the task that judges instances did not take the switches; telling it again"
            );
        }
        layers.is_untold = !could;
    }
}

impl Layers {
    fn sum(&self) -> SwitchValues {
        let mut sum = self.defaults.clone();
        for (name, written) in self.records.iter().chain(&self.own) {
            if let (Some(field), Some(value)) = (sum.get_mut(&**name), &written.value) {
                field.clone_from(value);
            }
        }
        SwitchObject::read(&sum).unwrap_or_else(|_| self.sum_one_by_one())
    }

    /// Leaves out what is not within its range: another release may allow more.
    fn sum_one_by_one(&self) -> SwitchValues {
        let mut sum = self.defaults.clone();
        let mut values = SwitchObject::read(&sum).unwrap_or_default();
        for (name, written) in self.records.iter().chain(&self.own) {
            let Some(value) = &written.value else { continue };
            let Some(field) = sum.get_mut(&**name) else { continue };
            let before = std::mem::replace(field, value.clone());
            match SwitchObject::read(&sum) {
                Ok(read) => values = read,
                Err(error) => {
                    tracing::warn!(field = %name, %error, "switch ignored");
                    sum.insert(name.to_string(), before);
                }
            }
        }
        values
    }
}

fn log_change(before: &SwitchValues, after: &SwitchValues) {
    let (before, after) = (SwitchObject::fields(before), SwitchObject::fields(after));
    for (field, new) in &after {
        let old = before.get(field).map_or("", |old| old.get());
        if old != new.get() {
            let (old, new) = (cut(old, MAX_SHOWN), cut(new.get(), MAX_SHOWN));
            tracing::info!(field, old, new, "switch changed");
        }
    }
}

#[cfg(test)]
mod tests;
