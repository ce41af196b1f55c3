//! Whether the load generator itself got the processor when it needed it.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;

const STEP: Duration = Duration::from_millis(20);

/// Notes how late its own timer fires, for ever.
pub(super) async fn watch(shared: Rc<Shared>) {
    loop {
        let begun = Instant::now();
        sleep(STEP).await;
        let lag = begun.elapsed().saturating_sub(STEP);
        shared.worst_lag.set(shared.worst_lag.get().max(lag));
    }
}
