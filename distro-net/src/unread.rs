//! Records of other members that mean nothing here: counted, and each named in the log once.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use distro_core::{MemberId, RecordId};
use parking_lot::Mutex;

use crate::codec::Unread;

/// Records that are named in the log at most; of more it says that there are more.
const MOST_NAMED: usize = 256;
/// Bytes of a name that are shown.
const SHOWN_BYTES: usize = 256;

/// Notes records once each, up to a number.
#[derive(Debug, Default)]
pub(crate) struct Named {
    seen: Mutex<BTreeSet<u64>>,
}

/// Whether something is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It was not named before.
    ALine,
    /// It is the first of those that are not named any more, since so many were.
    TheLastLine,
    /// No.
    Nothing,
}

impl Named {
    /// Notes a record of a member.
    pub(crate) fn note(&self, member: MemberId, place: &RecordId) -> Worth {
        let mut hasher = DefaultHasher::new();
        (member.0, place).hash(&mut hasher);
        let mut seen = self.seen.lock();
        let is_full = seen.len() >= MOST_NAMED;
        match seen.len() <= MOST_NAMED && seen.insert(hasher.finish()) {
            true if is_full => Worth::TheLastLine,
            true => Worth::ALine,
            false => Worth::Nothing,
        }
    }
}

/// What came of reading records.
#[derive(Debug, Default)]
pub(crate) struct Unreads {
    count: AtomicU64,
    named: Named,
}

impl Unreads {
    /// How often a record could not be read.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes down what could not be read in a message of a member.
    pub(crate) fn note(&self, member: MemberId, unread: &[Unread]) {
        self.count.fetch_add(unread.len() as u64, Ordering::Relaxed);
        for Unread { place, error } in unread {
            match self.named.note(member, place) {
                Worth::ALine => {
                    let (tag, key) = (shown(&place.0), shown(&place.1));
                    tracing::warn!(
                        member = member.0, ?tag, ?key, %error,
                        "a record of another member cannot be read and is kept out"
                    );
                }
                Worth::TheLastLine => tracing::warn!(
                    member = member.0,
                    "more records of other members cannot be read; they are counted only"
                ),
                Worth::Nothing => {}
            }
        }
    }
}

/// The beginning of a name.
pub(crate) fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(SHOWN_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_named_once_and_no_more_than_so_many() {
        let (named, member) = (Named::default(), MemberId(1));
        let place = |n: usize| ("tag".into(), format!("k{n}").into());
        assert_eq!(named.note(member, &place(0)), Worth::ALine);
        assert_eq!(named.note(member, &place(0)), Worth::Nothing);
        assert_eq!(named.note(MemberId(2), &place(0)), Worth::ALine, "it may be read elsewhere");
        assert!((2..MOST_NAMED).all(|n| named.note(member, &place(n)) == Worth::ALine));
        assert_eq!(named.note(member, &place(MOST_NAMED)), Worth::TheLastLine);
        assert_eq!(named.note(member, &place(MOST_NAMED + 1)), Worth::Nothing);
        assert!(named.seen.lock().len() <= MOST_NAMED + 1);
    }
}
