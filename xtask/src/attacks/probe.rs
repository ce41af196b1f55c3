//! Somebody else, who wants a list while the attack goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wire;

const PERIOD: Duration = Duration::from_millis(50);
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=attacks.probe";

/// A thread that asks for a list over a connection of its own each time.
pub(super) struct Probe {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Probed>,
}

/// What the probe saw.
#[derive(Default)]
pub(super) struct Probed {
    pub(super) answers: usize,
    pub(super) failures: usize,
    pub(super) p99_ms: f64,
    pub(super) last_failure: String,
}

impl Probe {
    pub(super) fn start(target: SocketAddr) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let thread = thread::spawn(move || watch(target, &until));
        Self { ended, thread }
    }

    pub(super) fn stop(self) -> Probed {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(target: SocketAddr, ended: &AtomicBool) -> Probed {
    let mut probed = Probed::default();
    let mut took = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match wire::ask(target, "GET", LIST, b"") {
            Ok(200) => took.push(asked.elapsed()),
            Ok(status) => probed.fail(format!("status {status}")),
            Err(error) => probed.fail(error.to_string()),
        }
        thread::sleep(PERIOD);
    }
    took.sort_unstable();
    probed.answers = took.len();
    let worst = took.get(took.len().saturating_sub(1 + took.len() / 100));
    probed.p99_ms = worst.map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
    probed
}

impl Probed {
    fn fail(&mut self, failure: String) {
        self.failures += 1;
        self.last_failure = failure;
    }
}
