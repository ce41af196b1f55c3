//! The control plane: one state machine that says what to do and when.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::DistroConfig;
use crate::lease::JudgeTerms;
use crate::time::Tick;

/// What happens to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// An operator switched the judging of silence on or off.
    Judging(bool),
}

/// What the driver is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Judge the leases that are due, on these terms
    /// ([`Store::judge`](crate::Store::judge) until it has none left).
    Judge(JudgeTerms),
    /// This process was stopped or starved for so long. Worth a line in the log.
    Paused(Duration),
}

/// The protocol state of one member. Does no IO: time comes in with every call, work goes out as
/// [`Output`].
///
/// The law of the loop: one [`handle_input`](Self::handle_input), then
/// [`poll_output`](Self::poll_output) until it has nothing, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
#[derive(Debug)]
pub struct Distro {
    config: DistroConfig,
    outputs: VecDeque<Output>,
    /// When the driver should have come back.
    next_tick: Tick,
    listening_since: Tick,
    judging: bool,
}

impl Distro {
    /// A member that starts to listen now.
    pub fn new(config: DistroConfig, now: Tick) -> Self {
        let next_tick = now.after(config.tick_period);
        Self { config, outputs: VecDeque::new(), next_tick, listening_since: now, judging: true }
    }

    /// Takes one input. Late and early calls are harmless.
    pub fn handle_input(&mut self, now: Tick, input: Input) {
        self.notice_pause(now);
        match input {
            Input::Judging(on) => self.judging = on,
            Input::Tick if now < self.next_tick => {}
            Input::Tick => {
                self.next_tick = now.after(self.config.tick_period);
                self.outputs.push_back(Output::Judge(self.judge_terms()));
            }
        }
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Tick {
        self.next_tick
    }

    /// Since when this member has listened without a break.
    pub fn listening_since(&self) -> Tick {
        self.listening_since
    }

    /// Who did not listen may not judge: after a pause every lease gets a full time-out again.
    fn notice_pause(&mut self, now: Tick) {
        let late = now.since(self.next_tick);
        if late >= self.config.pause_threshold {
            self.listening_since = now;
            self.next_tick = now;
            self.outputs.push_back(Output::Paused(late));
        }
    }

    fn judge_terms(&self) -> JudgeTerms {
        JudgeTerms {
            enabled: self.judging,
            expire: self.config.expire,
            listening_since: self.listening_since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn outputs(distro: &mut Distro) -> Vec<Output> {
        std::iter::from_fn(|| distro.poll_output()).collect()
    }

    #[test]
    fn each_tick_asks_for_judgement_once() {
        let mut distro = Distro::new(DistroConfig::default(), at(0));
        assert_eq!(distro.poll_timeout(), at(100));
        distro.handle_input(at(50), Input::Tick);
        assert_eq!(outputs(&mut distro), []);
        distro.handle_input(at(100), Input::Tick);
        assert_eq!(outputs(&mut distro).len(), 1);
        assert_eq!(distro.poll_timeout(), at(200));
    }

    #[test]
    fn a_late_tick_starts_the_listening_anew() {
        let mut distro = Distro::new(DistroConfig::default(), at(0));
        distro.handle_input(at(60_100), Input::Tick);
        let [Output::Paused(late), Output::Judge(terms)] = outputs(&mut distro)[..] else {
            panic!("a pause comes before the judgement");
        };
        assert_eq!((late, terms.listening_since), (Duration::from_secs(60), at(60_100)));
    }

    #[test]
    fn a_tick_that_is_a_little_late_changes_nothing() {
        let mut distro = Distro::new(DistroConfig::default(), at(0));
        distro.handle_input(at(3_000), Input::Tick);
        assert_eq!(distro.listening_since(), at(0));
        assert!(matches!(outputs(&mut distro)[..], [Output::Judge(_)]));
    }

    #[test]
    fn judging_can_be_switched_off() {
        let mut distro = Distro::new(DistroConfig::default(), at(0));
        distro.handle_input(at(10), Input::Judging(false));
        distro.handle_input(at(100), Input::Tick);
        let [Output::Judge(terms)] = outputs(&mut distro)[..] else { panic!("one judgement") };
        assert!(!terms.enabled);
    }
}
