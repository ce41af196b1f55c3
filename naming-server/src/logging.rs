//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
/// A level that is not one; [`crate::Config::load`] has refused such already.
pub fn start(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Failing means that somebody else has set up logging, which is then the better one.
    let _ = match config.format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
