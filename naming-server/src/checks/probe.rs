//! One check of one instance.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use distro_net::{Connector, Io};
use tokio::time::{Instant, timeout};

use super::finding::{Finding, Found};
use super::http;
#[cfg(feature = "mysql")]
use super::mysql;
use super::reach::Reach;
use crate::registry::{CheckTarget, HealthChecker};

/// What a check may take, from connecting to the answer.
pub(super) const DEADLINE: Duration = Duration::from_millis(500);

/// `ENFILE` and `EMFILE`: too many open files, of the system and of this process.
const TOO_MANY_FILES: [i32; 2] = [23, 24];

/// What a check found, and why.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) finding: Finding,
    /// For people.
    pub(super) reason: Cow<'static, str>,
    pub(super) took: Duration,
}

impl Report {
    pub(super) fn new(
        finding: Finding,
        reason: impl Into<Cow<'static, str>>,
        took: Duration,
    ) -> Self {
        Self { finding, reason: reason.into(), took }
    }
}

/// Checks once, within [`DEADLINE`].
pub(super) async fn probe(
    connector: &dyn Connector,
    reach: &Reach,
    target: &CheckTarget,
) -> Report {
    let start = Instant::now();
    let (finding, reason) = match timeout(DEADLINE, attempt(connector, reach, target)).await {
        Ok(found) => found,
        Err(_) => (Finding::Failed, "no answer within 500 ms".into()),
    };
    Report::new(finding, reason, start.elapsed())
}

/// Nobody should ask for one.
const NO_SUCH_CHECK: Found = (Finding::NotMade, Cow::Borrowed("there is no such check"));

async fn attempt(connector: &dyn Connector, reach: &Reach, target: &CheckTarget) -> Found {
    let io = match connect(connector, reach, &target.address).await {
        Ok(io) => io,
        Err(found) => return found,
    };
    match target.checker() {
        HealthChecker::Tcp => (Finding::Passed, "connected".into()),
        HealthChecker::Http { path, headers, expected_response_code } => {
            http::ask(io, &target.address, path, headers, *expected_response_code).await
        }
        #[cfg(feature = "mysql")]
        HealthChecker::Mysql { user, pwd, cmd } => mysql::ask(io, user, pwd, cmd).await,
        #[cfg(not(feature = "mysql"))]
        HealthChecker::Mysql { .. } => NO_SUCH_CHECK,
        HealthChecker::None => NO_SUCH_CHECK,
    }
}

/// Connects to `host:port`; a host that is an address was judged before.
async fn connect(
    connector: &dyn Connector,
    reach: &Reach,
    place: &str,
) -> Result<Box<dyn Io>, Found> {
    if place.parse::<SocketAddr>().is_ok() {
        return connector.connect(place).await.map_err(|error| of_connecting(&error));
    }
    let mut refused = (Finding::NotMade, "checks may not connect where the name leads".into());
    for address in reach.addresses(place).await.map_err(|error| of_connecting(&error))? {
        match connector.connect(&address.to_string()).await {
            Ok(io) => return Ok(io),
            Err(error) => refused = of_connecting(&error),
        }
    }
    Err(refused)
}

/// What it means that there is no connection.
fn of_connecting(error: &io::Error) -> Found {
    let is_ours = error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
    let finding = match error.kind() {
        io::ErrorKind::ConnectionRefused => Finding::Refused,
        // No local port is left, or no memory.
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => Finding::NotMade,
        _ if is_ours => Finding::NotMade,
        _ => Finding::Failed,
    };
    (finding, error.kind().to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_beyond_doubt_and_our_own_trouble_says_nothing() {
        let finding = |error: io::Error| of_connecting(&error).0;
        assert_eq!(finding(io::ErrorKind::ConnectionRefused.into()), Finding::Refused);
        assert_eq!(finding(io::ErrorKind::HostUnreachable.into()), Finding::Failed);
        assert_eq!(finding(io::ErrorKind::AddrNotAvailable.into()), Finding::NotMade);
        for code in TOO_MANY_FILES {
            assert_eq!(finding(io::Error::from_raw_os_error(code)), Finding::NotMade);
        }
        let names = [Finding::Passed, Finding::Failed, Finding::Refused, Finding::NotMade]
            .map(|finding| Finding::KINDS[finding as usize]);
        assert_eq!(names, ["passed", "failed", "refused", "not_made"]);
    }
}
