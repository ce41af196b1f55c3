//! Asks a server on this machine how it is, for those who watch it and have no other program.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::{Config, TlsMode};
use crate::networks::bare;
use crate::tls::speak_to_own;

/// What an answer may take, in each of its parts.
const WITHIN: Duration = Duration::from_secs(2);
/// More than the first line of an answer.
const MOST_BYTES: u64 = 4_096;

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// What is asked.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether it runs, and need not be started again.
    Liveness,
    /// Whether it can answer every call.
    Readiness,
}

impl Probe {
    /// Asks the server that runs with these settings. Blocks for some seconds at most.
    ///
    /// # Errors
    /// No connection, no answer in time, or an answer that says no; the text is for people.
    pub fn ask(self, config: &Config) -> Result<()> {
        let name = match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        };
        let (host, path) = (host(&config.bind), config.context_path.trim_end_matches('/'));
        let target = (host.as_str(), config.port);
        let unreachable = || format!("no server answers at {host} port {}", config.port);
        let addresses = target.to_socket_addrs().with_context(unreachable)?;
        let mut stream = Err(std::io::ErrorKind::NotFound.into());
        for address in addresses {
            stream = TcpStream::connect_timeout(&address, WITHIN);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.with_context(unreachable)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.set_write_timeout(Some(WITHIN))?;
        let mut stream: Box<dyn Stream> = match config.tls.mode {
            TlsMode::Required => Box::new(speak_to_own(&config.tls, stream)?),
            TlsMode::Off | TlsMode::Compatibility => Box::new(stream),
        };
        let request = format!(
            "GET {path}/v1/console/health/{name} HTTP/1.1\r\nHost: localhost\r\n\
             User-Agent: naming-server-probe\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).with_context(unreachable)?;
        let mut answer = Vec::new();
        let read = stream.take(MOST_BYTES).read_to_end(&mut answer);
        // Within TLS an answer may come with an error behind it.
        if answer.is_empty() {
            read.context("no answer in time")?;
        }
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => bail!("the server is not well: {status:?}"),
        }
    }
}

/// Where a server that listens there is reached from its own machine.
fn host(bind: &str) -> String {
    let bind = bare(bind.trim());
    match bind.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        _ => bind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_asked_on_loopback() {
        assert_eq!(host("0.0.0.0"), "127.0.0.1");
        assert_eq!(host("[::]"), "::1");
        assert_eq!(host("10.0.0.1"), "10.0.0.1");
        assert_eq!(host("localhost"), "localhost");
    }
}
