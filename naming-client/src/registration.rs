//! The guard of a registered instance.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use naming_model::Instance;
use tokio::time::Instant;

use crate::beat::Entry;
use crate::client::Inner;
use crate::error::Error;
use crate::names::ServiceName;
use crate::write;

/// An instance that is registered for as long as this guard lives.
///
/// The connection keeps it, or over HTTP beats that are sent in the background at the interval the
/// registry asks for; if the registry forgets the instance (a restart, an expiry, a wiped disk) it
/// is registered again, without the application doing anything. The guard keeps the client's background tasks alive.
///
/// [`Registration::close`] deregisters and reports how that went. Dropping the guard deregisters
/// too, but in the background and only as long as the runtime lives; if it fails, the registry
/// removes the instance when it has heard no beat for 30 s. A persistent instance
/// (`ephemeral(false)`) gets no beats, and only `close` deregisters it.
pub struct Registration {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
}

/// How a registration is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistrationStatus {
    /// Since when no server has confirmed the instance: by the answer to a beat, or by any sign of
    /// life on the connection that holds it.
    pub unconfirmed_for: Duration,
    /// Time between beats, as last told by a server. There are none over gRPC.
    pub beat_interval: Duration,
    /// Beats, or writes over the connection, in a row that no server took.
    pub failures: u32,
    /// Why the last of them failed.
    pub last_error: Option<Error>,
    /// How often the instance was written to the registry: once at first, and again for each
    /// update and each time the registry had forgotten it.
    pub registrations: u64,
}

impl Registration {
    pub(crate) fn new(inner: Arc<Inner>, entry: Arc<Entry>) -> Self {
        Self { inner, entry }
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.entry.service
    }

    /// The instance as the registry should hold it.
    pub fn instance(&self) -> Instance {
        self.entry.instance.lock().clone()
    }

    /// How it is doing.
    pub fn status(&self) -> RegistrationStatus {
        let state = self.entry.state.lock();
        let unconfirmed_for = Instant::now().saturating_duration_since(state.last_confirmed);
        // A connection that lives confirms all that it holds.
        #[cfg(feature = "grpc")]
        let unconfirmed_for = match self.inner.core.link.as_ref().and_then(|link| link.session()) {
            Some(session) if state.failures == 0 && !self.entry.is_by_http() => {
                unconfirmed_for.min(session.silent_for())
            }
            _ => unconfirmed_for,
        };
        RegistrationStatus {
            unconfirmed_for,
            beat_interval: state.interval,
            failures: state.failures,
            last_error: state.last_error.clone(),
            registrations: state.registrations,
        }
    }

    /// Changes weight, metadata or `enabled` in place; other clients see one change and never a
    /// gap. If the call fails, beats and later registrations go on with the old values.
    ///
    /// Cancelling leaves open whether the registry shows the old or the new values.
    ///
    /// # Errors
    /// [`Error::Instance`] or [`Error::Identity`] if the result is no instance or another one,
    /// and the errors of any call. If one of them may have had an effect, the registry shows
    /// either the old or the new values; calling `update` again settles it.
    pub async fn update(&self, change: impl FnOnce(&mut Instance)) -> Result<(), Error> {
        self.inner.check_open()?;
        let _turn = self.entry.turn.lock().await;
        let old = self.instance();
        let mut new = old.clone();
        change(&mut new);
        new.check()?;
        if new.key() != old.key() || new.ephemeral != old.ephemeral {
            return Err(Error::Identity { instance: old.key().to_string() });
        }
        write::write(&self.inner.core, &self.entry, &new, true).await?;
        *self.entry.instance.lock() = new;
        Ok(())
    }

    /// Closes the instance for calls: consumers find it no more, and it stays registered.
    ///
    /// # Errors
    /// As [`Registration::update`].
    pub async fn disable(&self) -> Result<(), Error> {
        self.update(|instance| instance.enabled = false).await
    }

    /// Opens it for calls again.
    ///
    /// # Errors
    /// As [`Registration::update`].
    pub async fn enable(&self) -> Result<(), Error> {
        self.update(|instance| instance.enabled = true).await
    }

    /// Leaves in order: closes the instance for calls, waits for `time`, in which consumers hear
    /// of it and calls under way end, and deregisters. Servers do not tell what consumers have
    /// heard: over gRPC it takes milliseconds, over HTTP as long as a consumer's next poll, 10 s
    /// at most.
    ///
    /// Cancelling while it waits leaves the instance to the guard, which has gone: it is
    /// deregistered.
    ///
    /// # Errors
    /// As [`Registration::close`]; an instance that cannot be closed for calls is deregistered at
    /// once.
    pub async fn leave(self, time: Duration) -> Result<(), Error> {
        match self.disable().await {
            Ok(()) => tokio::time::sleep(time).await,
            Err(error) => tracing::warn!(service = %self.entry.service, %error,
                "an instance cannot be closed for calls before it is deregistered"),
        }
        self.close().await
    }

    /// Deregisters. Beats stop at once, whatever comes of the call.
    ///
    /// Cancelling the future leaves the deregistration to the background.
    ///
    /// # Errors
    /// Those of any call. The registry then removes an ephemeral instance by itself when it has
    /// heard no beat for 30 s, or what its metadata says.
    pub async fn close(self) -> Result<(), Error> {
        if !self.inner.beats.begin_close(&self.entry) {
            return Ok(());
        }
        let (inner, entry) = (self.inner.clone(), self.entry.clone());
        let work = self.inner.runtime.spawn(async move {
            let outcome = end(&inner, &entry).await;
            inner.beats.finish_close(&entry);
            outcome
        });
        work.await.unwrap_or(Err(Error::ShutDown))
    }
}

async fn end(inner: &Inner, entry: &Arc<Entry>) -> Result<(), Error> {
    let _turn = entry.turn.lock().await;
    write::deregister(&inner.core, entry).await
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.inner.beats.begin_close(&self.entry) {
            return;
        }
        let (core, beats, entry) =
            (self.inner.core.clone(), self.inner.beats.clone(), self.entry.clone());
        if !entry.instance.lock().ephemeral {
            beats.finish_close(&entry);
            return;
        }
        // The task holds what a call needs and nothing that keeps the client running.
        self.inner.runtime.spawn(async move {
            let turn = entry.turn.lock().await;
            if let Err(error) = write::deregister(&core, &entry).await {
                tracing::warn!(service = %entry.service, %error,
                    "a dropped registration stays until the registry misses its beats");
            }
            drop(turn);
            beats.finish_close(&entry);
        });
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("service", &self.entry.service)
            .field("instance", &self.entry.instance.lock().key())
            .finish_non_exhaustive()
    }
}
