//! What a client says of an instance that it registers over a connection and keeps by that.

use naming_model::MAX_WEIGHT;

use super::RegistryError;

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

    /// The id that the client chose, if it chose one.
    pub(crate) fn chosen_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The weight that the client declares, if beats may have none such.
    pub(crate) fn declared_weight(&self) -> Option<f64> {
        self.weight
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
