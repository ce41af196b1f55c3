//! Leaving: a member that is asked to stop hands over what only it knows, and owns nothing any more.

use std::sync::Arc;

use crate::distro::Distro;
use crate::membership::{Peer, Phase};
use crate::record::Value;
use crate::slot::Slot;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Begins to leave: gives the slots away, and tells their owners when each record was heard.
    pub(crate) fn leave(&mut self, now: Tick) {
        if self.phase == Phase::Leaving {
            return;
        }
        let tags = Slot::all().flat_map(|slot| self.store.tags(slot, None));
        let owned: Vec<Arc<str>> = tags.filter(|tag| self.store.owns(tag)).collect();
        self.joining.loader = None;
        self.set_phase(Phase::Leaving);
        self.look_around(now);
        self.leave_by = Some(now.after(self.config.leave_within));
        for tag in owned {
            let Some(datum) = self.store.find(&tag) else { continue };
            let heard = datum.read(|reader| {
                reader.heard().map(|(key, tick)| (key.clone(), tick)).collect::<Vec<_>>()
            });
            for (key, tick) in heard {
                let heard = datum.heard_at(&key, tick);
                self.store.journal().note_heard((tag.clone(), key), heard);
            }
        }
        self.spread_beats();
    }

    /// Whether everyone in reach has been told everything.
    pub(crate) fn is_handed_over(&self, now: Tick) -> bool {
        let mut reachable =
            self.peers.values().filter(|peer| peer.member.is_reachable(&self.config, now));
        reachable.all(Peer::is_drained) && self.calls.is_empty()
    }
}
