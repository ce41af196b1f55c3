//! What the clients of this member publish, as Java servers are told: those that hold a connection
//! here, and those that beat and are this member's to judge.
//!
//! The store tells which records have changed. Which client a record belongs to follows from the
//! record: the connection that holds it, or its address. So whatever an operator or another member
//! writes is told as well.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use distro_core::{Health, Key, Watcher};
use naming_model::{RecordKey, ServiceKey};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::content::{ClientData, Instances, Published, PublishedInstance, address_of};
use super::owners::Owners;
use crate::registry::{Content, Instance, NamingDatum, Registry, ServiceState};

/// Changed records that are noted one by one; beyond that all are looked at.
const MOST_NOTED: usize = 100_000;

/// Where something is registered.
type Place = (Arc<str>, Key);

/// The ear at the store: which records have changed.
#[derive(Default)]
pub(crate) struct Changed {
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    places: HashSet<Place>,
    all: bool,
}

impl Changed {
    /// Everything is to be looked at.
    pub(crate) fn note_all(&self) {
        let mut noted = self.noted.lock();
        noted.all = true;
        noted.places.clear();
    }

    fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted.lock())
    }
}

impl Watcher<Content, ServiceState> for Changed {
    /// Who holds an instance is seen by no client, and decides who tells of it.
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[Key], _: bool) {
        if !ServiceKey::is_tag(datum.tag()) {
            return;
        }
        let mut noted = self.noted.lock();
        if noted.all {
            return;
        }
        if noted.places.len() + keys.len() > MOST_NOTED {
            noted.all = true;
            noted.places.clear();
            return;
        }
        noted.places.extend(keys.iter().map(|key| (Arc::clone(datum.tag()), Arc::clone(key))));
    }

    fn judged(&self, _: &Arc<NamingDatum>, _: &distro_core::Verdict<Content>) {}
}

/// Who knows the connections of clients to this member.
pub(crate) trait Connections: Send + Sync {
    /// The id of the open connection that has this mark.
    fn id_of(&self, mark: u64) -> Option<Arc<str>>;

    /// How many clients have set up a connection.
    fn count(&self) -> usize;

    /// Sends away as many clients as are above `count`, to this server if one is named. Returns how
    /// many were asked to go.
    fn send_away_above(&self, count: usize, to: Option<&str>) -> usize;
}

/// What Java servers know, or are about to know, of the clients of this member.
#[derive(Default)]
pub(crate) struct Own {
    told: HashMap<Arc<str>, Told>,
    /// To which client each record belongs.
    clients: HashMap<Place, Arc<str>>,
    /// The ids of connections by their marks, as long as something is told of them: a connection
    /// is gone before what it holds.
    marks: HashMap<u64, Arc<str>>,
}

/// A client of this member.
struct Told {
    places: BTreeSet<Place>,
    mark: Option<u64>,
    data: Arc<ClientData>,
}

/// What Java servers are to be told of a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// It publishes something else.
    Change,
    /// It publishes nothing any more.
    Gone,
}

impl Own {
    /// What is told of a client.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<ClientData>> {
        self.told.get(id).map(|told| Arc::clone(&told.data))
    }

    /// All clients that Java servers are told of.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ClientData>> {
        self.told.values().map(|told| &told.data)
    }

    /// Looks at what has changed. Returns the clients of which there is news.
    pub(crate) fn refresh(
        &mut self,
        changed: &Changed,
        registry: &Registry,
        (owners, own): (&Owners, &str),
        connections: &dyn Connections,
    ) -> Vec<(Arc<str>, News)> {
        let noted = changed.take();
        let places = match noted.all {
            true => self.every_place(registry),
            false => noted.places,
        };
        let mut touched = BTreeMap::new();
        for place in places {
            let belongs = self.client_of(registry, &place, (owners, own), connections);
            self.move_place(place, belongs, &mut touched);
        }
        let mut news = Vec::new();
        for (id, is_given_up) in touched {
            match self.render(registry, &id) {
                Some(true) => news.push((id, News::Change)),
                Some(false) => {}
                None => {
                    // Whoever judges it from now on tells of it: it is not gone.
                    if !is_given_up {
                        news.push((id, News::Gone));
                    }
                }
            }
        }
        news
    }

    fn every_place(&self, registry: &Registry) -> HashSet<Place> {
        let mut places: HashSet<Place> = self.clients.keys().cloned().collect();
        for datum in registry.store.all() {
            if ServiceKey::is_tag(datum.tag()) {
                datum.read(|reader| {
                    let keys = reader.visible().map(|(key, ..)| Arc::clone(key));
                    places.extend(keys.map(|key| (Arc::clone(datum.tag()), key)));
                });
            }
        }
        places
    }

    /// The client that a record belongs to, if it is one of this member's; and whether the record is
    /// there.
    fn client_of(
        &self,
        registry: &Registry,
        place: &Place,
        (owners, own): (&Owners, &str),
        connections: &dyn Connections,
    ) -> Belongs {
        let (tag, key) = place;
        let Some(record_key) = RecordKey::parse(key).filter(|key| !key.is_persistent) else {
            return Belongs { id: None, mark: None, is_there: false };
        };
        let held = registry.store.find(tag).and_then(|datum| {
            datum.read(|reader| match reader.find_visible(key).map(|(_, content)| &**content) {
                Some(Content::Instance(instance)) => {
                    Some(instance.held.as_ref().map(|held| held.by))
                }
                _ => None,
            })
        });
        match held {
            None => Belongs { id: None, mark: None, is_there: false },
            Some(Some(mark)) => {
                let id = self.marks.get(&mark).cloned().or_else(|| connections.id_of(mark));
                Belongs { id, mark: Some(mark), is_there: true }
            }
            Some(None) => {
                let address = format!("{}:{}", record_key.instance.ip, record_key.instance.port);
                let is_own = owners.owner(&address).is_some_and(|owner| **owner == *own);
                let id = is_own.then(|| Arc::from(format!("{address}#true")));
                Belongs { id, mark: None, is_there: true }
            }
        }
    }

    fn move_place(
        &mut self,
        place: Place,
        belongs: Belongs,
        touched: &mut BTreeMap<Arc<str>, bool>,
    ) {
        let before = self.clients.get(&place).cloned();
        if let Some(before) = before.filter(|before| Some(before) != belongs.id.as_ref()) {
            self.clients.remove(&place);
            if let Some(told) = self.told.get_mut(&before) {
                told.places.remove(&place);
            }
            // An address that beats passes to another judge. A connection never does.
            let is_given_up = belongs.is_there && address_of(&before).is_some();
            *touched.entry(before).or_insert(true) &= is_given_up;
        }
        let Some(id) = belongs.id else { return };
        self.clients.insert(place.clone(), Arc::clone(&id));
        let empty = || Told {
            places: BTreeSet::new(),
            mark: belongs.mark,
            data: Arc::new(ClientData { id: id.to_string(), ..ClientData::default() }),
        };
        if let Some(mark) = belongs.mark {
            self.marks.insert(mark, Arc::clone(&id));
        }
        self.told.entry(Arc::clone(&id)).or_insert_with(empty).places.insert(place);
        touched.entry(id).or_insert(true);
    }

    /// Works out what a client publishes. Whether that is anything new; `None` if there is nothing:
    /// the client is forgotten.
    fn render(&mut self, registry: &Registry, id: &Arc<str>) -> Option<bool> {
        let told = self.told.get_mut(id)?;
        let data = publish(registry, id, &told.places);
        if data.published.is_empty() {
            if let Some(mark) = told.mark {
                self.marks.remove(&mark);
            }
            let places = std::mem::take(&mut told.places);
            places.iter().for_each(|place| _ = self.clients.remove(place));
            self.told.remove(id);
            return None;
        }
        let is_new = data.revision != told.data.revision;
        told.data = Arc::new(data);
        Some(is_new)
    }
}

/// To whom a record belongs.
struct Belongs {
    id: Option<Arc<str>>,
    mark: Option<u64>,
    is_there: bool,
}

/// What a client publishes in these places. The revision is a hash of it, health included: Java's
/// counts no change of health, so that its members miss one that got lost.
fn publish(registry: &Registry, id: &str, places: &BTreeSet<Place>) -> ClientData {
    let mut services: BTreeMap<&str, Vec<PublishedInstance>> = BTreeMap::new();
    for (tag, key) in places {
        let found = registry.store.find(tag).and_then(|datum| {
            datum.read(|reader| {
                let (record, content) = reader.find_visible(key)?;
                let Content::Instance(instance) = &**content else { return None };
                let healthy = record.health() == Health::Healthy;
                published_instance(tag, key, instance, healthy)
            })
        });
        if let Some(instance) = found {
            services.entry(tag).or_default().push(instance);
        }
    }
    let beats = address_of(id).is_some();
    let published = services.into_iter().filter_map(|(tag, mut instances)| {
        let service = ServiceKey::from_tag(tag)?;
        if beats {
            // Java keeps one instance of an address in a service; clusters share it.
            instances.truncate(1);
        }
        let instances = match <[_; 1]>::try_from(instances) {
            Ok([one]) => Instances::One(one),
            Err(batch) => Instances::Batch(batch),
        };
        Some(Published {
            namespace: service.namespace().to_owned(),
            group: service.group().to_owned(),
            service: service.service().to_owned(),
            instances,
        })
    });
    let published = published.collect();
    let mut data = ClientData { id: id.to_owned(), revision: 0, published };
    let hash = xxh3_64(&data.render());
    // 0 would match whatever a member knows.
    data.revision = i32::from_ne_bytes((hash as u32).to_ne_bytes()).max(i32::MIN + 1);
    if data.revision == 0 {
        data.revision = 1;
    }
    data
}

fn published_instance(
    tag: &str,
    key: &str,
    instance: &Instance,
    healthy: bool,
) -> Option<PublishedInstance> {
    let name = RecordKey::parse(key)?.instance;
    let service = ServiceKey::from_tag(tag)?;
    let held = instance.held.as_deref();
    let simple = || format!("{}#{}#{}#{}", name.ip, name.port, name.cluster, service.grouped());
    let chosen = held.and_then(|held| held.chosen_id()).or(instance.id.as_deref());
    // Java gives an id to whoever registers over HTTP, and none to a connection that chose none. Two
    // instances of one address that differ in it, one of them of a server that is gone, are two.
    let id = chosen.map(str::to_owned).or_else(|| held.is_none().then(simple));
    Some(PublishedInstance {
        ip: name.ip.to_owned(),
        port: i32::from(name.port),
        healthy: healthy && !instance.is_declared_unhealthy(),
        cluster: name.cluster.to_owned(),
        weight: held.and_then(|held| held.declared_weight()).unwrap_or(instance.weight),
        enabled: instance.enabled,
        id,
        metadata: instance.metadata.to_map(),
        last_beat_ms: None,
    })
}
