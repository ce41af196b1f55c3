//! What one window of load showed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use super::process::{CpuTime, Server};
use super::tally::Tally;

/// Latencies in nanoseconds.
pub(super) type Latencies = Histogram<u64>;

/// How long a server may stay silent before the run is given up.
const MOST_SILENCE: Duration = Duration::from_secs(10);

/// An empty histogram of three significant digits. Its bounds are fixed because recording with
/// saturation does not make it grow: whatever takes longer than a minute counts as a minute.
pub(super) fn latencies() -> Latencies {
    const LONGEST_NS: u64 = 60_000_000_000;
    // Fails only for a range or a number of digits that make no sense.
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order")
}

/// Requests answered in a window and what they cost the server.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    pub(super) cpu: Duration,
    /// The part of it outside of the kernel.
    pub(super) cpu_in_user: Duration,
    pub(super) latencies: Latencies,
    pub(super) resident_bytes: u64,
    /// Requests of an open loop without a reply at its end.
    pub(super) unanswered: u64,
    /// Replies other than expected.
    pub(super) errors: u64,
}

impl Sample {
    pub(super) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn cpu_per_request_us(&self) -> f64 {
        self.per_request_us(self.cpu)
    }

    pub(super) fn user_per_request_us(&self) -> f64 {
        self.per_request_us(self.cpu_in_user)
    }

    fn per_request_us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }
}

/// A load that runs on threads of its own; it stops with this handle.
pub(super) struct Running {
    tally: std::sync::Arc<Tally>,
    threads: Vec<std::thread::JoinHandle<Latencies>>,
}

impl Running {
    pub(super) fn new(
        tally: std::sync::Arc<Tally>,
        threads: Vec<std::thread::JoinHandle<Latencies>>,
    ) -> Self {
        Self { tally, threads }
    }

    /// Watches the load for `window` after `warm_up`, then ends it.
    pub(super) async fn measure_window(
        mut self,
        server: &mut Server,
        warm_up: Duration,
        window: Duration,
    ) -> Result<Sample> {
        tokio::time::sleep(warm_up).await;
        self.tally.record(true);
        let start = Snapshot::take(server, &self.tally)?;
        let mut last = (start.requests, Instant::now());
        while start.at.elapsed() < window && !self.tally.is_stopped() {
            tokio::time::sleep((window - start.at.elapsed().min(window)).min(STEP)).await;
            last = check_progress(last, &self.tally, server)?;
        }
        self.tally.record(false);
        let end = Snapshot::take(server, &self.tally)?;
        self.finish(&start, &end, server).await
    }

    /// Watches the load until `count` requests are answered.
    pub(super) async fn measure_count(
        mut self,
        server: &mut Server,
        count: u64,
        start: Snapshot,
        mut progress: impl FnMut(u64),
    ) -> Result<Sample> {
        let mut last = (start.requests, Instant::now());
        while self.tally.done() < count && !self.tally.is_stopped() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            last = check_progress(last, &self.tally, server)?;
            progress(last.0);
        }
        let end = Snapshot::take(server, &self.tally)?;
        self.finish(&start, &end, server).await
    }

    async fn finish(
        &mut self,
        start: &Snapshot,
        end: &Snapshot,
        server: &mut Server,
    ) -> Result<Sample> {
        self.tally.stop();
        let latencies = self.join().await?;
        if let Some(complaint) = self.tally.complaint() {
            bail!(complaint);
        }
        Ok(Sample {
            requests: end.requests - start.requests,
            elapsed: end.at - start.at,
            cpu: end.cpu.total.saturating_sub(start.cpu.total),
            cpu_in_user: end.cpu.user.saturating_sub(start.cpu.user),
            latencies,
            resident_bytes: server.resident_bytes()?,
            unanswered: self.tally.unanswered(),
            errors: self.tally.errors(),
        })
    }

    async fn join(&mut self) -> Result<Latencies> {
        let deadline = Instant::now() + MOST_SILENCE;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() > deadline {
                bail!("the load did not end: a reply is missing");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut all = latencies();
        for thread in self.threads.drain(..) {
            let Ok(own) = thread.join() else { bail!("a thread of the load panicked") };
            all.add(own).context("histograms grow as needed")?;
        }
        Ok(all)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tally.stop();
    }
}

/// How often a window looks whether the server still answers.
const STEP: Duration = Duration::from_millis(200);

/// Counters at one moment.
pub(super) struct Snapshot {
    at: Instant,
    cpu: CpuTime,
    requests: u64,
}

impl Snapshot {
    pub(super) fn take(server: &Server, tally: &Tally) -> Result<Self> {
        Ok(Self { at: Instant::now(), cpu: server.cpu_time()?, requests: tally.done() })
    }
}

fn check_progress(
    last: (u64, Instant),
    tally: &Tally,
    server: &mut Server,
) -> Result<(u64, Instant)> {
    let done = tally.done();
    if done != last.0 {
        return Ok((done, Instant::now()));
    }
    server.check_alive()?;
    if last.1.elapsed() > MOST_SILENCE {
        bail!("no reply for {} s", MOST_SILENCE.as_secs());
    }
    Ok(last)
}
