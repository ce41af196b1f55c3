//! Many seeds, several at a time.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// So many stories are printed; of further failures only the seed.
const MOST_STORIES: u64 = 3;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// Where nobody watches, a line now and then is enough.
const QUIET_PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

/// A range of seeds on their way.
pub(super) struct Sweep {
    seeds: Range<u64>,
    jobs: u64,
    next: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    progress: Mutex<Progress>,
}

struct Progress {
    begun: Instant,
    shown: Instant,
    interval: Duration,
}

impl Sweep {
    pub(super) fn new(seeds: Range<u64>, jobs: u64) -> Self {
        let now = Instant::now();
        let is_watched = std::io::stdout().is_terminal();
        let interval = if is_watched { PROGRESS_INTERVAL } else { QUIET_PROGRESS_INTERVAL };
        Self {
            next: AtomicU64::new(seeds.start),
            jobs: jobs.min(seeds.end - seeds.start),
            seeds,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            progress: Mutex::new(Progress { begun: now, shown: now, interval }),
        }
    }

    /// Runs `command` of every seed and returns how many failed.
    ///
    /// # Errors
    ///
    /// If a process cannot be started; the others end with the seed they have in hand.
    pub(super) fn run(&self, command: &(dyn Fn(u64) -> Command + Sync)) -> Result<u64> {
        thread::scope(|scope| {
            let work = || self.work(command);
            let threads: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        println!("{}", self.closing_line());
        Ok(self.failed.load(Ordering::Relaxed))
    }

    fn work(&self, command: &dyn Fn(u64) -> Command) -> Result<()> {
        while let Some(seed) = self.take() {
            let output = command(seed).output();
            if output.is_err() {
                self.next.store(self.seeds.end, Ordering::Relaxed);
            }
            let output = output.context("start the simulation")?;
            self.done.fetch_add(1, Ordering::Relaxed);
            if !output.status.success() {
                self.tell_failure(seed, &output);
            }
            self.show_progress();
        }
        Ok(())
    }

    fn take(&self) -> Option<u64> {
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        (seed < self.seeds.end).then_some(seed)
    }

    fn tell_failure(&self, seed: u64, output: &Output) {
        let before = self.failed.fetch_add(1, Ordering::Relaxed);
        let mut text = String::new();
        if before < MOST_STORIES {
            text += &String::from_utf8_lossy(&output.stdout);
            text += &String::from_utf8_lossy(&output.stderr);
        }
        println!("\r{text}seed {seed} FAILED ({}): cargo xtask sim --seed {seed}", output.status);
    }

    fn show_progress(&self) {
        let Ok(mut progress) = self.progress.lock() else { return };
        if progress.shown.elapsed() < progress.interval {
            return;
        }
        progress.shown = Instant::now();
        let (done, all) = (self.done.load(Ordering::Relaxed), self.seeds.end - self.seeds.start);
        let passed = progress.begun.elapsed();
        let left = passed.mul_f64((all - done) as f64 / done.max(1) as f64);
        let failed = self.failed.load(Ordering::Relaxed);
        let end = if std::io::stdout().is_terminal() { "\r" } else { "\n" };
        print!("{done} of {all} seeds, {failed} failed, {} s left   {end}", left.as_secs());
        // Nobody reading it is no reason to stop.
        let _ = std::io::stdout().flush();
    }

    fn closing_line(&self) -> String {
        let seconds =
            self.progress.lock().map_or(0.0, |progress| progress.begun.elapsed().as_secs_f64());
        let (done, failed) =
            (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let last = self.seeds.end - 1;
        format!(
            "sim: seeds {} to {last}: {} passed, {failed} failed, {seconds:.0} s with {} at a time",
            self.seeds.start,
            done - failed,
            self.jobs
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: String) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    }

    #[test]
    fn every_seed_runs_once_and_failures_are_counted() {
        let seen = Mutex::new(Vec::new());
        let sweep = Sweep::new(5..25, 4);
        let failed = sweep.run(&|seed| {
            seen.lock().unwrap().push(seed);
            shell(format!("exit {}", u64::from(seed % 10 == 0)))
        });
        assert_eq!(failed.unwrap(), 2);
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (5..25).collect::<Vec<_>>());
        assert!(sweep.closing_line().starts_with("sim: seeds 5 to 24: 18 passed, 2 failed"));
    }

    #[test]
    fn a_process_that_does_not_start_ends_the_sweep() {
        let sweep = Sweep::new(0..1_000_000, 2);
        assert!(sweep.run(&|_| Command::new("/nonexistent")).is_err());
        assert!(sweep.done.load(Ordering::Relaxed) == 0);
    }
}
