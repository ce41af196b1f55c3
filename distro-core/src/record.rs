//! Records, and the one order in which they merge.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::stamp::Stamp;

/// Key of a record within its datum. The empty key is reserved: see [`DATUM_KEY`].
pub type Key = Arc<str>;

/// Which record: the tag of its datum, and its key there.
pub type RecordId = (Arc<str>, Key);

/// The key of the record that speaks for the datum as a whole (its settings). Deregistering it
/// closes the datum: see [`Reader::is_open`](crate::Reader::is_open).
pub const DATUM_KEY: &str = "";

/// What a record carries.
pub trait Value: Send + Sync + 'static {
    /// How long silence is tolerated; `None` if the record lives without being heard of.
    fn lease(&self) -> Option<LeaseTerms>;

    /// Whether readers would see no difference between the two.
    fn shows_like(&self, other: &Self) -> bool;

    /// What the record counts as in [`Store::visible_count`](crate::Store::visible_count): an
    /// index below [`CLASSES`].
    fn class(&self) -> usize;

    /// About how many bytes it takes in a message; batches are limited by it, and
    /// [`Store::carried_bytes`](crate::Store::carried_bytes) is their sum. Default 256.
    fn weight(&self) -> usize {
        256
    }
}

/// How many classes of values a store counts.
pub const CLASSES: usize = 4;

/// The time-outs of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Silence after which the record is judged unhealthy.
    pub unhealthy_after: Duration,
    /// Silence after which it is judged expired. May be shorter than the other.
    pub expire_after: Duration,
}

impl LeaseTerms {
    /// The shorter of the two: before that no silence has any consequence.
    pub(crate) fn shortest(&self) -> Duration {
        self.unhealthy_after.min(self.expire_after)
    }

    /// What a record that was heard so long ago is, by its own time-outs.
    pub(crate) fn health_after(&self, silence: Duration) -> Health {
        if silence >= self.expire_after {
            Health::Expired
        } else if silence >= self.unhealthy_after {
            Health::Unhealthy
        } else {
            Health::Healthy
        }
    }
}

/// What the owner judged of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// Heard in time.
    #[default]
    Healthy,
    /// Silent for longer than it should be; still shown, as unhealthy.
    Unhealthy,
    /// Silent for so long that it counts as gone.
    Expired,
}

/// One entry of a datum in three parts, each with its own stamp:
///
/// * *registration*: what a client or operator wrote;
/// * *liveness*: what the owner judged of that registration;
/// * *deregistered*: the greatest stamp of an explicit removal.
///
/// So a health flip never undoes an update, an expiry that is taken back never revives old
/// content, nothing undoes a deregistration but a later registration, and a member that has not
/// heard of a registration cannot end it.
#[derive(Debug)]
pub struct Record<V> {
    /// When the value was written.
    pub registration: Stamp,
    /// When the health was judged.
    pub liveness: Stamp,
    /// When the record was last removed on purpose; [`Stamp::NEVER`] if it never was.
    pub deregistered: Stamp,
    /// The judgement of `liveness`; see [`Self::health`] for what it amounts to.
    pub judged: Health,
    /// The value of `registration`. May be missing once the record is gone.
    pub value: Option<Arc<V>>,
}

impl<V> Clone for Record<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), ..*self }
    }
}

impl<V> Default for Record<V> {
    fn default() -> Self {
        Self {
            registration: Stamp::NEVER,
            liveness: Stamp::NEVER,
            deregistered: Stamp::NEVER,
            judged: Health::Healthy,
            value: None,
        }
    }
}

impl<V: Value> Record<V> {
    /// A registration; `judged` is its health from the start, which counts until somebody judges
    /// again.
    pub fn registered(stamp: Stamp, value: Arc<V>, judged: Health) -> Self {
        let value = Some(value);
        Self { registration: stamp, liveness: stamp, judged, value, ..Self::default() }
    }

    /// An explicit removal.
    pub fn removed(stamp: Stamp) -> Self {
        Self { deregistered: stamp, ..Self::default() }
    }

    /// A judgement of what was registered at `registration`.
    pub fn judged(registration: Stamp, stamp: Stamp, judged: Health) -> Self {
        Self { registration, liveness: stamp, judged, ..Self::default() }
    }

    /// The health as of now: a registration newer than the last judgement starts healthy.
    pub fn health(&self) -> Health {
        if self.liveness >= self.registration { self.judged } else { Health::Healthy }
    }

    /// Whether readers see it: registered after its last removal, not expired, and its content
    /// is at hand (a member that dropped it at expiry waits for the whole record).
    pub fn is_visible(&self) -> bool {
        self.value.is_some()
            && self.registration > self.deregistered
            && self.health() != Health::Expired
    }

    /// What a [conditional write](crate::Operation::expecting) names to be sure that it undoes
    /// nobody else's: the moment of the registration that readers see, [`Stamp::NEVER`] if they
    /// see none.
    pub fn version(&self) -> Stamp {
        if self.is_visible() { self.registration } else { Stamp::NEVER }
    }

    /// Whether nothing but memory of a removal or expiry is left.
    pub fn is_tombstone(&self) -> bool {
        !self.is_visible()
    }

    /// The greatest stamp in it.
    pub fn newest(&self) -> Stamp {
        self.registration.max(self.liveness).max(self.deregistered)
    }

    /// Takes over every part of `other` that is newer. The only way in which a record changes.
    /// Returns whether anything did.
    ///
    /// A liveness belongs to the registration beside it: a newer registration brings its own, and
    /// of the same registration the newer one counts. The judge of an older registration did not
    /// know of the newer one, whatever the stamp of the judgement.
    ///
    /// Merging is commutative, associative and idempotent: in whatever order and however often
    /// records arrive, all members end with the same parts.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.merge_by(other, true)
    }

    /// The same; if not `per_registration`, by the stamp of a liveness alone.
    pub(crate) fn merge_by(&mut self, other: &Self, per_registration: bool) -> bool {
        let was_visible = self.is_visible();
        let mut changed = false;
        let is_judged = match other.registration.cmp(&self.registration) {
            Ordering::Less if per_registration => false,
            Ordering::Greater if per_registration => true,
            _ => other.liveness > self.liveness,
        };
        if other.registration > self.registration {
            self.registration = other.registration;
            self.value.clone_from(&other.value);
            changed = true;
        } else if other.registration == self.registration && self.value.is_none() {
            // A member that never heard the record may have dropped its content at expiry.
            self.value.clone_from(&other.value);
        }
        if is_judged {
            self.liveness = other.liveness;
            self.judged = other.judged;
            changed = true;
        }
        if other.deregistered > self.deregistered {
            self.deregistered = other.deregistered;
            changed = true;
        }
        if self.registration <= self.deregistered {
            self.value = None;
        }
        // Content alone, without a newer stamp, can make a record visible.
        changed || was_visible != self.is_visible()
    }

    /// The stamps of its parts, and whether readers see it.
    pub fn stamps(&self) -> Stamps {
        Stamps {
            registration: self.registration,
            liveness: self.liveness,
            deregistered: self.deregistered,
            is_visible: self.is_visible(),
        }
    }

    /// What this record adds to the checksum of its slot: zero for a tombstone, so that members
    /// may collect tombstones at different times without disagreeing.
    pub(crate) fn fingerprint(&self, tag: &str, key: &str) -> u64 {
        if self.is_tombstone() {
            return 0;
        }
        let [registration, liveness] = [self.registration, self.liveness].map(stamp_bytes);
        let parts = [tag.as_bytes(), &[0], key.as_bytes(), &registration, &liveness];
        // The hash of all parts in a row. Setting up a hash of pieces takes longer than hashing
        // the bytes of a name, so they are joined first if they are few.
        let mut joined = [0; 240];
        match join(parts, &mut joined) {
            Some(joined) => xxh3_64(joined),
            None => {
                let mut hash = Xxh3::new();
                parts.iter().for_each(|part| hash.update(part));
                hash.digest()
            }
        }
    }
}

/// What two members compare of a record before one gives it to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// Of the registration.
    pub registration: Stamp,
    /// Of the last judgement.
    pub liveness: Stamp,
    /// Of the last removal.
    pub deregistered: Stamp,
    /// Whether readers see it: a member may lack the content although it knows all stamps.
    pub is_visible: bool,
}

impl Stamps {
    /// Whether these may be of a record that its holder was shown and did not believe.
    pub(crate) fn are_in_doubt(&self) -> bool {
        !self.is_visible && self.registration > self.deregistered
    }

    /// Whether the holder of these has something that the holder of `others` lacks. `None`: the
    /// other knows nothing of the record. Then the memory of a removal is no news: otherwise
    /// members that forget at different times would remind each other for ever.
    pub fn has_news_for(&self, others: Option<&Self>) -> bool {
        let Some(others) = others else { return self.is_visible };
        (self.registration, self.liveness) > (others.registration, others.liveness)
            || self.deregistered > others.deregistered
            || (self.is_visible
                && !others.is_visible
                && self.registration == others.registration
                && self.liveness == others.liveness)
    }
}

fn stamp_bytes(stamp: Stamp) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&stamp.time().to_le_bytes());
    bytes[8..12].copy_from_slice(&stamp.member().0.to_le_bytes());
    bytes[12..].copy_from_slice(&stamp.incarnation().to_le_bytes());
    bytes
}

/// Puts all parts into `buffer`; `None` if it is too small.
fn join<'a, const N: usize>(parts: [&[u8]; N], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for part in parts {
        let end = length + part.len();
        buffer.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stamp::MemberId;

    #[derive(Debug, PartialEq)]
    struct Text(u64);

    impl Value for Text {
        fn lease(&self) -> Option<LeaseTerms> {
            None
        }
        fn shows_like(&self, other: &Self) -> bool {
            self == other
        }
        fn class(&self) -> usize {
            0
        }
    }

    fn stamp(time: u64) -> Stamp {
        if time == 0 { Stamp::NEVER } else { Stamp::from_parts(time, MemberId(1), 1) }
    }

    /// A record as some member may hold it: equal stamps mean equal content.
    fn record() -> impl Strategy<Value = Record<Text>> {
        (0..5_u64, 0..5_u64, 0..5_u64).prop_map(|(registration, liveness, deregistered)| {
            let judged = [Health::Healthy, Health::Unhealthy, Health::Expired]
                [usize::try_from(liveness % 3).unwrap()];
            let mut record = Record {
                registration: stamp(registration),
                liveness: stamp(liveness),
                deregistered: stamp(deregistered),
                judged: if liveness == 0 { Health::Healthy } else { judged },
                value: (registration > 0).then(|| Arc::new(Text(registration))),
            };
            if record.registration <= record.deregistered {
                record.value = None;
            }
            record
        })
    }

    fn merged(records: &[&Record<Text>]) -> (Stamp, Stamp, Stamp, Health) {
        let mut all = Record::default();
        for record in records {
            all.merge(record);
        }
        (all.registration, all.liveness, all.deregistered, all.judged)
    }

    proptest! {
        #[test]
        fn merge_is_commutative_associative_and_idempotent(a in record(), b in record(), c in record()) {
            let all = merged(&[&a, &b, &c]);
            prop_assert_eq!(all, merged(&[&c, &a, &b]));
            prop_assert_eq!(all, merged(&[&b, &a, &b, &c, &c, &a]));
            let mut right = b.clone();
            right.merge(&c);
            prop_assert_eq!(all, merged(&[&a, &right]));
        }

        #[test]
        fn merging_again_changes_nothing(a in record(), b in record()) {
            let mut once = a.clone();
            once.merge(&b);
            prop_assert!(!once.clone().merge(&b));
            prop_assert!(!once.clone().merge(&a));
        }

        #[test]
        fn a_tombstone_has_no_fingerprint_and_a_removed_one_no_value(a in record(), b in record()) {
            let mut all = a.clone();
            all.merge(&b);
            prop_assert_eq!(all.is_tombstone(), all.fingerprint("tag", "key") == 0);
            prop_assert!(all.registration > all.deregistered || all.value.is_none());
        }
    }

    fn value(n: u64) -> Arc<Text> {
        Arc::new(Text(n))
    }

    #[test]
    fn the_fingerprint_does_not_depend_on_how_it_is_hashed() {
        let record = Record::registered(stamp(7), value(7), Health::Healthy);
        for length in [1, 40, 180, 206, 207, 208, 300] {
            let tag = "t".repeat(length);
            let mut hash = Xxh3::new();
            for part in [tag.as_bytes(), &[0], b"k", &stamp_bytes(stamp(7)), &stamp_bytes(stamp(7))]
            {
                hash.update(part);
            }
            assert_eq!(record.fingerprint(&tag, "k"), hash.digest(), "{length}");
        }
        // Members of different releases must agree, so this number is part of the protocol.
        assert_eq!(record.fingerprint("tag", "key"), 13_963_973_734_353_513_070);
    }

    #[test]
    fn nothing_undoes_a_deregistration_but_a_later_registration() {
        let mut record = Record::registered(stamp(1), value(1), Health::Healthy);
        record.merge(&Record::removed(stamp(5)));
        record.merge(&Record::judged(stamp(1), stamp(9), Health::Healthy));
        record.merge(&Record::registered(stamp(4), value(4), Health::Healthy));
        assert!(!record.is_visible());
        record.merge(&Record::registered(stamp(10), value(10), Health::Healthy));
        assert!(record.is_visible());
    }

    #[test]
    fn a_health_flip_does_not_undo_an_update_and_does_not_judge_it() {
        let mut here = Record::registered(stamp(1), value(1), Health::Healthy);
        let mut there = here.clone();
        here.merge(&Record::judged(stamp(1), stamp(3), Health::Unhealthy));
        there.merge(&Record::registered(stamp(2), value(2), Health::Healthy));
        let mut both = here.clone();
        both.merge(&there);
        assert_eq!((both.health(), both.value.as_deref()), (Health::Healthy, Some(&Text(2))));
        assert!(!there.merge(&here) && !here.stamps().has_news_for(Some(&there.stamps())));
        assert!(there.stamps().has_news_for(Some(&here.stamps())));
        // Who knows the update may judge it.
        there.merge(&Record::judged(stamp(2), stamp(4), Health::Unhealthy));
        both.merge(&there);
        assert_eq!(both.health(), Health::Unhealthy);
    }

    #[test]
    fn content_that_was_dropped_at_expiry_comes_back_with_the_whole_record() {
        let whole = Record::registered(stamp(1), value(1), Health::Healthy);
        let mut here = whole.clone();
        here.merge(&Record::judged(stamp(1), stamp(2), Health::Expired));
        here.value = None;
        let mut refuted = whole;
        refuted.merge(&Record::judged(stamp(1), stamp(3), Health::Healthy));
        here.merge(&Record::judged(stamp(1), stamp(3), Health::Healthy));
        assert!(!here.is_visible() && refuted.stamps().has_news_for(Some(&here.stamps())));
        assert!(here.merge(&refuted) && here.is_visible());
        assert!(!refuted.stamps().has_news_for(Some(&here.stamps())));
    }

    #[test]
    fn an_expired_record_starts_healthy_when_registered_again() {
        let mut record = Record::registered(stamp(1), value(1), Health::Unhealthy);
        record.merge(&Record::judged(stamp(1), stamp(2), Health::Expired));
        assert!(record.is_tombstone());
        record.merge(&Record {
            registration: stamp(3),
            value: Some(value(3)),
            ..Record::default()
        });
        assert_eq!((record.is_visible(), record.health()), (true, Health::Healthy));
    }
}
