//! Records that come from other members, or that this member saved before it was restarted.

use super::Store;
use crate::record::{Key, Record, Value};
use crate::stamp::Stamp;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// Merges records of one tag that come from another member. If they are no news, but given
    /// because this one has just started, nothing of it is a moment old, and lists of foreign tags
    /// may change it at once.
    pub(crate) fn merge<'a>(
        &self,
        tag: &str,
        records: impl Iterator<Item = (&'a Key, &'a Record<V>)>,
        is_news: bool,
        now: Tick,
    ) {
        self.update(tag, now, |writer| {
            if !is_news {
                writer.note_no_writes();
            }
            for (key, record) in records {
                writer.merge(key, record);
            }
        });
    }

    /// Puts back records of one tag that were saved before this process began, tombstones too.
    ///
    /// They are merged like those of another member: what is newer here stays, watchers are
    /// called, and stamps that this member issues from now on are greater than all of theirs.
    /// Nobody is told of them: members compare what they hold. A record with a lease counts as
    /// never heard by this member, and gets a full time-out from `now`; a removal is remembered as
    /// if it had been learned of now.
    ///
    /// Records with a stamp beyond [`Stamp::LATEST_TIME`], which nobody can have issued, are left
    /// out. Returns how many those were.
    ///
    /// What to save of a record is [`Reader::find`](crate::Reader::find), tombstones included; of
    /// a datum [`Reader::records_after`](crate::Reader::records_after).
    pub fn restore(
        &self,
        tag: &str,
        records: impl IntoIterator<Item = (Key, Record<V>)>,
        now: Tick,
    ) -> usize {
        let mut left_out = 0;
        self.update(tag, now, |writer| {
            for (key, record) in records {
                if record.newest().time() <= Stamp::LATEST_TIME {
                    writer.restore(&key, &record);
                } else {
                    left_out += 1;
                }
            }
        });
        left_out
    }

    /// Forgets every record that was not heard within its time-out. For a member that was away for
    /// so long that others may have forgotten what was removed meanwhile.
    pub(crate) fn forget_unheard(&self, now: Tick) {
        for datum in self.all() {
            self.update_existing(datum.tag(), now, |writer| writer.forget_unheard());
            self.collect(&datum);
        }
    }
}
