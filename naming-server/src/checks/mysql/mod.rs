//! The MySQL check: log in, send a command, look at the first row of the answer.
//!
//! Whoever registers an instance chooses whom this speaks to, so nothing that comes back is
//! believed. Of the client library (`mysql_common`) only what makes outgoing bytes is used: the
//! proofs of a password and the packet that carries them. What comes in is read here, within
//! [`wire::MOST_BYTES`] and the deadline of every check. The connection is that of the other
//! checks, so that the networks they are limited to hold for it, too.

use std::borrow::Cow;

use distro_net::Io;

use super::finding::{Finding, Found};
use wire::Wire;

mod key;
mod login;
mod wire;

/// The command by which Nacos asks whether a server takes writes.
const IS_READ_ONLY: &str = "show global variables where variable_name='read_only'";
const READ_ONLY: &[u8] = b"ON";

/// Columns of an answer; MySQL itself knows no table with more.
const MOST_COLUMNS: u64 = 4_096;

/// Why a check ends before the command is answered.
#[derive(Debug)]
enum End {
    /// The connection broke, or nobody speaks MySQL there.
    Broken(Cow<'static, str>),
    /// The server says no.
    Refused(Cow<'static, str>),
}

/// What other databases than MySQL say.
const NO_MYSQL: End = End::Broken(Cow::Borrowed("it does not speak MySQL"));

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.kind().to_string().into())
    }
}

/// What a proof of the password is made with, so that none is like another.
type Nonce = [u8; 20];

/// Asks over a connection that was just made. Neither user nor password nor command is in the
/// reason, nor what the server says of them.
pub(super) async fn ask(io: Box<dyn Io>, user: &str, password: &str, command: &str) -> Found {
    match attempt(Wire::new(io), user, password, command).await {
        Ok(found) => found,
        Err(End::Broken(reason)) => (Finding::Failed, reason),
        Err(End::Refused(reason)) => (Finding::Refused, reason),
    }
}

async fn attempt(mut wire: Wire, user: &str, password: &str, command: &str) -> Result<Found, End> {
    login::log_in(&mut wire, user, password).await?;
    wire.command(wire::QUERY, command.as_bytes()).await?;
    let found = answer(&mut wire, command).await;
    // For the statistics of the server, which counts those who just go. It may be gone itself.
    let _ = wire.command(wire::QUIT, &[]).await;
    found
}

/// Reads the answer to a command up to its first row; the rest may be long.
async fn answer(wire: &mut Wire, command: &str) -> Result<Found, End> {
    const PASSED: Found = (Finding::Passed, Cow::Borrowed("the command was answered"));
    let head = wire.read_unless_error().await?;
    // A command that gives no rows.
    if head.first() == Some(&wire::OK) {
        return Ok(PASSED);
    }
    let columns = wire::length(&mut &*head).filter(|count| (1..=MOST_COLUMNS).contains(count));
    for _ in 0..columns.ok_or(NO_MYSQL)? {
        wire.read_unless_error().await?;
    }
    let end_of_columns = wire.read_unless_error().await?;
    if !wire::is_end(&end_of_columns) {
        return Err(NO_MYSQL);
    }
    let row = wire.read_unless_error().await?;
    if command != IS_READ_ONLY {
        return Ok(PASSED);
    }
    let value = if wire::is_end(&row) { None } else { second(&row) };
    match value {
        Some(READ_ONLY) => Ok((Finding::Failed, "the server is read-only".into())),
        Some(_) => Ok(PASSED),
        None => Err(End::Refused("the server does not say whether it is read-only".into())),
    }
}

/// The second value of a row.
fn second(mut row: &[u8]) -> Option<&[u8]> {
    wire::text(&mut row)?;
    wire::text(&mut row)?
}

#[cfg(test)]
pub(super) mod tests;
