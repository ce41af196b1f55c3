//! The latest lines, for those who ask for them.

use std::collections::VecDeque;
use std::sync::Arc;

/// Lines kept of what was done, and of what was refused: refusals, which anybody can cause, push
/// out none of the others.
const DONE: Limits = Limits { lines: 750, bytes: 1 << 20 };
const REFUSED: Limits = Limits { lines: 250, bytes: 256 << 10 };

#[derive(Debug, Clone, Copy)]
struct Limits {
    lines: usize,
    bytes: usize,
}

/// The latest lines of this process, within bounds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    done: Kept,
    refused: Kept,
    /// How many there were; tells the order of the lines of both kinds.
    count: u64,
}

/// A line and its number.
type Numbered = (u64, Arc<[u8]>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Numbered>,
    bytes: usize,
}

impl Recent {
    /// Keeps a line, and lets go of the oldest of its kind that there is no room for.
    pub(super) fn keep(&mut self, line: &[u8], is_refusal: bool) {
        self.count += 1;
        let line = (self.count, line.into());
        match is_refusal {
            true => self.refused.keep(line, REFUSED),
            false => self.done.keep(line, DONE),
        }
    }

    /// The latest lines, newest first, at most so many.
    pub(super) fn latest(&self, most: usize) -> Vec<Arc<[u8]>> {
        let newest = |kept: &Kept| kept.lines.iter().rev().take(most).cloned().collect();
        let mut all: Vec<Numbered> = newest(&self.done);
        all.extend::<Vec<Numbered>>(newest(&self.refused));
        all.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        all.into_iter().take(most).map(|(_, line)| line).collect()
    }
}

impl Kept {
    fn keep(&mut self, line: Numbered, limits: Limits) {
        self.bytes += line.1.len();
        self.lines.push_back(line);
        while self.lines.len() > limits.lines || self.bytes > limits.bytes {
            let Some((_, oldest)) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recent: &Recent, most: usize) -> Vec<String> {
        let lines = recent.latest(most);
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn refusals_push_out_nothing_that_was_done() {
        let mut recent = Recent::default();
        recent.keep(b"done", false);
        for number in 0..10_000 {
            recent.keep(format!("refused {number}").as_bytes(), true);
        }
        recent.keep(b"done later", false);
        assert_eq!(texts(&recent, 2), ["done later", "refused 9999"]);
        let all = texts(&recent, usize::MAX);
        assert_eq!((all.len(), all.last().map(String::as_str)), (252, Some("done")));
    }

    #[test]
    fn long_lines_are_kept_within_their_bytes() {
        let mut recent = Recent::default();
        for _ in 0..1_000 {
            recent.keep(&[b'x'; 10_000], false);
        }
        assert!(recent.done.bytes <= DONE.bytes && recent.done.lines.len() > 100);
        assert_eq!(recent.done.bytes, recent.done.lines.len() * 10_000);
    }
}
