//! What switches do beside being read.

use std::sync::atomic::{AtomicBool, Ordering};

use distro_core::Input;
use distro_net::Control;

use crate::push::Pusher;
use crate::registry::{Content, SwitchSink, SwitchValues};

/// Tells the pusher and the task that judges instances, which do not look at the switches.
pub(crate) struct Effects {
    pusher: Pusher,
    control: Control<Content>,
    /// What the task was told last: it judges from its start on.
    judging: AtomicBool,
}

impl Effects {
    pub(crate) fn new(pusher: Pusher, control: Control<Content>) -> Self {
        Self { pusher, control, judging: AtomicBool::new(true) }
    }
}

impl SwitchSink for Effects {
    fn switched(&self, values: &SwitchValues) -> bool {
        self.pusher.set_enabled(values.push_enabled);
        let judging = values.health_check_enabled;
        if judging == self.judging.load(Ordering::Relaxed) {
            return true;
        }
        let told = self.control.input(Input::Judging(judging));
        if told {
            self.judging.store(judging, Ordering::Relaxed);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use distro_core::{MemberId, StampClock};
    use distro_net::{Clock, Driver};
    use naming_model::ServiceKey;
    use tokio::net::UdpSocket;

    use super::*;
    use crate::Config;
    use crate::push::{PushStats, Rendered, Source};
    use crate::registry::{Flavour, NamingStore};

    struct Nothing;

    impl Source for Nothing {
        fn render(&self, _: &ServiceKey, _: &str, _: Flavour) -> Rendered {
            Rendered { revision: 1, data: "".into() }
        }

        fn length(&self, _: &ServiceKey, _: &str, _: Flavour) -> (u64, usize) {
            (1, 0)
        }
    }

    #[tokio::test]
    async fn the_pusher_and_the_judging_task_hear_of_what_concerns_them() {
        let config = Config::default();
        let clock = Clock::start();
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let store = NamingStore::new(config.registry_settings(1).store, stamps, Vec::new());
        let (driver, control) = Driver::new(config.distro_config(), Arc::new(store), clock);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stats = Arc::<PushStats>::default();
        let pusher = Pusher::new(config.push_settings(), socket, Arc::new(Nothing), stats);
        let effects = Effects::new(pusher.clone(), control);

        let off = SwitchValues { push_enabled: false, ..SwitchValues::default() };
        assert!(effects.switched(&off));
        assert!(!pusher.is_enabled());
        assert!(effects.switched(&SwitchValues::default()));
        assert!(pusher.is_enabled());
        // Nobody takes the inputs: the queue of the task is bounded.
        let values = |on| SwitchValues { health_check_enabled: on, ..SwitchValues::default() };
        let taken = (0..10_000).take_while(|n| effects.switched(&values(n % 2 == 1))).count();
        assert!((1..10_000).contains(&taken), "{taken}");
        // What it knows already need not be told, the rest has to wait.
        let known = taken % 2 == 0;
        assert!(effects.switched(&values(known)));
        assert!(!effects.switched(&values(!known)));
        drop(driver);
    }
}
