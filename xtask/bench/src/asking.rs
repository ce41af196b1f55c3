//! Single questions to this server beside the load: what it counts, whether it serves.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::wire::{Connection, unexpected};

/// What the server counts about itself, as it publishes it.
pub(super) struct Counts(String);

impl Counts {
    pub(super) async fn ask(address: SocketAddr) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        connection.send(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
        let read = |status, _: &[u8], body: &[u8]| {
            ensure!(status == 200, unexpected(status, body));
            Ok(Self(String::from_utf8_lossy(body).into_owned()))
        };
        connection.receive(read).await?
    }

    /// The value of a metric, named with its labels as it is published.
    pub(super) fn value(&self, name: &str) -> Result<f64> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("the server counts no {name}"))?;
        value.trim().parse().with_context(|| format!("{name} is {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text =
            "# TYPE a counter\na_total{b=\"c\"} 7\na_total{b=\"cd\"} 8.5\nab 1\na 2\n# EOF\n";
        let counts = Counts(text.to_owned());
        assert_eq!(counts.value("a_total{b=\"cd\"}").unwrap(), 8.5);
        assert_eq!(counts.value("a").unwrap(), 2.0);
        assert!(counts.value("a_total").is_err());
    }
}
