//! SIGINT and SIGTERM, noticed by everything that waits, so that the children are stopped on the
//! way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal is sent to the process, so there is one of these in it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the two signals no longer end this process but make [`check`] fail.
pub(super) fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("wait for signals")?;
    let signals = {
        let _entered = runtime.enter();
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]
    };
    // It waits for as long as the process lives.
    thread::spawn(move || runtime.block_on(wait_for_either(signals)));
    Ok(())
}

async fn wait_for_either([mut interrupt, mut terminate]: [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Fails once one of the signals has come.
pub(super) fn check() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
