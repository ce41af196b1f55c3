//! Clients of Java servers, as they are held here.
//!
//! Each is what a connection of this member would be: [`Holding`] renews what it publishes while
//! a Java server vouches for it, registers anew what got lost, and ends it by the stamp of its
//! registration. All members of our make hold the same clients under the same marks, which are
//! hashes of their ids, so whoever writes first spares the others the write.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use distro_core::{Action, Health, Holding, HoldingConfig, Key, SharedStatus, Tick};
use naming_model::{InstanceKey, RecordKey, ServiceKey};
use parking_lot::Mutex;

use super::BadContent;
use super::content::{ClientData, address_of};
use super::owners::Owners;
use super::table::{Known, Table, Word};
use super::wishes::{Place, Wish, places, wanted};
use crate::registry::{Content, Registry};

/// A client for which nobody vouches for so long is gone. As in Java.
const SILENT_FOR: Duration = Duration::from_secs(180);
/// What a client has removed here is not brought back for so long by what was told before.
const HOLD: Duration = Duration::from_secs(3);
/// Removals that are kept in mind for that at a time.
const MOST_HOLDS: usize = 10_000;
/// Owners vouch every 5 s: after twice that, a client that beats and is ours to judge is taken over.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);

/// Clients of Java servers.
pub(crate) struct Clients {
    registry: Arc<Registry>,
    shared_status: Arc<SharedStatus>,
    table: Mutex<Table>,
}

impl Clients {
    /// None yet.
    pub(crate) fn new(registry: Arc<Registry>, shared_status: Arc<SharedStatus>) -> Self {
        let config = HoldingConfig {
            ask_after: SILENT_FOR,
            answer_within: Duration::ZERO,
            // Its owner is where its client is.
            cut_off_after: Duration::MAX,
            ..HoldingConfig::default()
        };
        let table = Table {
            holding: Holding::new(config),
            known: HashMap::new(),
            ids: HashMap::new(),
            last_number: 0,
            bytes: 0,
            holds: HashMap::new(),
        };
        Self { registry, shared_status, table: Mutex::new(table) }
    }

    /// A member tells what a client publishes now.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn change(&self, data: ClientData, bytes: usize) -> Result<(), BadContent> {
        self.take(&mut self.table.lock(), data, bytes, Word::Owner, self.now())
    }

    /// The judge of a client that beats answers what there is of it. Java's revision is none of
    /// health, so that a change of health which got lost shows only here.
    pub(crate) fn compare(&self, data: ClientData) {
        let now = self.now();
        let mut table = self.table.lock();
        let Some(known) = table.known.get(&*data.id) else { return };
        if !known.is_unverified && known.data.publishes_like(&data) {
            return;
        }
        let bytes = known.bytes.max(data.render().len());
        // It is known, so there is room for it.
        let _ = self.take(&mut table, data, bytes, Word::Owner, now);
    }

    /// The clients that beat and are judged by this member.
    pub(crate) fn judged_by(&self, owners: &Owners, member: &str) -> Vec<Arc<str>> {
        let table = self.table.lock();
        let is_judged = |id: &&Arc<str>| {
            let owner = address_of(id).and_then(|address| owners.owner(address));
            owner.is_some_and(|owner| **owner == *member)
        };
        table.known.keys().filter(is_judged).cloned().collect()
    }

    /// A member vouches for a client at this revision. False if that is not what is known here.
    pub(crate) fn verify(&self, id: &str, revision: i64) -> bool {
        let now = self.now();
        let mut table = self.table.lock();
        let Table { holding, known, .. } = &mut *table;
        let Some(client) = known.get_mut(id) else { return false };
        if revision != 0 && revision != i64::from(client.data.revision) {
            return false;
        }
        client.heard = now;
        holding.heard(client.number, now);
        if std::mem::take(&mut client.is_unverified) {
            let (data, bytes) = (ClientData::clone(&client.data), client.bytes);
            // It was taken before, so there is room for it.
            let _ = self.take(&mut table, data, bytes, Word::Owner, now);
        }
        true
    }

    /// A client is gone.
    pub(crate) fn delete(&self, id: &str) {
        let mut table = self.table.lock();
        table.end(id, self.now());
    }

    /// A client that beats has removed an instance: it leaves what its judge has told of it. What a
    /// member tells of it in the next moments may have been on its way.
    pub(crate) fn withdraw(&self, tag: &str, key: &str) {
        let now = self.now();
        let mut table = self.table.lock();
        let id = RecordKey::parse(key)
            .map(|key| format!("{}:{}#true", key.instance.ip, key.instance.port));
        let Table { holding, known, .. } = &mut *table;
        if let Some(client) = id.and_then(|id| known.get(&*id)) {
            for (key, registration) in holding.retain(client.number, tag, |kept| kept != key) {
                let Some(service) = ServiceKey::from_tag(tag) else { continue };
                let place = (registration, client.mark);
                self.registry.retract(&service, &key, place, now, &String::new);
            }
        }
        table.holds.retain(|_, until| *until > now);
        if table.holds.len() < MOST_HOLDS {
            table.holds.insert((Arc::from(tag), Key::from(key)), now.after(HOLD));
        }
    }

    /// What a client publishes.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<ClientData>> {
        self.table.lock().known.get(id).map(|client| Arc::clone(&client.data))
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<ClientData>> {
        self.table.lock().known.values().map(|client| Arc::clone(&client.data)).collect()
    }

    /// Takes the snapshot of a member. Whoever was known before `began` and is not in it is gone.
    /// Returns how many clients there was no room for.
    pub(crate) fn load(&self, snapshot: Vec<ClientData>, began: Tick) -> usize {
        let now = self.now();
        let listed: HashSet<String> = snapshot.iter().map(|client| client.id.clone()).collect();
        let mut left_out = 0;
        for data in snapshot {
            // A lock for each: changes come in meanwhile.
            let mut table = self.table.lock();
            if table.known.get(&*data.id).is_some_and(|known| known.heard >= began) {
                continue;
            }
            let bytes = data.render().len();
            if self.take(&mut table, data, bytes, Word::Snapshot, now).is_err() {
                left_out += 1;
            }
        }
        let mut table = self.table.lock();
        let is_gone =
            |(id, known): &(&Arc<str>, &Known)| known.heard < began && !listed.contains(&***id);
        let gone: Vec<_> =
            table.known.iter().filter(is_gone).map(|(id, _)| Arc::clone(id)).collect();
        gone.iter().for_each(|id| table.end(id, now));
        left_out
    }

    /// Ends whoever comes from a snapshot and for whom nobody has vouched. Returns how many.
    pub(crate) fn drop_unverified(&self) -> usize {
        let mut table = self.table.lock();
        let unverified = table.known.iter().filter(|(_, known)| known.is_unverified);
        let gone: Vec<_> = unverified.map(|(id, _)| Arc::clone(id)).collect();
        gone.iter().for_each(|id| table.end(id, self.now()));
        gone.len()
    }

    /// Does what is due: renews, registers anew, ends.
    pub(crate) fn tick(&self) {
        let now = self.now();
        let mut table = self.table.lock();
        let actions = table.holding.tick(&self.registry.store, &self.shared_status, now);
        for action in actions {
            self.carry_out(&mut table, action, now);
        }
    }

    /// Takes over clients that beat, that are this member's to judge, and for which nobody else
    /// vouches any more. From then on their beats count. Those which another member of our make
    /// has taken over are let go.
    pub(crate) fn take_over(&self, owners: &Owners, own: &str) {
        let now = self.now();
        let mut table = self.table.lock();
        let is_left = |(id, known): &(&Arc<str>, &Known)| {
            now.since(known.heard) >= TAKEN_OVER_AFTER && address_of(id).is_some()
        };
        let left: Vec<_> =
            table.known.iter().filter(is_left).map(|(id, _)| Arc::clone(id)).collect();
        for id in left {
            let is_own = address_of(&id)
                .and_then(|address| owners.owner(address))
                .is_some_and(|owner| **owner == *own);
            let known = &table.known[&id];
            let places = places(&known.data);
            let held: Vec<_> =
                places.iter().filter(|place| self.is_held_by(place, known.mark)).collect();
            if is_own {
                held.into_iter().for_each(|(tag, key)| self.release(tag, key));
                table.end(&id, now);
            } else if held.is_empty() {
                table.end(&id, now);
            }
        }
    }

    fn now(&self) -> Tick {
        self.registry.clock.tick()
    }

    fn is_held_by(&self, (tag, key): &Place, mark: u64) -> bool {
        self.registry.mark_of(tag, key).is_some_and(|(_, by)| by == mark)
    }

    /// Registers an instance anew as one that beats.
    fn release(&self, tag: &str, key: &str) {
        let now = self.now();
        self.registry.store.update_existing(tag, now, |writer| {
            let Some((record, content)) = writer.find_visible(key) else { return };
            let Content::Instance(instance) = &**content else { return };
            let health = match instance.is_declared_unhealthy() {
                true => Health::Unhealthy,
                false => record.health(),
            };
            let mut released = instance.clone();
            released.held = None;
            let stamp = self.registry.store.clock().issue(now);
            writer.register(key, stamp, Arc::new(Content::Instance(released)), health);
        });
    }

    fn take(
        &self,
        table: &mut Table,
        data: ClientData,
        bytes: usize,
        word: Word,
        now: Tick,
    ) -> Result<(), BadContent> {
        let (number, mark) = table.enter(data, bytes, word, now)?;
        let client = &table.known[&table.ids[&number]];
        let data = Arc::clone(&client.data);
        let wanted = wanted(&data, mark);
        let tags: HashSet<Arc<str>> =
            table.holding.held_by(number).map(|(tag, ..)| Arc::clone(tag)).collect();
        for tag in tags {
            let keeps = |key: &str| wanted.contains_key(&(Arc::clone(&tag), Key::from(key)));
            for (key, registration) in table.holding.retain(number, &tag, keeps) {
                let Some(service) = ServiceKey::from_tag(&tag) else { continue };
                self.registry.retract(&service, &key, (registration, mark), now, &String::new);
            }
        }
        for ((tag, key), wish) in wanted {
            let is_left = word == Word::Snapshot && self.is_of_others(&tag, &key, mark);
            let place = (Arc::clone(&tag), Arc::clone(&key));
            if table.holds.get(&place).is_some_and(|until| *until > now) {
                // Looked at again when somebody vouches for the client next.
                let id = Arc::clone(&table.ids[&number]);
                table.known.entry(id).and_modify(|known| known.is_unverified = true);
                continue;
            }
            if is_left || !self.register(&tag, &key, wish, mark) {
                continue;
            }
            let Some((stamp, content)) = self.registry.held_registration(&tag, &key, mark) else {
                continue;
            };
            if let Some(action) = table.holding.registered(number, (tag, key), content, stamp) {
                self.carry_out(table, action, now);
            }
        }
        Ok(())
    }

    /// Whether somebody else has registered an instance that is there.
    fn is_of_others(&self, tag: &str, key: &str, mark: u64) -> bool {
        let Some(datum) = self.registry.store.find(tag) else { return false };
        datum.read(|reader| match reader.find_visible(key) {
            None => false,
            Some((_, content)) => match &**content {
                Content::Instance(instance) => {
                    instance.held.as_ref().is_none_or(|held| held.by != mark)
                }
                _ => true,
            },
        })
    }

    /// Writes an instance, unless it stands there as it is to be, written by whichever member. False
    /// if it cannot be written.
    fn register(&self, tag: &Arc<str>, key: &Key, wish: Wish, mark: u64) -> bool {
        let Wish { service, ip, port, cluster, instance } = wish;
        let known = self.registry.held_registration(tag, key, mark);
        let looks_so = known.is_some_and(|(_, content)| match &*content {
            Content::Instance(known) => known.shows_like(&instance),
            _ => false,
        });
        if looks_so {
            return true;
        }
        let name = InstanceKey { ip: &ip, port, cluster: &cluster };
        let actor = || "a member of Nacos".to_owned();
        match self.registry.register(self.now(), &service, &name, instance, true, &actor) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(
                    %error, service = service.as_str(),
                    "cannot hold an instance of a Java member"
                );
                false
            }
        }
    }

    fn carry_out(&self, table: &mut Table, action: Action<Content>, now: Tick) {
        let store = &self.registry.store;
        match action {
            Action::Lapse { tag, key, registration } => {
                if store.lapse(&tag, &key, registration, now)
                    && let Some(service) = ServiceKey::from_tag(&tag)
                {
                    self.registry.note_lapse(&service, &key);
                }
            }
            Action::Register { connection, tag, key, value } => {
                let anew = store.update(&tag, now, |writer| {
                    if writer.find_visible(&key).is_some() {
                        return None;
                    }
                    let stamp = store.clock().issue(now);
                    writer.register(&key, stamp, value, Health::Healthy);
                    Some(stamp)
                });
                let Some(stamp) = anew else { return };
                let over = table.holding.registered_anew(connection, (tag, key), stamp);
                if let Some(action) = over {
                    self.carry_out(table, action, now);
                }
            }
            // Nobody vouches for it any more.
            Action::Close(connection) => table.forget(connection),
            // Its owner asks it, and no tag is foreign beside servers of 2.x.
            Action::Ask(_) | Action::SendAway(_) | Action::Beat { .. } | Action::Reclaim { .. } => {
            }
        }
    }
}
