//! Bytes of requests being received and answers being sent: of one connection, of one address, of
//! all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::http::Source;

/// What all connections may take together.
#[derive(Debug)]
pub(super) struct Budget {
    taken: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }

    /// Bytes taken now.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

/// What one connection takes, which counts in all budgets that it is part of.
#[derive(Debug)]
pub(super) struct Account {
    own: Budget,
    all: Arc<Budget>,
    source: Arc<Source>,
    most_of_source: usize,
}

impl Account {
    /// Of a connection that may take `most`.
    pub(super) fn new(most: usize, all: Arc<Budget>, source: Arc<Source>) -> Self {
        // Half of what there is for all: one address leaves the other half to the others.
        let most_of_source = (all.most / 2).max(most);
        Self { own: Budget::new(most), all, source, most_of_source }
    }

    /// The beginning of what something takes: nothing.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge { account: Arc::clone(self), bytes: 0 }
    }
}

/// Bytes that something takes for as long as this lives.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// Takes so many bytes more. False if that is more than there is; they count all the same until
    /// this is dropped.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let Account { own, all, source, most_of_source } = &*self.account;
        let fits = |counter: &AtomicUsize, most| counter.fetch_add(bytes, Relaxed) + bytes <= most;
        let fits_own = fits(&own.taken, own.most);
        let fits_all = fits(&all.taken, all.most);
        let fits_source = fits(&source.body_bytes, *most_of_source);
        fits_own && fits_all && fits_source
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Account { own, all, source, .. } = &*self.account;
        for counter in [&own.taken, &all.taken, &source.body_bytes] {
            counter.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_an_address_and_all_have_a_limit_each() {
        let all = Arc::new(Budget::new(100));
        let (here, there) = (Arc::<Source>::default(), Arc::<Source>::default());
        let account =
            |source: &Arc<Source>| Arc::new(Account::new(30, Arc::clone(&all), Arc::clone(source)));
        let take = |account: &Arc<Account>, bytes| {
            let mut charge = account.charge();
            charge.grow(bytes).then_some(charge)
        };
        let first = account(&here);
        let one = take(&first, 20).unwrap();
        assert!(take(&first, 11).is_none(), "more than a connection may take");
        assert!(take(&first, 10).is_some(), "what was refused is given back");
        let second = account(&here);
        let two = take(&second, 30).unwrap();
        assert!(take(&account(&here), 1).is_none(), "more than half of all from one address");
        let three = take(&account(&there), 30).unwrap();
        let four = take(&account(&there), 20).unwrap();
        assert!(take(&account(&Arc::default()), 1).is_none(), "more than there is for all");
        drop([one, two, three, four]);
        assert_eq!(all.taken(), 0);
    }
}
