//! What a person or a script can tell a running cluster.

use anyhow::{Context, Result, bail, ensure};

/// One line at the prompt, or the words after `cargo xtask cluster`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Kill(usize),
    Pause(usize),
    Resume(usize),
    Restart(usize),
    Remove(usize),
    Add,
    Status,
    Logs(bool),
    Help,
    Stop,
}

pub(super) const HELP: &str = "\
kill N      SIGKILL: gone without a word
pause N     SIGSTOP: frozen, with its connections open
resume N    SIGCONT
restart N   SIGTERM if it runs, then start it again at its address
add         one more node, a new member
remove N    SIGTERM, then off the list of members
status      the table of nodes
logs on|off show their logs here or not (they are in files, too)
help        this
quit, stop  end everything
";

impl Order {
    /// # Errors
    ///
    /// If the words mean nothing.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (&verb, rest) = words.split_first().context("no order given; try `help`")?;
        ensure!(rest.len() <= 1, "`{text}` has too many words; try `help`");
        let node = || -> Result<usize> {
            let number = rest.first().with_context(|| format!("which node? `{verb} 2`"))?;
            number.parse().with_context(|| format!("`{number}` is no number of a node"))
        };
        let order = match verb {
            "kill" => return node().map(Self::Kill),
            "pause" => return node().map(Self::Pause),
            "resume" => return node().map(Self::Resume),
            "restart" => return node().map(Self::Restart),
            "remove" => return node().map(Self::Remove),
            "logs" => match rest {
                ["on"] => return Ok(Self::Logs(true)),
                ["off"] => return Ok(Self::Logs(false)),
                _ => bail!("`logs on` or `logs off`"),
            },
            "add" => Self::Add,
            "status" => Self::Status,
            "help" => Self::Help,
            "quit" | "stop" | "exit" => Self::Stop,
            _ => bail!("`{verb}` is no order; try `help`"),
        };
        ensure!(rest.is_empty(), "`{verb}` stands alone");
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_words() {
        assert_eq!(Order::parse(" kill  2 ").unwrap(), Order::Kill(2));
        assert_eq!(Order::parse("logs off").unwrap(), Order::Logs(false));
        assert_eq!(Order::parse("quit").unwrap(), Order::Stop);
        for wrong in ["", "kill", "kill two", "kill 1 2", "status 1", "dance", "logs", "kill -1"] {
            assert!(Order::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn help_names_every_verb() {
        for line in HELP.lines() {
            let verb = line.split([' ', ',']).next().unwrap();
            let with_node = format!("{verb} 1");
            let known = [verb, &with_node, "logs on"]
                .into_iter()
                .find_map(|text| Order::parse(text).ok().filter(|_| text.starts_with(verb)));
            assert!(known.is_some(), "{line}");
        }
    }
}
