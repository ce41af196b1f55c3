//! Many instances that beat through any member, and a reader who counts them.

use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::java::http::encode;
use crate::site::{call, hosts};

/// Of what went wrong, in the text of a failure.
const MOST_SHOWN: usize = 20;

/// An instance of a service.
#[derive(Debug, Clone)]
struct Bird {
    service: String,
    ip: String,
}

/// What went wrong, and how much was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) beats: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// Beats that were answered as if nobody knew the instance.
    pub(crate) forgotten: AtomicU64,
    pub(crate) failed: Mutex<Vec<String>>,
    /// What a watched member did not show, or showed as unhealthy.
    pub(crate) missing: Mutex<Vec<String>>,
}

struct Shared {
    birds: Vec<Bird>,
    /// Of all of them, as JSON.
    metadata: &'static str,
    /// Members that clients speak to.
    targets: Mutex<Vec<String>>,
    /// Members whose lists must be whole at all times.
    watched: Mutex<Vec<String>>,
    tally: Tally,
    is_over: AtomicBool,
    began: Instant,
}

/// Instances that beat until this is dropped.
pub(crate) struct Flock {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Flock {
    /// Registers `each` instances of every service and lets them beat in this period.
    pub(crate) fn start(
        services: Vec<String>,
        each: usize,
        period: Duration,
        targets: Vec<String>,
    ) -> Self {
        Self::start_with(services, each, period, targets, "{}")
    }

    /// The same with metadata, for instance leases of their own.
    pub(crate) fn start_with(
        services: Vec<String>,
        each: usize,
        period: Duration,
        targets: Vec<String>,
        metadata: &'static str,
    ) -> Self {
        let bird = |number: usize, service: &String| Bird {
            service: service.clone(),
            ip: format!("10.1.{number}.1"),
        };
        let birds: Vec<Bird> = services
            .iter()
            .flat_map(|service| (0..each).map(move |number| bird(number, service)))
            .collect();
        for (index, bird) in birds.iter().enumerate() {
            let target = &targets[index % targets.len()];
            let answer = call(target, "POST", &bird.registration(metadata)).unwrap();
            assert_eq!((answer.status, &*answer.body), (200, "ok"), "{bird:?} at {target}");
        }
        let shared = Arc::new(Shared {
            birds,
            metadata,
            targets: Mutex::new(targets),
            watched: Mutex::default(),
            tally: Tally::default(),
            is_over: AtomicBool::new(false),
            began: Instant::now(),
        });
        let (beating, reading) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || beating.beat(period)),
            thread::spawn(move || reading.read()),
        ];
        Self { shared, threads }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Which members clients speak to from now on.
    pub(crate) fn speak_to(&self, targets: impl IntoIterator<Item = String>) {
        *self.shared.targets.lock().unwrap() = targets.into_iter().collect();
    }

    /// Which members must show all from now on.
    pub(crate) fn watch(&self, members: impl IntoIterator<Item = String>) {
        *self.shared.watched.lock().unwrap() = members.into_iter().collect();
    }

    /// Whether a member shows all.
    pub(crate) fn is_whole_at(&self, member: &str) -> bool {
        self.shared.missing_at(member).is_empty()
    }

    /// Fails if anything was missed by a watched member at any time.
    #[track_caller]
    pub(crate) fn assert_nothing_missed(&self) {
        let missing = self.tally().missing.lock().unwrap().clone();
        let first = &missing[..missing.len().min(MOST_SHOWN)];
        assert!(missing.is_empty(), "{} times: {first:#?}", missing.len());
    }

    /// How many lists of a member were not whole so far.
    pub(crate) fn missed_at(&self, member: &str) -> usize {
        let missing = self.tally().missing.lock().unwrap();
        missing.iter().filter(|text| text.contains(member)).count()
    }

    /// How many times a client had to register again so far.
    pub(crate) fn forgotten(&self) -> u64 {
        self.tally().forgotten.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub(crate) fn assert_no_call_failed(&self) {
        let failed = self.tally().failed.lock().unwrap().clone();
        let first = &failed[..failed.len().min(MOST_SHOWN)];
        assert!(failed.is_empty(), "{} times: {first:#?}", failed.len());
    }
}

impl Drop for Flock {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "a client panicked");
        }
    }
}

impl Bird {
    fn registration(&self, metadata: &str) -> String {
        self.target("instance", &format!("&metadata={}", encode(metadata)))
    }

    fn target(&self, path: &str, more: &str) -> String {
        let Self { service, ip } = self;
        format!("{path}?serviceName=DEFAULT_GROUP%40%40{service}&ip={ip}&port=80{more}")
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Each instance once in a period, each time through the next member; every third beat is a
    /// full one.
    fn beat(&self, period: Duration) {
        let pause = period / u32::try_from(self.birds.len()).unwrap();
        let mut turn = 0_usize;
        let mut due = Instant::now();
        while !self.is_over() {
            let bird = &self.birds[turn % self.birds.len()];
            let round = turn / self.birds.len();
            let targets = self.targets.lock().unwrap().clone();
            let target = &targets[(turn + round) % targets.len()];
            let beat = format!(
                r#"{{"serviceName":"DEFAULT_GROUP@@{}","ip":"{}","port":80,"cluster":"DEFAULT","weight":1.0,"metadata":{},"scheduled":false}}"#,
                bird.service, bird.ip, self.metadata
            );
            let more = if turn.is_multiple_of(3) {
                format!("&beat={}", encode(&beat))
            } else {
                String::new()
            };
            let beat_at = |target: &String| {
                let answer = call(target, "PUT", &bird.target("instance/beat", &more));
                answer.map(|answer| (answer.status, answer.body))
            };
            // Two Java servers whose lists differ for a moment refuse each other's calls. Clients
            // then turn to the next server.
            let is_refused = |answer: &Result<(u16, String), String>| matches!(answer, Ok((400, text)) if text.contains("invalid redirect request"));
            let others = targets.iter().filter(|next| *next != target);
            let answers = iter::once(target).chain(others).map(|at| (at, beat_at(at)));
            let mut answers = answers.peekable();
            let (asked, answer) = loop {
                let (at, answer) = answers.next().unwrap();
                if !is_refused(&answer) || answers.peek().is_none() {
                    break (at, answer);
                }
            };
            self.tally.beats.fetch_add(1, Ordering::Relaxed);
            self.judge(bird, asked, answer);
            turn += 1;
            due += pause;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn judge(&self, bird: &Bird, target: &str, answer: Result<(u16, String), String>) {
        let code = match &answer {
            Ok((200, body)) => {
                let body: Value = serde_json::from_str(body).unwrap_or_default();
                body["code"].as_u64()
            }
            _ => None,
        };
        match code {
            Some(10_200) => {}
            Some(20_404) => {
                self.tally.forgotten.fetch_add(1, Ordering::Relaxed);
                // As a client does.
                let _ = call(target, "POST", &bird.registration(self.metadata));
            }
            _ => {
                let text = format!("{:.2} s: {target} {bird:?}: {answer:?}", self.now());
                self.tally.failed.lock().unwrap().push(text);
            }
        }
    }

    /// What a member does not show as healthy.
    fn missing_at(&self, member: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for birds in self.birds.chunk_by(|one, other| one.service == other.service) {
            let service = &birds[0].service;
            let shown = match hosts(member, service) {
                Ok(shown) => shown,
                Err(error) => {
                    missing.push(format!("{member} {service}: {error}"));
                    continue;
                }
            };
            for bird in birds {
                let host = shown.iter().find(|host| host["ip"] == *bird.ip);
                if host.is_none_or(|host| host["healthy"] != true) {
                    missing.push(format!("{member} {service} {}: {host:?}", bird.ip));
                }
            }
        }
        missing
    }

    fn read(&self) {
        while !self.is_over() {
            let watched = self.watched.lock().unwrap().clone();
            for member in watched {
                let missing = self.missing_at(&member);
                // It may have been taken from the watched meanwhile.
                if self.watched.lock().unwrap().contains(&member) {
                    let now = self.now();
                    let noted = missing.into_iter().map(|text| format!("{now:.2} s: {text}"));
                    self.tally.missing.lock().unwrap().extend(noted);
                }
                self.tally.reads.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
