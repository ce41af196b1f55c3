//! What was acknowledged of durable records is there once the network is whole and all members
//! run: no write is lost, and no removal undone. A store never holds less than its disk, and no
//! disk goes back to what was before.

use std::collections::BTreeMap;

use distro_core::Record;

use crate::client::{Client, Life};
use crate::node::Text;
use crate::world::World;

/// From the end of a disturbance on, members need so long to be equal: two periods of
/// verification.
const HEALED_MS: u64 = 6_000;

#[derive(Default)]
pub(crate) struct Kept {
    /// What was last seen on a disk.
    disks: BTreeMap<(usize, usize), Record<Text>>,
    /// The last disturbance after which all were seen to be equal, and the longest that took.
    healed: u64,
    pub(crate) slowest_ms: u64,
    /// How often an acknowledged write was looked for.
    pub(crate) checked: u64,
}

impl Kept {
    /// The disk of a member is gone.
    pub(crate) fn wiped(&mut self, node: usize) {
        self.disks.retain(|(n, _), _| *n != node);
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        let keepers = world.clients.iter().enumerate().filter(|(_, client)| is_keeper(client));
        let keepers: Vec<(usize, &Client)> = keepers.collect();
        for (c, client) in &keepers {
            for n in 0..world.nodes.len() {
                self.check_disk(world, n, *c, client)?;
            }
        }
        if !all_run(world) {
            return Ok(());
        }
        self.heal(world, &keepers)?;
        for (c, client) in &keepers {
            let since = world.disturbed_at.max(client.acked_at);
            if world.now > since + HEALED_MS {
                self.checked += 1;
                let ready = world.members().iter().filter(|n| world.is_ready(**n));
                ready.copied().try_for_each(|n| is_there(world, n, *c, client))?;
            }
        }
        Ok(())
    }

    fn check_disk(
        &mut self,
        world: &World,
        n: usize,
        c: usize,
        client: &Client,
    ) -> Result<(), String> {
        let on_disk = world.nodes[n].disk.find(&client.tag, &client.key);
        let brings_news = |to: Option<&Record<Text>>, news: &Record<Text>| {
            to.cloned().unwrap_or_default().merge(news)
        };
        // The mark of a removal that found nothing is kept like any other removal.
        let may_forget = |before: &Record<Text>| {
            world.is_short_of_memory && before.registration.is_never() && on_disk.is_none()
        };
        if let Some(before) = self.disks.get(&(n, c))
            && brings_news(on_disk, before)
            && !may_forget(before)
        {
            return Err(format!("disk {n}: client {c} went back from {before:?} to {on_disk:?}"));
        }
        let Some(on_disk) = on_disk else {
            self.disks.remove(&(n, c));
            return Ok(());
        };
        self.disks.insert((n, c), on_disk.clone());
        let held = world.record(n, c);
        let is_mark = world.is_short_of_memory && on_disk.registration.is_never();
        if world.nodes[n].process.is_some() && brings_news(held.as_ref(), on_disk) && !is_mark {
            return Err(format!("node {n}: client {c} is {held:?}, on disk {on_disk:?}"));
        }
        Ok(())
    }

    /// All are equal within two periods of verification.
    fn heal(&mut self, world: &World, keepers: &[(usize, &Client)]) -> Result<(), String> {
        if self.healed == world.disturbed_at {
            return Ok(());
        }
        let since = world.now - world.disturbed_at;
        // Who never knew what was removed need not know of the removal.
        let shown = |n: usize, c: usize| world.record(n, c).filter(Record::is_visible);
        let stamps = |n: usize| {
            let stamps = |record: Record<Text>| (record.registration, record.liveness);
            keepers.iter().map(|(c, _)| shown(n, *c).map(stamps)).collect::<Vec<_>>()
        };
        let mut members = world.members().iter();
        let first = members.next().map(|n| stamps(*n));
        if members.all(|n| Some(stamps(*n)) == first) {
            self.healed = world.disturbed_at;
            self.slowest_ms = self.slowest_ms.max(since);
        } else if since > HEALED_MS {
            return Err("durable records are not equal".to_owned());
        }
        Ok(())
    }
}

fn is_keeper(client: &Client) -> bool {
    matches!(client.life, Life::Keeping | Life::Kept)
}

fn all_run(world: &World) -> bool {
    world.net.is_calm() && world.members().iter().all(|n| world.is_running(*n))
}

/// Whether a member shows what came of the last acknowledged write, or of a later one.
fn is_there(world: &World, n: usize, c: usize, client: &Client) -> Result<(), String> {
    let view = world.view(n, c).map(|(number, _)| number);
    let is_fine = match view {
        Some(number) => number >= client.acked && !client.is_erase(number),
        None => client.acked == 0 || (client.acked..=client.version).any(|n| client.is_erase(n)),
    };
    let (acked, record) = (client.acked, world.record(n, c));
    let verb = if client.is_erase(acked) { "erased" } else { "saved" };
    match is_fine {
        true => Ok(()),
        false => Err(format!("node {n}: client {c} has {verb} {acked}, there is {record:?}")),
    }
}
