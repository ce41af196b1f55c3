//! The task that owns the protocol state and performs what it asks for.

use std::sync::Arc;

use distro_core::{Distro, DistroConfig, Input, JudgeTerms, Output, Store, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Inputs that wait for the driver. Operators are slow; more than this waits for room.
const INPUT_QUEUE: usize = 64;

/// Drives one member: feeds its [`Distro`] with time and inputs and carries out the outputs.
pub struct Driver<V: Value, A> {
    distro: Distro<V, A>,
    store: Arc<Store<V, A>>,
    clock: Clock,
    inputs: mpsc::Receiver<Input<V>>,
}

/// Speaks to a running [`Driver`]. Cheap to clone.
#[derive(Debug)]
pub struct Control<V> {
    inputs: mpsc::Sender<Input<V>>,
}

impl<V> Clone for Control<V> {
    fn clone(&self) -> Self {
        Self { inputs: self.inputs.clone() }
    }
}

impl<V> Control<V> {
    /// Hands over an input. Returns false if the driver has stopped or is hopelessly behind.
    pub fn input(&self, input: Input<V>) -> bool {
        self.inputs.try_send(input).is_ok()
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Driver<V, A> {
    /// A driver for this store, and the handle to speak to it. Nothing happens until
    /// [`run`](Self::run).
    pub fn new(config: DistroConfig, store: Arc<Store<V, A>>, clock: Clock) -> (Self, Control<V>) {
        let (sender, inputs) = mpsc::channel(INPUT_QUEUE);
        // A member alone has nothing to spread by chance.
        let distro = Distro::new(config, Arc::clone(&store), &[], 0, clock.tick());
        (Self { distro, store, clock, inputs }, Control { inputs: sender })
    }

    /// Runs until `shutdown`. Cancelling the future between awaits loses nothing: all state is
    /// in the store.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let deadline = self.clock.instant(self.distro.poll_timeout());
            let input = tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(deadline) => Input::Tick,
                Some(input) = self.inputs.recv() => input,
            };
            self.distro.handle_input(self.clock.tick(), input);
            while let Some(output) = self.distro.poll_output() {
                self.perform(output).await;
            }
        }
    }

    async fn perform(&self, output: Output<V>) {
        match output {
            Output::Judge(terms) => self.judge(&terms).await,
            Output::Paused(late) => tracing::warn!(
                late_ms = late.as_millis(),
                "this process was stopped or starved; every instance gets a full time-out again"
            ),
            // A member alone has nobody to send to or to tell of.
            Output::Send { .. }
            | Output::Member(..)
            | Output::Moved(_)
            | Output::Phase(_)
            | Output::Left => {}
        }
    }

    /// A slice at a time, so that an expiry of a million does not hold up a worker thread.
    async fn judge(&self, terms: &JudgeTerms) {
        while self.store.judge(terms, self.clock.tick()) {
            tokio::task::yield_now().await;
        }
    }
}
