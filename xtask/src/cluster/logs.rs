//! What the nodes print: into a file each, and onto the terminal with the node before each line.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::ChildStderr;

/// Longer lines are cut in pieces.
const LONGEST_LINE: u64 = 64 * 1024;
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Whether logs go to the terminal; shared by those who print and those who decide.
#[derive(Debug, Clone)]
pub(super) struct Shown(Arc<AtomicBool>);

impl Shown {
    pub(super) fn new(is_shown: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_shown)))
    }

    pub(super) fn set(&self, is_shown: bool) {
        self.0.store(is_shown, Ordering::Relaxed);
    }
}

/// Follows the output of node `number` until it ends.
pub(super) async fn follow(output: ChildStderr, number: usize, file: PathBuf, shown: Shown) {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).open(file).ok();
    let prefix = prefix(number, super::is_colourful());
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(file) = &mut file {
            // A full disk is no reason to stop reading: the node would stop, too.
            let _ = file.write_all(&line);
        }
        if shown.0.load(Ordering::Relaxed) {
            println!("{prefix}{}", String::from_utf8_lossy(line.trim_ascii_end()));
        }
    }
}

fn prefix(number: usize, is_colourful: bool) -> String {
    let colour = COLOURS[number.wrapping_sub(1) % COLOURS.len()];
    match is_colourful {
        true => format!("\x1b[{colour}mnode {number} |\x1b[0m "),
        false => format!("node {number} | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_names_the_node_and_colour_is_optional() {
        assert_eq!(prefix(2, false), "node 2 | ");
        assert_eq!(prefix(1, true), "\x1b[36mnode 1 |\x1b[0m ");
        assert_eq!(prefix(7, true).replace('7', "1"), prefix(1, true));
    }
}
