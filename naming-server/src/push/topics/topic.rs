//! A service that somebody listens to: its listeners, and whether they are to be told.

use std::sync::Arc;

use naming_model::ServiceKey;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::push::stream::{StreamListeners, StreamSink};
use crate::push::subscriber::Listed;
use crate::push::udp::{Subscription, UdpListeners, UdpPace};

/// A service that somebody listens to.
pub(in crate::push) struct Topic {
    pub(in crate::push) service: ServiceKey,
    pub(in crate::push) pace: UdpPace,
    pub(super) listeners: Mutex<Listeners>,
    schedule: Mutex<Schedule>,
}

/// Who listens to a service, by the kind of sink.
#[derive(Default)]
pub(super) struct Listeners {
    /// Nobody listens, and the topic is out of the table: a thread that still holds it must look
    /// again.
    pub(super) closed: bool,
    pub(super) udp: UdpListeners,
    pub(super) streams: StreamListeners,
}

impl Listeners {
    pub(super) fn count(&self) -> usize {
        self.udp.len() + self.streams.len()
    }

    /// Closes the topic if nobody listens; whether it is closed now.
    pub(super) fn close_if_empty(&mut self) -> bool {
        self.closed = self.udp.is_empty() && self.streams.is_empty();
        self.closed
    }
}

#[derive(Debug, Default)]
struct Schedule {
    /// The oldest change nobody was told about.
    dirty_since: Option<Instant>,
    /// The driver has it: queued, being sent, or in the window after that.
    scheduled: bool,
}

impl Topic {
    pub(super) fn new(service: ServiceKey) -> Self {
        let (pace, listeners, schedule) = Default::default();
        Self { service, pace, listeners, schedule }
    }

    /// Notes a change; whether the driver has to be told.
    pub(in crate::push) fn mark(&self, now: Instant) -> bool {
        let mut schedule = self.schedule.lock();
        schedule.dirty_since.get_or_insert(now);
        !std::mem::replace(&mut schedule.scheduled, true)
    }

    /// Takes the mark away, before anything is rendered: what changes from here on marks again.
    /// Without a mark the topic goes back to rest.
    pub(super) fn take_mark(&self) -> Option<Instant> {
        let mut schedule = self.schedule.lock();
        let dirty_since = schedule.dirty_since.take();
        schedule.scheduled = dirty_since.is_some();
        dirty_since
    }

    /// Whether the driver has it.
    #[cfg(test)]
    pub(in crate::push) fn is_scheduled(&self) -> bool {
        self.schedule.lock().scheduled
    }

    /// The connections that listen, and the sockets that may be pushed to now: those who answer,
    /// and those who owe an ack.
    pub(super) fn ready(&self, now: Instant) -> Ready {
        let listeners = self.listeners.lock();
        let (answering, silent) = listeners.udp.ready(now);
        Ready { streams: listeners.streams.sinks(), answering, silent }
    }

    /// Everybody who listens, as lists of subscribers show them.
    pub(super) fn listed(&self, now: Instant) -> Vec<Listed> {
        let listeners = self.listeners.lock();
        let is_alive = |subscription: &&Arc<Subscription>| subscription.state.lock().is_alive(now);
        let sockets = listeners.udp.iter().filter(is_alive);
        let sockets = sockets.map(|subscription| subscription.subscriber.listed());
        sockets.chain(listeners.streams.iter().map(|listener| listener.listed())).collect()
    }

    /// Removes what has expired; whether the topic is closed.
    pub(super) fn sweep(&self, now: Instant, removed: &mut Vec<Arc<Subscription>>) -> bool {
        let mut listeners = self.listeners.lock();
        listeners.udp.sweep(now, removed);
        listeners.close_if_empty()
    }
}

/// Who is to be told of a change.
pub(super) struct Ready {
    pub(super) streams: Vec<Arc<dyn StreamSink>>,
    pub(super) answering: Vec<Arc<Subscription>>,
    pub(super) silent: Vec<Arc<Subscription>>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WHILE: Duration = Duration::from_secs(30);

    #[test]
    fn a_change_after_the_mark_was_taken_marks_again() {
        let topic = Topic::new(ServiceKey::parse("public", "g@@s").unwrap());
        let now = Instant::now();
        assert!(topic.mark(now));
        assert!(!topic.mark(now + WHILE), "already with the driver");
        assert_eq!(topic.take_mark(), Some(now), "the oldest change counts");
        assert!(!topic.mark(now), "the driver still has it and will look again");
        assert_eq!(topic.take_mark(), Some(now));
        assert_eq!(topic.take_mark(), None);
        assert!(topic.mark(now), "at rest again");
    }
}
