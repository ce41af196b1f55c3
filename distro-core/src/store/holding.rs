//! Registrations that a connection holds: renewed while it lasts, ended when it ends.

use super::Store;
use crate::record::Value;
use crate::stamp::Stamp;
use crate::store::datum::Heard;
use crate::time::Tick;

/// What has become of a registration that a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Readers see the record, and its lease is renewed. Another client may have registered it
    /// since.
    Shown,
    /// Somebody removed it on purpose after it was registered.
    Removed,
    /// The record has expired or lapsed, or is not known here.
    Missing {
        /// Others are responsible for it: another registration came later and has ended, or the
        /// owner of a foreign tag does not list it.
        is_by_another: bool,
    },
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// Ends the registration of this stamp because the connection that made it is over. Returns
    /// whether that changed anything; it does not if the record was registered again since, or if
    /// the tag is [foreign](Self::is_foreign), whose owner judges the silence. The others are told
    /// as of any write.
    ///
    /// The removal has the very stamp of the registration, and not a fresh one. So on every member,
    /// in whatever order it learns of both, any later registration counts: a client that came back
    /// elsewhere a moment ago is not removed by the end of the connection that it left. Nobody needs
    /// to judge that, and members of all releases understand it. Since nobody asked for the removal,
    /// late beats of the record are not held off: it is [unknown](Heard::Unknown) to them.
    pub fn lapse(&self, tag: &str, key: &str, registration: Stamp, now: Tick) -> bool {
        let rules = self.shared.config.rules;
        if !rules.bound_lapses() {
            let fresh = self.clock().issue(now);
            self.update(tag, now, |writer| writer.deregister_unseen(key, fresh));
            return true;
        }
        self.end(tag, key, registration, registration, now)
    }

    /// Removes the registration of this stamp for the client that made it. Like [`Self::lapse`] it
    /// ends no later registration; but it is a removal on purpose ([`Heard::Deregistered`]), which
    /// no member undoes by itself. Its stamp is the least one above that of the registration.
    pub fn retract(&self, tag: &str, key: &str, registration: Stamp, now: Tick) -> bool {
        let end = match self.shared.config.rules.bound_removals() {
            true => registration.just_after(),
            false => registration,
        };
        self.end(tag, key, registration, end, now)
    }

    fn end(&self, tag: &str, key: &str, registration: Stamp, end: Stamp, now: Tick) -> bool {
        let end =
            |writer: &mut crate::Writer<'_, V>| writer.end_registration(key, registration, end);
        self.update_existing(tag, now, end).unwrap_or(false)
    }

    /// A connection holds the registration of this stamp, and its client has given a sign of life:
    /// [hears](Self::hear) the record, and says what has become of it.
    pub fn hold(&self, tag: &str, key: &str, registration: Stamp, now: Tick) -> Held {
        if let Heard::Known { .. } = self.hear(tag, key, now) {
            return Held::Shown;
        }
        let lost = Held::Missing { is_by_another: false };
        let Some(datum) = self.find(tag) else { return lost };
        // Under a foreign tag nobody can tell what its owner lost from what it removed.
        let is_told = !self.is_foreign(tag);
        datum.read(|reader| match reader.find(key) {
            None => lost,
            Some(record) if record.is_visible() => Held::Shown,
            Some(record)
                if is_told && record.deregistered > registration.max(record.registration) =>
            {
                Held::Removed
            }
            Some(record) => {
                let ended = record.registration.max(record.deregistered);
                Held::Missing { is_by_another: ended > registration }
            }
        })
    }
}
