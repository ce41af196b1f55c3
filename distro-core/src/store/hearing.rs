//! Beats: those that this member hears, and those that others tell it of.

use super::*;

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// A beat: renews the lease of a record and, if it was unhealthy, makes it healthy. Costs a
    /// lookup, a shared lock and one atomic store; only a change of health takes more. If another
    /// member owns the slot, it is told with the next renewals.
    pub fn hear(&self, tag: &str, key: &str, now: Tick) -> Heard<V> {
        self.hear_at(tag, key, now, now)
    }

    /// The same for a beat that a client sent at `at`, and that took until now.
    #[inline]
    pub(crate) fn hear_at(&self, tag: &str, key: &str, at: Tick, now: Tick) -> Heard<V> {
        let Some(datum) = self.find(tag) else { return Heard::Unknown };
        let heard = datum.hear(key, at);
        if let Heard::Known { value, health } = &heard
            && let Some(lease) = value.lease()
        {
            self.pass_on(&datum, key, || datum.heard_at(key, at));
            let is_wrong = || lease.health_after(now.since(at)) == Health::Healthy;
            if *health == Health::Unhealthy && is_wrong() {
                self.revive(&datum, key, value, now);
            }
        }
        if matches!(heard, Heard::Unknown) {
            self.hear_of_stub(&datum, key, now, now);
        }
        heard
    }

    /// A beat of a record that is not shown here: it may be in doubt.
    #[inline]
    fn hear_of_stub(&self, datum: &Datum<V, A>, key: &str, at: Tick, now: Tick) {
        if self.shared.slots[datum.slot().index()].memory.has_gaps() {
            self.update_existing(datum.tag(), now, |writer| writer.hear_of_stub(key, at));
        }
    }

    /// A beat that another member heard at `heard.tick` and `heard.hops` others passed on, of what
    /// was written at `written`. `None`: it was heard before this member started.
    pub(crate) fn hear_of(
        &self,
        tag: &str,
        key: &str,
        heard: Option<HeardAt>,
        written: u64,
        now: Tick,
    ) -> HeardOf<V> {
        let Some(datum) = self.find(tag) else { return HeardOf::Unknown };
        let found = datum.hear_of(key, heard.map(|heard| heard.tick), written);
        if let HeardOf::Known { is_news, is_healthy, is_behind } = found {
            if let Some(heard) = heard.filter(|_| is_news) {
                self.pass_on(&datum, key, || heard);
            }
            if !is_healthy && !is_behind && self.shared.config.rules.refute() {
                self.update_existing(tag, now, |writer| writer.refute(key));
            }
        } else if let (HeardOf::Unknown, Some(heard)) = (&found, heard) {
            self.hear_of_stub(&datum, key, heard.tick, now);
        }
        found
    }

    /// Leaves a beat for the owner of the slot.
    fn pass_on(&self, datum: &Datum<V, A>, key: &str, heard: impl FnOnce() -> HeardAt) {
        let journal = &self.shared.journal;
        let owner = || self.shared.owner(datum.tag(), datum.slot());
        let is_ours = || owner() == Some(self.shared.clock.member());
        let is_told = || !self.shared.is_foreign(datum.tag());
        if journal.is_kept() && (!is_ours() || journal.takes_all()) && is_told() {
            journal.note_heard((Arc::clone(datum.tag()), key.into()), heard());
        }
    }

    /// Tells the owner of a record that was just registered here that it was heard.
    pub(crate) fn note_registered(&self, tag: &str, key: &str, at: Tick) {
        if let Some(datum) = self.find(tag) {
            self.pass_on(&datum, key, || datum.heard_at(key, at));
        }
    }

    fn revive(&self, datum: &Arc<Datum<V, A>>, key: &str, value: &Arc<V>, now: Tick) {
        let revived = self.update_existing(datum.tag(), now, |writer| writer.revive(key));
        if revived == Some(true) {
            let (key, value) = (Key::from(key), Arc::clone(value));
            let verdict =
                Verdict { key, value, health: Health::Healthy, silent_for: Duration::ZERO };
            self.watchers.iter().for_each(|watcher| watcher.judged(datum, &verdict));
        }
    }
}
