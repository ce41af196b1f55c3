//! Closed loop: each connection sends its next request when the last one is answered.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio::task::LocalSet;

use super::request::Load;
use super::sample::{Latencies, Running, latencies};
use super::tally::Tally;
use super::wire::{Connection, is_expected, unexpected};

/// How a closed loop asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) threads: usize,
    /// Requests under way at once on each connection; above 1 only to fill a server quickly.
    pub(super) pipeline: u64,
    pub(super) load: Load,
    /// Whether a thread sleeps when all its connections wait for replies.
    pub(super) may_sleep: bool,
    /// How many requests in all; without it until stopped.
    pub(super) count: Option<u64>,
}

impl Closed {
    /// Starts the load on its own threads.
    pub(super) fn start(self, tally: &Arc<Tally>) -> Running {
        let threads = (0..self.threads).map(|thread| {
            let tally = Arc::clone(tally);
            // The first threads take one more connection each if they do not divide evenly.
            let share = (self.connections + self.threads - 1 - thread) / self.threads;
            std::thread::spawn(move || {
                self.drive(share, &tally).unwrap_or_else(|error| {
                    tally.complain(format!("{error:#}"));
                    latencies()
                })
            })
        });
        let threads = threads.collect();
        Running::new(Arc::clone(tally), threads)
    }

    fn drive(self, connections: usize, tally: &Arc<Tally>) -> Result<Latencies> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let found = Rc::new(RefCell::new(latencies()));
        let working = Rc::new(());
        let local = LocalSet::new();
        for _ in 0..connections {
            let (tally, found) = (Arc::clone(tally), Rc::clone(&found));
            let working = Rc::clone(&working);
            local.spawn_local(async move {
                let _working = working;
                if let Err(error) = self.ask(&tally, &found).await {
                    tally.complain(format!("{error:#}"));
                }
            });
        }
        if !self.may_sleep {
            local.spawn_local(stay_awake(Rc::downgrade(&working)));
        }
        drop(working);
        runtime.block_on(local);
        Ok(found.replace(latencies()))
    }

    async fn ask(self, tally: &Tally, found: &RefCell<Latencies>) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        let mut requests = Vec::new();
        while !tally.is_stopped() {
            let first = tally.take(self.pipeline);
            let last = self.count.unwrap_or(u64::MAX).min(first.saturating_add(self.pipeline));
            if first >= last {
                break;
            }
            requests.clear();
            (first..last).for_each(|number| self.load.write(number, &mut requests));
            let sent = Instant::now();
            connection.send(&requests).await?;
            for number in first..last {
                let expected = self.load.kind(number).expected();
                let judge = |status, _: &[u8], body: &[u8]| {
                    (!is_expected(status, body, expected)).then(|| unexpected(status, body))
                };
                if let Some(complaint) = connection.receive(judge).await? {
                    tally.count_error(|| complaint);
                }
                tally.count_done();
                if tally.is_recording() {
                    found.borrow_mut().saturating_record(nanoseconds_since(sent));
                }
            }
        }
        Ok(())
    }
}

/// Keeps the thread from sleeping while its connections work.
///
/// Whoever sends to a sleeping thread pays for waking it up. The replies of a slower server find
/// the generator asleep more often, so the slower server would be charged for that as well, a
/// tenth of a request; over a real network it is the other machine that pays.
pub(super) async fn stay_awake(working: Weak<()>) {
    while working.strong_count() > 0 {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

pub(super) fn nanoseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
