//! What systemd is told of this process: that it serves, that it lives, that it stops.
//!
//! Nobody is told unless systemd asks to be, by variables of the environment.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::http::v1::Api;

/// From one look at the readiness of this server to the next.
const PERIOD: Duration = Duration::from_millis(100);
/// A start counts as done after so long even if clients must still wait: systemd would end a start
/// that takes longer, and a member that waits for others is better than none.
const READY_AT_LAST: Duration = Duration::from_secs(60);

/// Tells that the server is ready once it is, and then that it lives, as often as systemd wants to
/// hear it, until `shutdown`. The sign of life comes from the threads that serve clients.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    let talk = async {
        wait_until_ready(&api).await;
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
        match sd_notify::watchdog_enabled() {
            Some(limit) => loop {
                sleep(limit / 3).await;
                tell(&[NotifyState::Watchdog]);
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = talk => {}
    }
}

/// Tells that the server hands over, drains and ends.
pub fn say_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

async fn wait_until_ready(api: &Api) {
    let (begun, mut told) = (Instant::now(), None);
    while begun.elapsed() < READY_AT_LAST {
        let Some(reason) = api.why_no_clients() else { return };
        if told.as_ref() != Some(&reason) {
            tell(&[NotifyState::Status(&reason)]);
            told = Some(reason);
        }
        if sd_notify::watchdog_enabled().is_some() {
            tell(&[NotifyState::Watchdog]);
        }
        sleep(PERIOD).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told of the state of this server");
    }
}
