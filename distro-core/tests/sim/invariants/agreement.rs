//! Once the network is whole, all members hold the same within ten seconds.

use crate::world::World;

const HEALED_MS: u64 = 10_000;

#[derive(Default)]
pub(crate) struct Agreement {
    /// The last disturbance that was healed, and how long it took.
    healed: u64,
    pub(crate) slowest_ms: u64,
}

impl Agreement {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        if self.healed == world.disturbed_at {
            return Ok(());
        }
        let since = world.now - world.disturbed_at;
        if world.roots_agree() && since > 0 {
            self.healed = world.disturbed_at;
            self.slowest_ms = self.slowest_ms.max(since);
        } else if since > HEALED_MS + world.grace_ms() {
            return Err("members do not agree".to_owned());
        }
        Ok(())
    }
}
