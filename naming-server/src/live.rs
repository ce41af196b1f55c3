//! Settings that change while the server runs: read again when their file changes and on SIGHUP,
//! checked as a whole, and put where they count.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::Adjustable;
use crate::auth::TokenKeys;
use crate::config::{Arguments, Config, Difference};
use crate::dns::DnsFront;
use crate::logging;

/// From one look at the file to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// From the look that finds a change to the one that must agree with it.
const AGAIN: Duration = Duration::from_millis(100);

/// Where the settings of a running server come from.
#[derive(Debug)]
pub(crate) struct Source {
    arguments: Arguments,
    hangup: Signal,
}

impl Source {
    /// The settings that this command line asks for. From now on SIGHUP does not end this process.
    ///
    /// # Errors
    /// The system does not let signals be caught.
    pub(crate) fn new(arguments: Arguments) -> io::Result<Self> {
        Ok(Self { arguments, hangup: signal(SignalKind::hangup())? })
    }

    fn file(&self) -> Option<&Path> {
        self.arguments.config.as_deref()
    }
}

/// The settings of a running server, and what they are put into.
pub(crate) struct Live {
    source: Source,
    /// As they were read last: what differs has been told.
    seen: Config,
    /// The keys of tokens in use, if there are users.
    keys: Option<TokenKeys>,
    /// What the files said at the last look, if that was something else.
    other_keys: Option<TokenKeys>,
    parts: Adjustable,
    dns: Option<Arc<DnsFront>>,
    /// What was wrong at the last look.
    trouble: Option<String>,
    key_trouble: Option<String>,
}

/// What tells whether a file is another one now.
type Fingerprint = (SystemTime, u64, u64);

impl Live {
    /// `config` is what the server was started with.
    pub(crate) fn new(
        source: Source,
        config: Config,
        parts: Adjustable,
        dns: Option<Arc<DnsFront>>,
    ) -> Self {
        let keys = keys_of(&config).ok().flatten();
        Self {
            source,
            seen: config,
            keys,
            other_keys: None,
            parts,
            dns,
            trouble: None,
            key_trouble: None,
        }
    }

    /// Follows the settings until `shutdown`.
    pub(crate) async fn follow(mut self, shutdown: CancellationToken) {
        // The file may have changed since the start read it.
        let mut known = None;
        loop {
            let is_asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => false,
                Some(()) = self.source.hangup.recv() => true,
            };
            let now = self.source.file().and_then(fingerprint);
            if is_asked || now != known {
                match self.read_twice().await {
                    // It is just being written: the next look tells more.
                    Ok(None) => continue,
                    Ok(Some(config)) => {
                        known = now;
                        self.trouble = None;
                        self.take(config, is_asked).await;
                    }
                    Err(error) => {
                        known = now;
                        self.refuse(&error, is_asked);
                    }
                }
            }
            self.look_at_keys().await;
        }
    }

    /// What two looks agree on, so that a file which is just being written is not taken by halves.
    async fn read_twice(&self) -> Result<Option<Config>> {
        let first = self.read().await;
        tokio::time::sleep(AGAIN).await;
        match (first, self.read().await) {
            (Ok(first), Ok(second)) => Ok(Some(second).filter(|second| first == *second)),
            (Err(_), Ok(_)) | (Ok(_), Err(_)) => Ok(None),
            (Err(_), Err(error)) => Err(error),
        }
    }

    async fn read(&self) -> Result<Config> {
        let (arguments, enabled) = (self.source.arguments.clone(), self.seen.auth.enabled);
        tokio::task::spawn_blocking(move || {
            let config = Config::load(&arguments)?;
            // What is to count must be usable, or nothing is taken.
            if enabled {
                config.auth.keys()?;
            }
            Ok(config)
        })
        .await?
    }

    fn refuse(&mut self, error: &anyhow::Error, is_asked: bool) {
        let text = format!("{error:#}");
        if is_asked || self.trouble.as_ref() != Some(&text) {
            tracing::warn!(
                "the settings stay as they are, nothing of the new ones is taken: {text}"
            );
        }
        self.trouble = Some(text);
    }

    async fn take(&mut self, config: Config, is_asked: bool) {
        let differences = self.seen.differences(&config);
        for Difference { key, before, after } in differences.iter().filter(|it| it.is_live()) {
            tracing::info!(key, before, after, "a setting has changed");
        }
        let later: Vec<&str> =
            differences.iter().filter(|it| !it.is_live()).map(|it| &*it.key).collect();
        if !later.is_empty() {
            tracing::warn!(
                keys = later.join(","),
                "settings have changed that count after a restart only"
            );
        }
        if differences.is_empty() {
            if is_asked {
                tracing::info!("SIGHUP: the settings are the ones in use");
            }
            return;
        }
        if self.seen.log.level != config.log.level && !logging::change_level(&config.log.level) {
            tracing::warn!("log.level is not changed: logging was set up by another program");
        }
        self.parts.adjust(&self.seen, &config).await;
        self.dns.iter().for_each(|dns| dns.change(config.dns.settings()));
        self.seen = config;
    }

    /// Takes the keys of tokens as they are in their files now.
    async fn look_at_keys(&mut self) {
        let Some(known) = &self.keys else { return };
        let settings = self.seen.clone();
        let read = tokio::task::spawn_blocking(move || keys_of(&settings)).await;
        match read.map_err(anyhow::Error::from).flatten() {
            // At second sight: the file may just be written.
            Ok(Some(keys)) if keys != *known && self.other_keys.as_ref() != Some(&keys) => {
                self.other_keys = Some(keys);
            }
            Ok(Some(keys)) if keys != *known => {
                tracing::info!("the keys of tokens have changed; tokens of other keys end");
                self.parts.change_keys(&keys);
                (self.keys, self.other_keys, self.key_trouble) = (Some(keys), None, None);
            }
            Ok(_) => (self.other_keys, self.key_trouble) = (None, None),
            Err(error) => {
                let text = format!("{error:#}");
                if self.key_trouble.as_ref() != Some(&text) {
                    tracing::warn!("the keys of tokens stay as they are: {text}");
                }
                self.key_trouble = Some(text);
            }
        }
    }
}

fn keys_of(config: &Config) -> Result<Option<TokenKeys>> {
    if config.auth.enabled { config.auth.keys().map(Some) } else { Ok(None) }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
