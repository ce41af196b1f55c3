//! Log lines on standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

use crate::config::{LogConfig, LogFormat};

mod fields;
mod journal;
mod lines;

use fields::EscapedFields;
use journal::Journal;
use lines::Lines;

/// Who turns down the log must not thereby turn down who changed what; the same with another level
/// among the configured ones does.
const AUDIT: &str = "audit=info";
/// What reads DNS warns of whatever strangers send, without a bound. It does not matter to anybody:
/// such questions are counted.
const DNS: &str = "hickory_proto=error";

/// Targets with a level of their own; more are refused.
const MAX_CHANGES: usize = 64;

/// The logging of this process, if it is ours.
static LOGGING: OnceLock<Logging> = OnceLock::new();

struct Logging {
    lines: Lines,
    configured: Mutex<String>,
    changes: Mutex<BTreeMap<String, LevelFilter>>,
    reload: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
/// A level that is not one, which [`crate::Config::load`] has refused already; no thread or
/// descriptor left.
pub fn start(config: &LogConfig) -> Result<()> {
    let configured = configured(&config.level);
    let filter = EnvFilter::try_new(&configured)?;
    let writer = Lines::to_stderr().context("cannot write the log")?;
    let make_writer = {
        let writer = writer.clone();
        move || writer.clone()
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(make_writer);
    let (is_ours, reload) = match config.format {
        LogFormat::Text if journal::is_read_by_it() => {
            let lines = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::try_new(&configured)?)
                .with_writer(Journal(writer.clone()))
                .fmt_fields(EscapedFields)
                .with_ansi(false)
                .without_time()
                .with_level(false);
            let lines = lines.with_filter_reloading();
            let reload = reload_with(lines.reload_handle());
            (lines.try_init().is_ok(), reload)
        }
        LogFormat::Text => {
            let lines = lines.fmt_fields(EscapedFields).with_ansi(stderr().is_terminal());
            let lines = lines.with_filter_reloading();
            let reload = reload_with(lines.reload_handle());
            (lines.try_init().is_ok(), reload)
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let reload = reload_with(lines.reload_handle());
            (lines.try_init().is_ok(), reload)
        }
    };
    // Otherwise somebody else has set up logging, which is then the better one.
    if is_ours {
        LOGGING.get_or_init(|| Logging {
            lines: writer,
            configured: Mutex::new(configured),
            changes: Mutex::default(),
            reload,
        });
    }
    Ok(())
}

/// The level of everything, for a configured one.
fn configured(level: &str) -> String {
    format!("{AUDIT},{DNS},{level}")
}

/// Changes the configured level. What operators have set since stands above it, as before. False if
/// logging was set up by somebody else.
pub(crate) fn change_level(level: &str) -> bool {
    let Some(logging) = LOGGING.get() else { return false };
    let (changes, level) = (logging.changes.lock(), configured(level));
    let is_changed = filter(&level, &changes).is_some_and(|filter| (logging.reload)(filter));
    if is_changed {
        *logging.configured.lock() = level;
    }
    is_changed
}

/// Writes what is left to be said before the process ends, for `patience` at most: nobody may be
/// reading.
pub fn finish(patience: Duration) {
    if let Some(logging) = LOGGING.get() {
        logging.lines.finish(patience);
    }
}

fn reload_with<S: 'static>(
    handle: Handle<EnvFilter, S>,
) -> Box<dyn Fn(EnvFilter) -> bool + Send + Sync>
where
    Handle<EnvFilter, S>: Send + Sync,
{
    Box::new(move |filter| handle.reload(filter).is_ok())
}

/// Why a log level was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LevelError {
    /// No such level.
    #[error("logLevel must be OFF, ERROR, WARN, INFO, DEBUG or TRACE")]
    NoLevel,
    /// Nothing here logs under that name.
    #[error(
        "unknown logName; there are root, naming-main, naming-push, naming-event, naming-check, \
         naming-distro, and the modules of naming_server, distro_net and distro_core"
    )]
    NoName,
    /// Too many names have levels of their own.
    #[error("more than {MAX_CHANGES} log names were given levels")]
    TooMany,
    /// Logging was set up by somebody else.
    #[error("logging was not set up by this server, so its levels cannot be changed here")]
    NotOurs,
}

/// Changes the level of what is logged under a name, until the process ends.
///
/// # Errors
/// See [`LevelError`]; nothing is changed then.
pub(crate) fn set_level(name: &str, level: &str) -> Result<(), LevelError> {
    let is_word = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic());
    let level = level.parse::<LevelFilter>().ok().filter(|_| is_word).ok_or(LevelError::NoLevel)?;
    let target = target(name).ok_or(LevelError::NoName)?;
    let logging = LOGGING.get().ok_or(LevelError::NotOurs)?;
    let mut changes = logging.changes.lock();
    let mut changed = changes.clone();
    changed.insert(target.to_owned(), level);
    if changed.len() > MAX_CHANGES {
        return Err(LevelError::TooMany);
    }
    let filter = filter(&logging.configured.lock(), &changed).ok_or(LevelError::NoName)?;
    if !(logging.reload)(filter) {
        return Err(LevelError::NotOurs);
    }
    *changes = changed;
    Ok(())
}

/// The later of two directives for a target wins.
fn filter(configured: &str, changes: &BTreeMap<String, LevelFilter>) -> Option<EnvFilter> {
    let mut text = configured.to_owned();
    for (target, level) in changes {
        let directive =
            if target.is_empty() { level.to_string() } else { format!("{target}={level}") };
        text = format!("{text},{directive}");
    }
    EnvFilter::try_new(text).ok()
}

/// The module behind a log name, as Nacos or we call it; empty for all.
fn target(name: &str) -> Option<&str> {
    let path =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte);
    let root = name.split(':').next()?;
    Some(match name {
        "root" => "",
        "naming-main" => "naming_server",
        "naming-push" => "naming_server::push",
        "naming-event" => "naming_server::registry",
        "naming-check" => "distro_core",
        "naming-distro" => "distro_net",
        _ if ["naming_server", "distro_net", "distro_core"].contains(&root)
            && name.len() <= 128
            && name.bytes().all(path) =>
        {
            name
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels_are_checked_before_anything_else() {
        for (name, level) in
            [("root", ""), ("root", "3"), ("root", "loud"), ("root", "info,x=debug")]
        {
            assert!(matches!(set_level(name, level), Err(LevelError::NoLevel)), "{level}");
        }
        for name in ["", "naming-raft", "naming_serverx", "naming_server=info,x", "NAMING_SERVER"] {
            assert!(matches!(set_level(name, "info"), Err(LevelError::NoName)), "{name}");
        }
    }

    #[test]
    fn changes_are_added_to_what_was_configured() {
        let mut changes = BTreeMap::new();
        changes.insert(String::new(), LevelFilter::WARN);
        changes.insert("naming_server::push".to_owned(), LevelFilter::DEBUG);
        let text = filter("info,hyper=error", &changes).unwrap().to_string();
        for part in ["warn", "hyper=error", "naming_server::push=debug"] {
            assert!(text.split(',').any(|found| found == part), "{text}");
        }
        assert!(!text.split(',').any(|found| found == "info"), "{text}");
    }
}
