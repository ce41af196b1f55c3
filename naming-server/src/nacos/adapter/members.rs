//! Who is there: the list, and reports to all on it.

use std::sync::Arc;
use std::time::Duration;

use distro_net::{Address, MemberWatch};
use tokio_util::sync::CancellationToken;

use super::Adapter;
use crate::nacos::caller::Reported;
use crate::nacos::roster::{attend, next_list, places};
use crate::text::cut;

/// Between two reports to one member.
const REPORT_PERIOD: Duration = Duration::from_secs(2);

impl Adapter {
    /// The list of members is this from now on. Reports go to the new ones at once.
    pub(crate) async fn set_list(&self, list: &[Address]) {
        let places = places(list).await;
        self.update(|states| {
            states.set_list(list.iter().map(Address::as_str));
            let mut view = super::View::clone(&self.outboxes.view.load());
            view.places = places;
            self.outboxes.view.store(Arc::new(view));
        });
        let is_listed = |address: &str| list.iter().any(|listed| listed.as_str() == address);
        self.hearings.lock().retain(|address, _| is_listed(address));
        self.list_changed.notify_one();
    }

    /// Members that have been taken out by an operator, until the list changes next.
    pub(crate) fn remove(&self, leaving: &[String]) {
        self.update(|states| states.remove(leaving.iter().map(String::as_str)));
        self.list_changed.notify_one();
    }

    /// Tells the Java servers that are left which members are none any more.
    pub(crate) async fn tell_leaving(&self, body: &str) {
        let boxes = self.outboxes.boxes.load_full();
        for member in boxes.keys() {
            if let Err(error) = self.caller.tell_leaving(member, body.to_owned()).await {
                tracing::warn!(%member, %error, "cannot tell a Java server which members leave");
            }
        }
    }

    /// Follows the list, until `shutdown`.
    pub(super) async fn follow(&self, mut watch: MemberWatch, shutdown: &CancellationToken) {
        while let Some(list) = next_list(&mut watch, shutdown, "members").await {
            self.set_list(&list).await;
        }
    }

    /// Runs what is to be done for each other member, until `shutdown`.
    pub(super) async fn attend(self: &Arc<Self>, shutdown: &CancellationToken) {
        let others =
            || self.states.lock().others().map(|(address, _)| Arc::clone(address)).collect();
        let one = |address: &Arc<str>, end: &CancellationToken| self.attend_one(address, end);
        attend(others, one, &self.list_changed, shutdown).await;
    }

    fn attend_one(self: &Arc<Self>, address: &Arc<str>, end: &CancellationToken) {
        let (adapter, to, ends) = (Arc::clone(self), Arc::clone(address), end.clone());
        tokio::spawn(async move {
            let both = async { tokio::join!(adapter.keep_reporting(&to), adapter.spread(&to)) };
            tokio::select! {
                () = ends.cancelled() => {}
                _ = both => {}
            }
        });
    }

    async fn keep_reporting(&self, to: &str) {
        loop {
            self.report_to(to).await;
            tokio::time::sleep(REPORT_PERIOD).await;
        }
    }

    /// Reports to one member and takes what comes of it.
    async fn report_to(&self, to: &str) {
        let is_old = self.states.lock().find(to).is_some_and(|other| other.make_is_old);
        if is_old {
            // Before it counts as up: one of our make is no Java server even for a moment.
            self.describe(to).await;
        }
        match self.caller.report(to, self.own_report()).await {
            Reported::Up => self.update(|states| states.answered(to)),
            Reported::Unknown => {}
            Reported::Failed { refused, reason } => {
                let was_up = self.states.lock().find(to).is_some_and(|other| other.failures == 0);
                if was_up {
                    tracing::warn!(member = to, "a report to a Java server failed: {reason}");
                }
                self.update(|states| states.failed(to, refused));
            }
        }
    }

    /// Asks a member what it is; returns whether it answered.
    pub(super) async fn describe(&self, member: &str) -> bool {
        match self.caller.describe(member).await {
            // It may be another server at its address.
            Ok(described) if described.address == member => {
                self.update(|states| states.described(member, &described));
                true
            }
            Ok(described) => {
                let other = cut(&described.address, 64);
                tracing::warn!(member, "the server at a member's address says that it is {other}");
                false
            }
            Err(error) => {
                tracing::debug!(member, %error, "a member does not say what it is");
                false
            }
        }
    }
}
