//! What is known about getting packets through to one subscriber: a state machine without IO.
//!
//! ```text
//!  begin ──► Sent ──ack time-out──► Resent ──ack time-out──► given up
//!              │ blocked: Unsent ──RETRY_BLOCKED──► Sent         │
//!              └──────────────── ack ──► healthy ◄── ack ──┐     ▼
//!                                                  probe ◄─┴── parked (after several misses)
//! ```
//!
//! A newer packet takes the place of an outstanding one, so a subscriber has at most one. Two
//! clocks run: that of the packet (send again, give up) and that of the silence, which a newer
//! packet does not restart: otherwise a subscriber of a busy service would never be found dead.

use std::time::Duration;

use tokio::time::Instant;

use super::packet::Packet;

/// When a packet is tried again that found the buffer of the socket full.
const RETRY_BLOCKED: Duration = Duration::from_millis(500);

/// When to send again, and when to stop.
#[derive(Debug, Clone, Copy)]
pub(in crate::push) struct Rules {
    /// Without ack for this long a packet is sent again, once.
    pub(in crate::push) ack_timeout: Duration,
    /// So many times in a row unheard: parked. 0: never.
    pub(in crate::push) park_after_misses: u32,
    /// A parked subscriber is tried again with one packet so long after the last one.
    pub(in crate::push) probe_interval: Duration,
}

/// Ids that are no longer waited for.
pub(in crate::push) type Released = [Option<i64>; 2];

/// What [`Delivery::check`] found.
#[derive(Debug)]
pub(in crate::push) enum Verdict {
    /// Nothing is outstanding.
    Idle,
    /// Nothing to do before [`Delivery::due`].
    Wait,
    /// Send this: a second time if `again`.
    Send { packet: Packet, again: bool },
    /// The outstanding packet was given up; `parked` if that was once too often.
    GaveUp { released: Released, parked: bool },
}

/// What an ack meant.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::push) struct Heard {
    pub(in crate::push) released: Released,
    /// The subscriber was parked before.
    pub(in crate::push) unparked: bool,
}

#[derive(Debug, Default)]
pub(in crate::push) struct Delivery {
    outstanding: Option<Outstanding>,
    /// The first id since the last ack, if a newer packet has taken its place. Its ack still
    /// proves life: where the way takes longer than the pause between two packets, acks never
    /// meet the newest one.
    earlier: Option<i64>,
    /// Since when nothing was heard although something was sent.
    silent_since: Option<Instant>,
    misses: u32,
    /// Sent once more then, whatever is acked.
    repeated: Option<(Instant, Packet)>,
    /// Parked; the next packet may go at this moment.
    probe_at: Option<Instant>,
}

#[derive(Debug)]
struct Outstanding {
    id: i64,
    packet: Option<Packet>,
    stage: Stage,
    due: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unsent,
    Sent,
    Resent,
}

impl Delivery {
    pub(in crate::push) fn is_parked(&self) -> bool {
        self.probe_at.is_some()
    }

    /// Something was sent and nothing heard since.
    pub(in crate::push) fn is_silent(&self) -> bool {
        self.silent_since.is_some() || self.misses > 0
    }

    /// Whether a packet may be sent now.
    pub(in crate::push) fn is_ready(&self, now: Instant) -> bool {
        self.probe_at.is_none_or(|probe_at| probe_at <= now)
    }

    /// The packet that waits for its ack, if it is kept.
    pub(in crate::push) fn outstanding(&self) -> Option<&Packet> {
        self.outstanding.as_ref()?.packet.as_ref()
    }

    /// Notes that `packet` is about to be sent; gives back the id no ack is expected for any more.
    pub(in crate::push) fn begin(
        &mut self,
        packet: &Packet,
        now: Instant,
        rules: &Rules,
    ) -> Released {
        let mut released = None;
        self.repeated = None;
        if let Some(previous) = self.outstanding.take() {
            if self.earlier.is_none() {
                self.earlier = Some(previous.id);
            } else {
                released = Some(previous.id);
            }
        }
        self.silent_since.get_or_insert(now);
        // A probe is one packet and no more.
        let stage = if self.is_parked() { Stage::Resent } else { Stage::Sent };
        if self.is_parked() {
            self.probe_at = Some(now + rules.probe_interval);
        }
        self.outstanding = Some(Outstanding {
            id: packet.id,
            packet: packet.keep().then(|| packet.clone()),
            stage,
            due: now + rules.ack_timeout,
        });
        [released, None]
    }

    /// Plans to send `packet` once more at `due`, whether it is acked or not. A newer packet takes
    /// its place.
    pub(in crate::push) fn repeat(&mut self, packet: &Packet, due: Instant) {
        self.repeated = packet.keep().then(|| (due, packet.clone()));
    }

    /// Notes that the packet could not be sent since the socket was full.
    pub(in crate::push) fn blocked(&mut self, now: Instant) {
        if let Some(outstanding) = &mut self.outstanding
            && outstanding.stage == Stage::Sent
        {
            outstanding.stage = Stage::Unsent;
            outstanding.due = now + RETRY_BLOCKED;
        }
    }

    /// Notes an ack; `None` if nothing was waiting for it.
    pub(in crate::push) fn acked(&mut self, id: i64, now: Instant) -> Option<Heard> {
        let mut released = [Some(id), None];
        if self.outstanding.as_ref().is_some_and(|outstanding| outstanding.id == id) {
            self.outstanding = None;
            self.silent_since = None;
            released[1] = self.earlier.take();
        } else if self.earlier == Some(id) {
            self.earlier = None;
            self.silent_since = self.outstanding.as_ref().map(|_| now);
        } else {
            return None;
        }
        self.misses = 0;
        Some(Heard { released, unparked: self.probe_at.take().is_some() })
    }

    /// When [`Self::check`] is to be called next.
    pub(in crate::push) fn due(&self, rules: &Rules) -> Option<Instant> {
        let repeated = self.repeated.as_ref().map(|(due, _)| *due);
        let outstanding = self.outstanding.as_ref().map(|outstanding| outstanding.due);
        let silence_ends = outstanding.and_then(|_| self.silence_ends(rules));
        [repeated, outstanding, silence_ends].into_iter().flatten().min()
    }

    /// Does what time demands.
    pub(in crate::push) fn check(&mut self, now: Instant, rules: &Rules) -> Verdict {
        if let Some((_, packet)) = self.repeated.take_if(|(due, _)| *due <= now) {
            return Verdict::Send { packet, again: true };
        }
        if self.silence_ends(rules).is_some_and(|end| end <= now) {
            self.misses = self.misses.saturating_add(1);
            self.silent_since = Some(now);
            if rules.park_after_misses != 0 && self.misses >= rules.park_after_misses {
                self.probe_at = Some(now + rules.probe_interval);
                return Verdict::GaveUp { released: self.give_up(), parked: true };
            }
        }
        let Some(outstanding) = &mut self.outstanding else { return Verdict::Idle };
        if outstanding.due <= now {
            let again = outstanding.stage == Stage::Sent;
            match outstanding.stage {
                Stage::Unsent => outstanding.stage = Stage::Sent,
                Stage::Sent => outstanding.stage = Stage::Resent,
                Stage::Resent => {
                    return Verdict::GaveUp { released: self.give_up(), parked: false };
                }
            }
            outstanding.due = now + rules.ack_timeout;
            if let Some(packet) = &outstanding.packet {
                return Verdict::Send { packet: packet.clone(), again };
            }
        }
        self.due(rules).map_or(Verdict::Idle, |_| Verdict::Wait)
    }

    /// Forgets what is outstanding, without judging.
    pub(in crate::push) fn give_up(&mut self) -> Released {
        self.repeated = None;
        self.silent_since = None;
        [self.outstanding.take().map(|outstanding| outstanding.id), self.earlier.take()]
    }

    /// When the silence counts as a miss. That of a parked one is known already.
    fn silence_ends(&self, rules: &Rules) -> Option<Instant> {
        if self.is_parked() {
            return None;
        }
        Some(self.silent_since? + 2 * rules.ack_timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::push::udp::packet::{PacketBudget, Template};

    const RULES: Rules = Rules {
        ack_timeout: Duration::from_secs(10),
        park_after_misses: 3,
        probe_interval: Duration::from_secs(300),
    };

    fn packet(id: i64) -> Packet {
        let budget = Arc::new(PacketBudget::new(usize::MAX));
        Packet::new(id, &Arc::new(Template::encode(1, b"{}", &budget).unwrap()))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Calls `check` at each due moment up to `end`; how many packets it sent.
    fn run(delivery: &mut Delivery, end: Instant) -> usize {
        let mut sends = 0;
        while let Some(due) = delivery.due(&RULES).filter(|due| *due <= end) {
            sends += usize::from(matches!(delivery.check(due, &RULES), Verdict::Send { .. }));
        }
        sends
    }

    #[test]
    fn a_packet_without_ack_is_sent_twice_and_no_more() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        delivery.begin(&packet(1), start, &RULES);
        assert!(matches!(delivery.check(start + seconds(9), &RULES), Verdict::Wait));
        assert_eq!(delivery.due(&RULES), Some(start + seconds(10)));
        assert!(matches!(
            delivery.check(start + seconds(10), &RULES),
            Verdict::Send { packet, again: true } if packet.id == 1
        ));
        assert!(matches!(
            delivery.check(start + seconds(20), &RULES),
            Verdict::GaveUp { released: [Some(1), None], parked: false }
        ));
        assert!(matches!(delivery.check(start + seconds(40), &RULES), Verdict::Idle));
        assert_eq!(delivery.misses, 1);
    }

    #[test]
    fn a_packet_is_repeated_once_though_acked_unless_a_newer_one_is_sent() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        let first = packet(1);
        delivery.begin(&first, start, &RULES);
        delivery.repeat(&first, start + seconds(1));
        assert!(delivery.acked(1, start).is_some());
        assert_eq!(delivery.due(&RULES), Some(start + seconds(1)));
        assert!(matches!(
            delivery.check(start + seconds(1), &RULES),
            Verdict::Send { packet, again: true } if packet.id == 1
        ));
        assert_eq!(delivery.due(&RULES), None);

        delivery.begin(&first, start, &RULES);
        delivery.repeat(&first, start + seconds(1));
        delivery.begin(&packet(2), start, &RULES);
        assert!(matches!(delivery.check(start + seconds(1), &RULES), Verdict::Wait));
    }

    #[test]
    fn an_ack_ends_it_and_clears_the_misses() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        delivery.misses = 2;
        delivery.begin(&packet(1), start, &RULES);
        assert_eq!(delivery.acked(2, start), None);
        assert_eq!(
            delivery.acked(1, start),
            Some(Heard { released: [Some(1), None], unparked: false })
        );
        assert_eq!((delivery.misses, delivery.due(&RULES)), (0, None));
        assert_eq!(delivery.acked(1, start), None);
    }

    #[test]
    fn who_never_acks_is_parked_and_probed_with_single_packets() {
        let (mut delivery, mut now) = (Delivery::default(), Instant::now());
        for id in 1..=3 {
            assert!(delivery.is_ready(now));
            delivery.begin(&packet(id), now, &RULES);
            now += seconds(30);
            assert_eq!(run(&mut delivery, now), 1, "each packet is sent again once");
        }
        assert!(delivery.is_parked() && !delivery.is_ready(now));
        let probe = now + seconds(300);
        assert!(delivery.is_ready(probe));
        delivery.begin(&packet(4), probe, &RULES);
        assert!(!delivery.is_ready(probe + seconds(1)));
        assert_eq!(run(&mut delivery, probe + seconds(60)), 0, "a probe is not sent again");
        assert!(delivery.is_parked());
        let second = probe + seconds(300);
        delivery.begin(&packet(5), second, &RULES);
        assert!(delivery.acked(5, second).is_some_and(|heard| heard.unparked));
        assert!(delivery.is_ready(second));
    }

    #[test]
    fn zero_misses_never_park() {
        let rules = Rules { park_after_misses: 0, ..RULES };
        let (mut delivery, mut now) = (Delivery::default(), Instant::now());
        for id in 1..=10 {
            delivery.begin(&packet(id), now, &rules);
            while let Some(due) = delivery.due(&rules) {
                delivery.check(due, &rules);
                now = due;
            }
        }
        assert_eq!((delivery.misses, delivery.is_parked()), (10, false));
    }

    #[test]
    fn newer_packets_do_not_hide_the_silence() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        let mut id = 0;
        let mut now = start;
        while !delivery.is_parked() && now < start + seconds(120) {
            id += 1;
            delivery.begin(&packet(id), now, &RULES);
            now += seconds(1);
            run(&mut delivery, now);
        }
        assert_eq!(now - start, seconds(60));
    }

    #[test]
    fn acks_that_always_come_for_an_earlier_packet_prove_life() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        // A packet each second; the ack takes three.
        for id in 1..=200 {
            let now = start + seconds(u64::try_from(id).unwrap());
            delivery.begin(&packet(id), now, &RULES);
            delivery.acked(id - 3, now);
            run(&mut delivery, now);
        }
        assert!(!delivery.is_parked());
        assert_eq!(delivery.misses, 0);
    }

    #[test]
    fn at_most_two_acks_are_waited_for() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        assert_eq!(delivery.begin(&packet(1), now, &RULES), [None, None]);
        assert_eq!(delivery.begin(&packet(2), now, &RULES), [None, None]);
        assert_eq!(delivery.begin(&packet(3), now, &RULES), [Some(2), None]);
        assert_eq!(delivery.give_up(), [Some(3), Some(1)]);
    }

    #[test]
    fn a_blocked_packet_is_sent_soon_and_its_resend_is_not_used_up() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        delivery.begin(&packet(1), start, &RULES);
        delivery.blocked(start);
        let due = delivery.due(&RULES).unwrap();
        assert_eq!(due, start + RETRY_BLOCKED);
        assert!(matches!(delivery.check(due, &RULES), Verdict::Send { again: false, .. }));
        let due = delivery.due(&RULES).unwrap();
        assert!(matches!(delivery.check(due, &RULES), Verdict::Send { again: true, .. }));
    }
}
