//! Where packets go, and how many may go there.
//!
//! A request for a list names a port, and within `push.client_networks` an address: that proves
//! nothing about who listens there. So a socket is *proved* by its first ack, which names a number
//! that only its owner can have read. Before that a socket at an address that was only
//! named gets one short packet, and a second one when that is not acked: the same, or the newer
//! list in its place. An address that a request came from has at least asked for something: its
//! sockets get up to twenty, four in a second. If none is acked in the time of two sends, that is
//! all for five minutes. All sockets of an address share what it may get in a second.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Subscription;
use crate::push::HashState;

/// Most packets to a socket without an ack, at an address that has asked and at one that has not.
const MOST_ASKED: u32 = 20;
const MOST_NAMED: u32 = 2;
/// Addresses without an ack share this part of what they get with one.
const UNPROVED_SHARE: u64 = 128;

/// What limits the packets to an address.
#[derive(Debug, Clone, Copy)]
pub(in crate::push) struct TargetRules {
    /// Whether the bytes to this machine count.
    pub(in crate::push) limits_loopback: bool,
    /// Bytes to an address in a second.
    pub(in crate::push) bytes_per_second: u64,
    /// Longest packet to a socket without an ack.
    pub(in crate::push) unproved_bytes: usize,
    /// Time between two short packets to a socket without an ack at an address that has asked.
    pub(in crate::push) second_after: Duration,
    /// How long an ack may take until a packet is sent again.
    pub(in crate::push) ack_timeout: Duration,
    /// Time between two packets to a socket that does not ack.
    pub(in crate::push) probe_interval: Duration,
    /// Most subscriptions of the sockets of an address.
    pub(in crate::push) max_subscriptions: usize,
}

/// What may be sent to a socket now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::push) enum Admission {
    /// The packet.
    Send,
    /// A probe first.
    Probe,
    /// Nothing before the ack that is waited for, or this moment.
    AwaitAck(Option<Instant>),
    /// Nothing before this moment: the address has had its bytes.
    Later(Instant),
    /// Nothing so long, until somebody there has acked something short.
    TooLong,
}

/// One socket, be it that of many subscriptions.
#[derive(Debug)]
pub(in crate::push) struct Target {
    pub(in crate::push) address: SocketAddr,
    host: Arc<Host>,
    rules: TargetRules,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_proved: bool,
    /// A request came from its address.
    has_asked: bool,
    /// When the first packet was sent and the last one, and how many.
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    sends: u32,
    /// The probe whose ack is waited for.
    probe: Option<i64>,
    /// Subscriptions whose packet waits for the ack.
    waiting: Vec<Weak<Subscription>>,
}

impl Target {
    /// Whether a packet of `bytes` may go there now, or a probe to somebody who understands one.
    /// What is admitted counts as sent.
    pub(in crate::push) fn admit(&self, bytes: usize, may_probe: bool, now: Instant) -> Admission {
        let mut state = self.state.lock();
        if state.is_proved {
            return match self.host.take(true, bytes, &self.rules, now) {
                Ok(()) => Admission::Send,
                Err(at) => Admission::Later(at),
            };
        }
        let is_short = bytes <= self.rules.unproved_bytes;
        if let Some(wait) = state.wait(is_short, &self.rules, now) {
            return Admission::AwaitAck(wait);
        }
        if !is_short && !may_probe {
            return Admission::TooLong;
        }
        // A probe is shorter than any packet with a list.
        let bytes = bytes.min(self.rules.unproved_bytes);
        if let Err(at) = self.host.take(false, bytes, &self.rules, now) {
            return Admission::Later(at);
        }
        state.count(&self.rules, now);
        if is_short { Admission::Send } else { Admission::Probe }
    }

    /// Whether `bytes` may be sent a second time.
    pub(in crate::push) fn may_repeat(&self, bytes: usize, now: Instant) -> bool {
        let mut state = self.state.lock();
        let may_have = state.is_proved || state.wait_end(&self.rules, now).is_none();
        let may_repeat =
            may_have && self.host.take(state.is_proved, bytes, &self.rules, now).is_ok();
        if may_repeat && !state.is_proved {
            state.count(&self.rules, now);
        }
        may_repeat
    }

    /// Takes note of the probe that is sent; gives back the one before.
    pub(in crate::push) fn set_probe(&self, id: i64) -> Option<i64> {
        self.state.lock().probe.replace(id)
    }

    /// The probe that is waited for no longer.
    pub(in crate::push) fn take_probe(&self) -> Option<i64> {
        self.state.lock().probe.take()
    }

    /// Has a subscription be given back once the ack is there; `false` if it is there already.
    pub(in crate::push) fn await_ack(&self, subscription: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock();
        if state.is_proved {
            return false;
        }
        let waiting = &mut state.waiting;
        if waiting.len() == waiting.capacity() {
            // Those that have expired meanwhile make room first.
            waiting.retain(|waiting| waiting.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(subscription));
        true
    }

    /// Notes an ack; gives back the subscriptions that waited for it.
    pub(in crate::push) fn prove(&self) -> Vec<Arc<Subscription>> {
        let mut state = self.state.lock();
        state.is_proved = true;
        std::mem::take(&mut state.waiting).iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether an ack has come from there.
    pub(in crate::push) fn is_proved(&self) -> bool {
        self.state.lock().is_proved
    }

    /// Whether its first packet was not acked in time.
    pub(in crate::push) fn is_mute(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let given_up = state.first_at.map(|at| at + 2 * self.rules.ack_timeout);
        !state.is_proved && given_up.is_some_and(|at| at <= now)
    }
}

impl State {
    /// Until when a socket without an ack gets nothing at all, since it has had what there is.
    fn wait_end(&self, rules: &TargetRules, now: Instant) -> Option<Instant> {
        let first_at = self.first_at.filter(|at| now < *at + rules.probe_interval)?;
        let most = if self.has_asked { MOST_ASKED } else { MOST_NAMED };
        let is_over = self.sends >= most || first_at + 2 * rules.ack_timeout <= now;
        is_over.then(|| first_at + rules.probe_interval)
    }

    /// Why nothing may be sent to a socket without an ack: there is one to wait for, and maybe a
    /// moment from which it need not be waited for.
    fn wait(&self, is_short: bool, rules: &TargetRules, now: Instant) -> Option<Option<Instant>> {
        if self.wait_end(rules, now).is_some() {
            return Some(None);
        }
        let last_at = self.last_at?;
        // A probe that was lost is sent again when a list would be.
        let is_soon = is_short && self.has_asked;
        let next_at = last_at + if is_soon { rules.second_after } else { rules.ack_timeout };
        (now < next_at).then_some(Some(next_at))
    }

    fn count(&mut self, rules: &TargetRules, now: Instant) {
        self.last_at = Some(now);
        match self.first_at {
            Some(at) if now < at + rules.probe_interval => self.sends += 1,
            _ => (self.first_at, self.sends) = (Some(now), 1),
        }
    }
}

/// An address, with all its sockets.
#[derive(Debug)]
struct Host {
    is_unlimited: bool,
    /// Of sockets without and with an ack.
    buckets: Mutex<[Bucket; 2]>,
}

impl Host {
    /// Takes `bytes` of what the address may get, or says when there will be as many.
    fn take(
        &self,
        is_proved: bool,
        bytes: usize,
        rules: &TargetRules,
        now: Instant,
    ) -> Result<(), Instant> {
        if self.is_unlimited {
            return Ok(());
        }
        let per_second = match is_proved {
            true => rules.bytes_per_second,
            false => (rules.bytes_per_second / UNPROVED_SHARE).max(1),
        };
        let [unproved, proved] = &mut *self.buckets.lock();
        let bucket = if is_proved { proved } else { unproved };
        bucket.take(bytes as u64, per_second, now)
    }
}

/// Bytes that may be sent: as many as a second brings are kept, or as one packet needs.
#[derive(Debug, Default)]
struct Bucket {
    /// Bytes sent that no time has made up for.
    owed: u64,
    since: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, bytes: u64, per_second: u64, now: Instant) -> Result<(), Instant> {
        let passed = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let regained = passed.as_micros() * u128::from(per_second) / 1_000_000;
        if regained > 0 || self.since.is_none() {
            self.owed = self.owed.saturating_sub(u64::try_from(regained).unwrap_or(u64::MAX));
            self.since = Some(now);
        }
        let room = per_second.max(bytes);
        let excess = (self.owed + bytes).saturating_sub(room);
        if excess == 0 {
            self.owed += bytes;
            return Ok(());
        }
        // Rounded up: never zero.
        Err(now + Duration::from_micros(excess.saturating_mul(1_000_000) / per_second + 1))
    }
}

/// All sockets that packets go to.
#[derive(Debug)]
pub(in crate::push) struct Targets {
    rules: TargetRules,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    targets: HashMap<SocketAddr, (Arc<Target>, usize), HashState>,
    /// Each with the count of its subscriptions.
    hosts: HashMap<IpAddr, (Arc<Host>, usize), HashState>,
}

impl Targets {
    pub(in crate::push) fn new(rules: TargetRules) -> Self {
        Self { rules, known: Mutex::default() }
    }

    /// The target of one more subscription; `None` if its address has too many. `has_asked` if the
    /// request comes from the address.
    pub(in crate::push) fn acquire(
        &self,
        address: SocketAddr,
        has_asked: bool,
    ) -> Option<Arc<Target>> {
        let ip = address.ip();
        let known = &mut *self.known.lock();
        let is_unlimited = ip.is_loopback() && !self.rules.limits_loopback;
        let new_host = || (Arc::new(Host { is_unlimited, buckets: Mutex::default() }), 0);
        let (host, of_host) = known.hosts.entry(ip).or_insert_with(new_host);
        if *of_host >= self.rules.max_subscriptions {
            return None;
        }
        *of_host += 1;
        let host = Arc::clone(host);
        let new_target = || {
            let (rules, state) = (self.rules, Mutex::default());
            (Arc::new(Target { address, host, rules, state }), 0)
        };
        let (target, count) = known.targets.entry(address).or_insert_with(new_target);
        *count += 1;
        target.state.lock().has_asked |= has_asked;
        Some(Arc::clone(target))
    }

    /// A subscription is gone; whether it was the last one of the socket, which has to prove
    /// itself anew from then on.
    pub(in crate::push) fn release(&self, target: &Target) -> bool {
        let known = &mut *self.known.lock();
        let is_last = leave(&mut known.targets, &target.address);
        leave(&mut known.hosts, &target.address.ip());
        is_last
    }

    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        let known = self.known.lock();
        (known.targets.len(), known.hosts.len())
    }
}

/// Takes one away from the count; whether that was the last.
fn leave<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, (V, usize), HashState>, key: &K) -> bool {
    let Some((_, count)) = map.get_mut(key) else { return false };
    *count = count.saturating_sub(1);
    let is_last = *count == 0;
    if is_last {
        map.remove(key);
        if map.capacity() > 4 * map.len() + 1_024 {
            map.shrink_to_fit();
        }
    }
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: TargetRules = TargetRules {
        limits_loopback: false,
        bytes_per_second: 128_000,
        unproved_bytes: 600,
        second_after: Duration::from_secs(1),
        ack_timeout: Duration::from_secs(10),
        probe_interval: Duration::from_secs(300),
        max_subscriptions: 3,
    };

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn target(targets: &Targets, text: &str) -> Arc<Target> {
        targets.acquire(address(text), true).unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_socket_that_was_only_named_gets_two_short_packets_before_the_first_ack() {
        let (targets, now) = (Targets::new(RULES), Instant::now());
        let target = targets.acquire(address("10.0.0.1:1"), false).unwrap();
        assert_eq!(target.admit(600, true, now), Admission::Send);
        let second_at = now + seconds(10);
        for later in [0, 1, 9] {
            let refused = target.admit(1, true, now + seconds(later));
            assert_eq!(refused, Admission::AwaitAck(Some(second_at)));
        }
        assert_eq!(target.admit(600, true, second_at), Admission::Send);
        assert!(!target.may_repeat(1, second_at), "the newer one has taken its place");
        for later in [10, 20, 299] {
            let refused = target.admit(1, true, now + seconds(later));
            assert_eq!(refused, Admission::AwaitAck(None));
        }
        assert!(!target.is_mute(now + seconds(19)) && target.is_mute(now + seconds(20)));
        assert_eq!(target.admit(600, true, now + seconds(300)), Admission::Send);
        assert!(target.may_repeat(600, now + seconds(310)));
        let refused = target.admit(600, true, now + seconds(321));
        assert_eq!(refused, Admission::AwaitAck(None));
        assert!(target.prove().is_empty());
        assert!(!target.is_mute(now + seconds(999)));
        assert_eq!(target.admit(60_000, true, now + seconds(321)), Admission::Send);
    }

    #[test]
    fn a_socket_that_has_asked_gets_a_short_packet_a_second_for_the_time_of_two_sends() {
        let (targets, now) = (Targets::new(RULES), Instant::now());
        let target = target(&targets, "10.0.0.1:1");
        let sent = |from: u64, to: u64| {
            let tenths = (from * 10..to * 10).map(|tenth| now + Duration::from_millis(tenth * 100));
            tenths.filter(|now| target.admit(600, true, *now) == Admission::Send).count()
        };
        assert_eq!((sent(0, 20), sent(20, 300), sent(300, 320)), (20, 0, 20));
        assert!(!target.may_repeat(600, now + seconds(320)));
    }

    #[test]
    fn a_long_packet_waits_for_the_ack_of_a_probe_which_may_be_lost_once() {
        let (targets, now) = (Targets::new(RULES), Instant::now());
        let target = target(&targets, "10.0.0.1:1");
        assert_eq!(target.admit(601, true, now), Admission::Probe);
        assert_eq!(target.set_probe(7), None);
        let second_at = now + seconds(10);
        let refused = target.admit(601, true, now + seconds(9));
        assert_eq!(refused, Admission::AwaitAck(Some(second_at)));
        assert_eq!(target.admit(601, true, second_at), Admission::Probe);
        assert_eq!(target.set_probe(8), Some(7));
        assert_eq!(target.admit(601, true, now + seconds(299)), Admission::AwaitAck(None));
        assert_eq!(target.admit(601, true, now + seconds(300)), Admission::Probe);
        assert_eq!(target.take_probe(), Some(8));
    }

    #[test]
    fn who_understands_no_probe_gets_short_packets_until_one_is_acked() {
        let (targets, now) = (Targets::new(RULES), Instant::now());
        let target = target(&targets, "10.0.0.1:1");
        assert_eq!(target.admit(601, false, now), Admission::TooLong);
        assert_eq!(target.admit(600, false, now), Admission::Send);
        target.prove();
        assert_eq!(target.admit(601, false, now), Admission::Send);
    }

    #[test]
    fn the_sockets_of_an_address_share_its_bytes() {
        let (targets, now) = (Targets::new(RULES), Instant::now());
        let [first, second] = ["10.0.0.1:1", "10.0.0.1:2"].map(|text| target(&targets, text));
        // Before an ack: a share of them.
        assert_eq!(first.admit(600, true, now), Admission::Send);
        let Admission::Later(at) = second.admit(600, true, now) else { panic!("1,000 a second") };
        assert!(at > now && at <= now + Duration::from_millis(201), "{:?}", at - now);
        assert_eq!(second.admit(600, true, at), Admission::Send);
        assert!(!second.may_repeat(600, at));
        assert_eq!(target(&targets, "10.0.0.2:1").admit(600, true, at), Admission::Send);
        // Afterwards: all.
        first.prove();
        second.prove();
        for target in [&first, &second] {
            assert_eq!(target.admit(64_000, true, at), Admission::Send);
        }
        assert!(matches!(first.admit(64_000, true, at), Admission::Later(_)));
        assert_eq!(first.admit(64_000, true, at + Duration::from_millis(501)), Admission::Send);
    }

    #[test]
    fn however_often_it_is_tried_no_more_bytes_go_out_than_time_brings() {
        let (targets, start) = (Targets::new(RULES), Instant::now());
        let target = target(&targets, "10.0.0.1:1");
        target.prove();
        let mut sent = 0_u64;
        for step in 0..10_000_u64 {
            let now = start + Duration::from_micros(step * 1_000);
            while target.admit(1_500, true, now) == Admission::Send {
                sent += 1_500;
            }
        }
        // The first second's at once.
        assert!((128_000 * 11 - 3_000..=128_000 * 11).contains(&sent), "{sent}");
    }

    #[test]
    fn what_nobody_subscribes_any_more_is_forgotten() {
        let targets = Targets::new(RULES);
        let first = target(&targets, "10.0.0.1:1");
        let same = target(&targets, "10.0.0.1:1");
        assert!(Arc::ptr_eq(&first, &same));
        let other = target(&targets, "10.0.0.1:2");
        assert!(targets.acquire(address("10.0.0.1:3"), true).is_none(), "three of an address");
        assert_eq!(targets.len(), (2, 1));
        first.prove();
        assert!(!targets.release(&first));
        assert!(targets.release(&same) && targets.release(&other));
        assert_eq!(targets.len(), (0, 0));
        assert!(!target(&targets, "10.0.0.1:1").is_proved());
    }
}
