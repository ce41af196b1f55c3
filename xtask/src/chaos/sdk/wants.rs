//! What a client has told its servers, or is about to.

use std::cell::RefCell;

use tokio::sync::Notify;
use xtask_grpc::Payload;

/// The wishes of one client, each a call that every new connection has to make.
#[derive(Default)]
pub(in crate::chaos) struct Wants {
    all: RefCell<Vec<Want>>,
    woken: Notify,
    done: Notify,
}

struct Want {
    call: Payload,
    is_done: bool,
}

impl Wants {
    pub(in crate::chaos) fn new(calls: impl IntoIterator<Item = Payload>) -> Self {
        let want = |call| Want { call, is_done: false };
        Self { all: RefCell::new(calls.into_iter().map(want).collect()), ..Self::default() }
    }

    /// Wants something else in the place of wish `number`, at once.
    pub(in crate::chaos) fn replace(&self, number: usize, call: Payload) {
        if let Some(want) = self.all.borrow_mut().get_mut(number) {
            *want = Want { call, is_done: false };
        }
        self.woken.notify_one();
    }

    /// Waits until a server has been told everything.
    pub(in crate::chaos) async fn all_done(&self) {
        while !self.are_done() {
            self.done.notified().await;
        }
    }

    pub(super) fn are_done(&self) -> bool {
        self.all.borrow().iter().all(|want| want.is_done)
    }

    /// A connection has been told nothing yet.
    pub(super) fn begin_anew(&self) {
        self.all.borrow_mut().iter_mut().for_each(|want| want.is_done = false);
    }

    pub(super) fn undone(&self) -> Vec<(usize, Payload)> {
        let all = self.all.borrow();
        let undone = all.iter().enumerate().filter(|(_, want)| !want.is_done);
        undone.map(|(number, want)| (number, want.call.clone())).collect()
    }

    /// `call` was answered; something else may be wanted meanwhile.
    pub(super) fn done(&self, number: usize, call: &Payload) {
        if let Some(want) = self.all.borrow_mut().get_mut(number) {
            want.is_done = want.call == *call;
        }
        self.done.notify_waiters();
    }

    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use xtask_grpc::messages::message;

    use super::*;

    #[test]
    fn what_was_wanted_before_does_not_count_for_what_is_wanted_now() {
        let (first, second) = (message("A", "1"), message("A", "2"));
        let wants = Wants::new([first.clone()]);
        let undone = wants.undone();
        assert_eq!(undone.len(), 1);
        wants.replace(0, second.clone());
        wants.done(0, &first);
        assert!(!wants.are_done());
        wants.done(0, &second);
        assert!(wants.are_done() && wants.undone().is_empty());
        wants.begin_anew();
        assert_eq!(wants.undone(), [(0, second)]);
    }
}
