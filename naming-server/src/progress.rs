//! How far a long command is, on standard error: a line that is written over on a terminal, a line
//! a second elsewhere.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a terminal is told.
const TERMINAL_PERIOD: Duration = Duration::from_millis(500);
/// How often anything else is told, which keeps every line.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// How many things are done, of how many.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What is counted, as `services`.
    what: &'static str,
    done: Cell<usize>,
    total: Cell<usize>,
}

impl Progress {
    /// Nothing is done yet, nor known to be to do.
    pub(crate) fn of(what: &'static str) -> Self {
        let none = || Cell::new(0);
        Self { what, done: none(), total: none() }
    }

    /// There is more to do.
    pub(crate) fn expect(&self, more: usize) {
        self.total.set(self.total.get() + more);
    }

    /// So many are done.
    pub(crate) fn step(&self, count: usize) {
        self.done.set(self.done.get() + count);
    }

    /// Tells again and again. Never ends: to be cancelled.
    pub(crate) async fn keep_telling(&self) {
        let is_terminal = std::io::stderr().is_terminal();
        let period = if is_terminal { TERMINAL_PERIOD } else { LOG_PERIOD };
        loop {
            tokio::time::sleep(period).await;
            // On a terminal the line is written over by the next.
            tell(&format!("{}{}", self.text(), if is_terminal { "\r" } else { "\n" }));
        }
    }

    /// Tells once more, at the end.
    pub(crate) fn finish(&self) {
        tell(&format!("{}\n", self.text()));
    }

    /// Does something while it is told how far that is.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            done = work => done,
            () = self.keep_telling() => unreachable!("it tells for ever"),
        };
        self.finish();
        done
    }

    fn text(&self) -> String {
        match (self.done.get(), self.total.get()) {
            (done, total) if total > 0 => format!("{done} of {total} {}", self.what),
            (done, _) => format!("{done} {}", self.what),
        }
    }
}

/// Nobody has to read it.
pub(crate) fn tell(text: &str) {
    let mut output = std::io::stderr();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
