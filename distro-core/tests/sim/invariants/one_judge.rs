//! Once the network is whole, all members agree on who judges what.

use crate::world::World;

const SETTLED_MS: u64 = 10_000;
const TAGS: usize = 4_096;

#[derive(Default)]
pub(crate) struct OneJudge {
    settled: u64,
}

impl OneJudge {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        if self.settled == world.disturbed_at || world.now < world.disturbed_at + SETTLED_MS {
            return Ok(());
        }
        self.settled = world.disturbed_at;
        let running: Vec<_> = world
            .nodes
            .iter()
            .filter(|node| !node.left)
            .filter_map(|node| node.process.as_ref().map(|process| (node, process)))
            .collect();
        // Nearly every slot has one of these.
        for tag in (0..TAGS).map(|n| format!("tag-{n}")) {
            let mut owners = running.iter().map(|(_, process)| process.store.owner(&tag));
            let Some(first) = owners.next() else { return Ok(()) };
            if owners.any(|owner| owner != first) {
                return Err(format!("{tag} has several owners"));
            }
            let is_running = |(node, _): &&(_, _)| -> bool {
                let node: &&crate::world::Node = node;
                Some(node.id) == first
            };
            if !running.iter().any(|pair| is_running(&pair)) {
                return Err(format!("{tag} is owned by nobody who runs"));
            }
        }
        Ok(())
    }
}
