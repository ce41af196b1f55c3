//! Certificates, keys and authorities, read again while the server runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::keychain::Keychain;

/// From one look at the files to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// From the look that finds a change to the one that must agree with it.
const AGAIN: Duration = Duration::from_millis(100);

/// Follows the files of a keychain, until `shutdown`. Looks each second, and at once on SIGHUP. What
/// cannot be used changes nothing.
pub(crate) async fn follow(keychain: Arc<Keychain>, shutdown: CancellationToken) {
    let section = keychain.section();
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut trouble = None;
    loop {
        let is_asked = tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => false,
            () = hung_up(&mut hangup) => true,
        };
        match look(&keychain).await {
            Ok(Found::Changed) => trouble = None,
            Ok(Found::Changing) => {}
            Ok(Found::Same) => {
                trouble = None;
                if is_asked {
                    tracing::info!(section, "SIGHUP: the TLS files are the ones in use");
                }
            }
            Err(error) => {
                let text = format!("{error:#}");
                if is_asked || trouble.as_ref() != Some(&text) {
                    keychain.note_refused();
                    tracing::warn!(section, "the TLS certificate in use stays: {text}");
                }
                trouble = Some(text);
            }
        }
    }
}

/// From now on SIGHUP does not end this process. To be called before anybody can know of it.
///
/// # Errors
/// The system does not let signals be caught.
pub(super) fn survive_hangup() -> Result<()> {
    signal(SignalKind::hangup()).map(drop).context("cannot catch SIGHUP")
}

enum Found {
    Same,
    /// Just now: the next look tells more.
    Changing,
    Changed,
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Two looks that agree, so that files which are just being written are not taken by halves.
async fn look(keychain: &Arc<Keychain>) -> Result<Found> {
    let read = || {
        let keychain = Arc::clone(keychain);
        tokio::task::spawn_blocking(move || keychain.look())
    };
    let Some(first) = read().await?? else { return Ok(Found::Same) };
    tokio::time::sleep(AGAIN).await;
    let second = read().await??;
    let Some(second) = second.filter(|second| second.fingerprint() == first.fingerprint()) else {
        return Ok(Found::Changing);
    };
    let keychain = Arc::clone(keychain);
    tokio::task::spawn_blocking(move || keychain.take(&second)).await??;
    Ok(Found::Changed)
}
