//! How far it is, on standard error.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a terminal is told.
const TERMINAL_PERIOD: Duration = Duration::from_millis(500);
/// How often anything else is told, which keeps every line.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// How many services were seen to, of how many.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: Cell<usize>,
    total: Cell<usize>,
}

impl Progress {
    /// There is more to do.
    pub(super) fn expect(&self, more: usize) {
        self.total.set(self.total.get() + more);
    }

    /// One is done.
    pub(super) fn step(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// Tells again and again. Never ends: to be cancelled.
    pub(super) async fn keep_telling(&self) {
        let is_terminal = std::io::stderr().is_terminal();
        let period = if is_terminal { TERMINAL_PERIOD } else { LOG_PERIOD };
        loop {
            tokio::time::sleep(period).await;
            // On a terminal the line is written over by the next.
            tell(&format!("{}{}", self.text(), if is_terminal { "\r" } else { "\n" }));
        }
    }

    /// Tells once more, at the end.
    pub(super) fn finish(&self) {
        tell(&format!("{}\n", self.text()));
    }

    fn text(&self) -> String {
        format!("{} of {} services", self.done.get(), self.total.get())
    }
}

/// Nobody has to read it.
pub(super) fn tell(text: &str) {
    let mut output = std::io::stderr();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
