//! An instance that a connection holds: how it looks, and for how long it may be silent.

use std::time::Duration;

use distro_core::LeaseTerms;

use super::Instance;
use crate::registry::Held;

/// Least silence that makes an instance unhealthy, and that removes it, if a connection holds it.
const LEAST_HELD_MS: (u32, u32) = (15_000, 30_000);
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
    pub(crate) fn shows_like(&self, other: &Self) -> bool {
        let Self { weight, metadata, id, app, enabled, is_persistent, held, times } = self;
        (*weight, *enabled, *is_persistent) == (other.weight, other.enabled, other.is_persistent)
            && (metadata, id, app, times) == (&other.metadata, &other.id, &other.app, &other.times)
            && Held::shows_like(held.as_deref(), other.held.as_deref())
    }

    /// An operator has changed what was `known`: its holder goes on holding it.
    pub(crate) fn keep_held(&mut self, known: &Self) {
        self.held = known.held.as_deref().map(|held| match self.weight == known.weight {
            true => Box::new(held.clone()),
            false => Box::new(held.without_weight()),
        });
    }

    /// Sets the weight that an operator wants, whatever the client declares.
    pub(in crate::registry) fn set_operator_weight(&mut self, weight: f64) {
        self.weight = weight;
        if let Some(held) = &mut self.held {
            **held = held.without_weight();
        }
    }

    /// Whether its client calls it unhealthy.
    pub(crate) fn is_declared_unhealthy(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_unhealthy)
    }
}
