//! While all members agree on the owner and reach it, no acknowledged addition is lost: what is
//! told to who counts is more than all that was told before the call began.

use std::collections::BTreeMap;

/// From the end of a disturbance on, members need so long to hold the same and to agree.
const SETTLED_MS: u64 = 12_000;

/// What an operator closes is closed everywhere after this.
const CLOSING_MS: u64 = 2_000;

#[derive(Default)]
pub(crate) struct Counts {
    /// Of each tag since the last disturbance: what was told, and when.
    told: BTreeMap<String, Vec<(u64, u32)>>,
    disturbed_at: u64,
    /// When tags were closed: they begin anew.
    closed: BTreeMap<String, u64>,
    /// How many additions were held against others.
    pub(crate) checked: u64,
    broken: Option<String>,
}

impl Counts {
    pub(crate) fn counted(
        &mut self,
        tag: &str,
        number: u32,
        began: u64,
        disturbed_at: u64,
        now: u64,
    ) {
        if self.disturbed_at != disturbed_at {
            self.told.clear();
            self.disturbed_at = disturbed_at;
        }
        let closed = self.closed.get(tag).map_or(0, |at| at + CLOSING_MS);
        if began < closed.max(disturbed_at + SETTLED_MS) {
            return;
        }
        let told = self.told.entry(tag.to_owned()).or_default();
        let most = told.iter().filter(|(at, _)| *at < began).map(|(_, number)| *number).max();
        let is_twice = told.iter().any(|(_, other)| *other == number);
        self.checked += 1;
        if is_twice || most.is_some_and(|most| number <= most) {
            self.broken = Some(format!("{tag}: counted to {number} after {most:?}"));
        }
        told.push((now, number));
    }

    pub(crate) fn closed(&mut self, tag: &str, now: u64) {
        self.told.remove(tag);
        self.closed.insert(tag.to_owned(), now);
    }

    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.broken.take().map_or(Ok(()), Err)
    }
}
