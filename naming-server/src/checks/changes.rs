//! Which instances may have to be checked, or need not be any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use distro_core::{DATUM_KEY, Key, Verdict, Watcher};
use naming_model::{RecordKey, ServiceKey};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::registry::{Content, NamingDatum, ServiceState};

/// Changed keys of one service that are told apart; of more, all are looked at.
pub(super) const MAX_KEYS: usize = 1_024;

/// What has changed in a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// These persistent instances.
    Keys(BTreeSet<Key>),
    /// The settings, or very many instances.
    All,
}

/// The ear of the health checks at the store. Holds names alone, and each once.
#[derive(Default)]
pub(crate) struct Changes {
    services: Mutex<BTreeMap<Arc<str>, Changed>>,
    wake: Notify,
}

impl Changes {
    /// The changes of one service since they were taken last.
    pub(super) fn take(&self) -> Option<(Arc<str>, Changed)> {
        self.services.lock().pop_first()
    }

    /// Returns when there is something to take. One that is dropped misses nothing.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    fn note(&self, tag: &Arc<str>, keys: &[Key]) {
        let mut services = self.services.lock();
        let changed =
            services.entry(Arc::clone(tag)).or_insert_with(|| Changed::Keys(BTreeSet::new()));
        if let Changed::Keys(known) = changed {
            known.extend(keys.iter().filter(|key| is_of_persistent(key)).cloned());
            if known.len() > MAX_KEYS || keys.iter().any(|key| is_of_settings(key)) {
                *changed = Changed::All;
            }
        }
        drop(services);
        self.wake.notify_one();
    }
}

impl Watcher<Content, ServiceState> for Changes {
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[Key], visible: bool) {
        // Nearly all changes are of ephemeral instances.
        if visible
            && keys.iter().any(|key| is_of_persistent(key) || is_of_settings(key))
            && ServiceKey::is_tag(datum.tag())
        {
            self.note(datum.tag(), keys);
        }
    }

    fn judged(&self, _: &Arc<NamingDatum>, _: &Verdict<Content>) {}
}

fn is_of_persistent(key: &str) -> bool {
    RecordKey::is_text_of_persistent(key)
}

fn is_of_settings(key: &str) -> bool {
    key == DATUM_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: std::ops::Range<usize>) -> Vec<Key> {
        numbers.map(|n| format!("!10.0.0.1#{n}#c").into()).collect()
    }

    #[test]
    fn changes_are_told_once_and_within_bounds() {
        let changes = Changes::default();
        let [a, b, c] = ["a", "b", "c"].map(Arc::<str>::from);
        changes.note(&a, &["10.0.0.1#1#c".into(), "!10.0.0.1#1#c".into()]);
        changes.note(&a, &keys(1..3));
        changes.note(&b, &[DATUM_KEY.into()]);
        changes.note(&b, &keys(0..1));
        changes.note(&c, &keys(0..MAX_KEYS));
        assert_eq!(changes.take(), Some((a, Changed::Keys(keys(1..3).into_iter().collect()))));
        assert_eq!(changes.take(), Some((b, Changed::All)));
        changes.note(&c, &keys(MAX_KEYS..MAX_KEYS + 1));
        assert_eq!(changes.take(), Some((c, Changed::All)));
        assert_eq!(changes.take(), None);
    }
}
