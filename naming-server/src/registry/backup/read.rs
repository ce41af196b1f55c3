//! From records to items, and page by page through a store.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use distro_core::{DATUM_KEY, Health, Slot};
use naming_model::{OPERATOR_MARK, PERSISTENT_MARK, RecordKey, ServiceKey};

use super::item::Checker;
use super::{ClusterItem, Item, KindOfInstances, Secret};
use crate::registry::accounts::{read_permission_key, read_role_key};
use crate::registry::{
    ClusterSettings, Content, Metadata, NamingDatum, PERMISSIONS, ROLES, Registry, SWITCHES,
    Selector, ServiceKind, ServiceSettings, USERS,
};

/// Items on a page.
const MOST_ITEMS: usize = 2_000;
/// Bytes of the items on a page as JSON; the last one may go beyond, and has 4 MiB at most.
const MOST_BYTES: usize = 2 << 20;
/// Datums that are looked at for a page, however little they hold.
const MOST_LOOKS: usize = 10_000;

/// Where a page ended: the next one begins behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    slot: usize,
    tag: String,
    /// The last record of the tag; `None` for before the first.
    key: Option<String>,
}

/// A text that no page has given as the place of the next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadCursor;

/// A record that this release cannot put into a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record {key:?} of {tag:?} is of a kind that this release does not know; a backup needs the \
     release that wrote it"
)]
pub(crate) struct Unreadable {
    tag: String,
    key: String,
}

/// A part of what is durable.
#[derive(Debug)]
pub(crate) struct BackupPage {
    /// The items as JSON, one each.
    pub(crate) items: Vec<String>,
    /// Where the next page begins; `None` after the last.
    pub(crate) next: Option<Cursor>,
}

impl Cursor {
    /// As clients give it back.
    pub(crate) fn text(&self) -> String {
        let Self { slot, tag, key } = self;
        let parts = serde_json::to_vec(&(slot, tag, key)).expect("texts and a number are JSON");
        URL_SAFE_NO_PAD.encode(parts)
    }

    /// # Errors
    /// It is none.
    pub(crate) fn parse(text: &str) -> Result<Self, BadCursor> {
        let parts = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let (slot, tag, key) = serde_json::from_slice(&parts).map_err(|_| BadCursor)?;
        Ok(Self { slot, tag, key })
    }
}

impl Registry {
    /// The durable records behind `after`, as far as they fit on a page: in no order that means
    /// anything, each once unless it changes meanwhile. Users, their roles and rights are among
    /// them if `with_accounts`.
    ///
    /// # Errors
    /// A record that only a later release knows.
    pub(crate) fn backup_page(
        &self,
        after: &Cursor,
        with_accounts: bool,
    ) -> Result<BackupPage, Unreadable> {
        let mut page = BackupPage { items: Vec::new(), next: None };
        let (mut looks, mut bytes) = (0, 0);
        for index in after.slot.. {
            let Some(slot) = Slot::at(index) else { break };
            let mut datums = self.store.in_slot(slot);
            datums.sort_unstable_by(|one, other| one.tag().cmp(other.tag()));
            for datum in datums {
                let tag = &**datum.tag();
                let is_cut = index == after.slot && *tag == *after.tag;
                if index == after.slot && *tag < *after.tag {
                    continue;
                }
                let stop = |key| Some(Cursor { slot: index, tag: tag.to_owned(), key });
                looks += 1;
                if looks > MOST_LOOKS {
                    page.next = stop(None);
                    return Ok(page);
                }
                if !with_accounts && [USERS, ROLES, PERMISSIONS].contains(&tag) {
                    continue;
                }
                let behind = after.key.as_deref().filter(|_| is_cut);
                for (key, item) in items_of(&datum, behind)? {
                    let item = serde_json::to_string(&item).expect("an item is JSON");
                    bytes += item.len();
                    page.items.push(item);
                    if page.items.len() >= MOST_ITEMS || bytes >= MOST_BYTES {
                        page.next = stop(Some(key));
                        return Ok(page);
                    }
                }
            }
        }
        Ok(page)
    }
}

/// Items of a datum with their keys, from behind a key on; no more than go on a page.
fn items_of(datum: &NamingDatum, behind: Option<&str>) -> Result<Vec<(String, Item)>, Unreadable> {
    let tag = &**datum.tag();
    datum.read(|reader| {
        let settings = reader.find_visible(DATUM_KEY);
        let (mut persistent, mut operator) = ([0; 4], [0; 4]);
        let persistent = reader.visible_starting_with(PERSISTENT_MARK.encode_utf8(&mut persistent));
        let operator = reader.visible_starting_with(OPERATOR_MARK.encode_utf8(&mut operator));
        let of_service = settings
            .into_iter()
            .map(|(record, content)| (DATUM_KEY, record, content))
            .chain(persistent.map(|(key, record, content)| (&**key, record, content)))
            .chain(operator.map(|(key, record, content)| (&**key, record, content)));
        let of_none = reader.visible().map(|(key, record, content)| (&**key, record, content));
        let is_service = ServiceKey::is_tag(tag);
        let records: Box<dyn Iterator<Item = _>> =
            if is_service { Box::new(of_service) } else { Box::new(of_none) };
        let rest = records.filter(|(key, ..)| behind.is_none_or(|behind| *key > behind));
        let items = rest.filter_map(|(key, record, content)| {
            let item = Item::of(tag, key, record.health(), content).transpose()?;
            Some(item.map(|item| (key.to_owned(), item)))
        });
        items.take(MOST_ITEMS).collect()
    })
}

impl Item {
    /// What a durable record is in a backup; `None` for those that are left out, which are
    /// switches, and settings that say nothing.
    ///
    /// # Errors
    /// A record that only a later release knows.
    pub(crate) fn of(
        tag: &str,
        key: &str,
        health: Health,
        content: &Content,
    ) -> Result<Option<Self>, Unreadable> {
        if tag == SWITCHES {
            return Ok(None);
        }
        let unreadable = || Unreadable { tag: tag.to_owned(), key: key.to_owned() };
        let service = || ServiceKey::from_tag(tag).ok_or_else(unreadable);
        Ok(Some(match content {
            Content::Service(settings) if **settings == ServiceSettings::default() => {
                return Ok(None);
            }
            Content::Service(settings) => Self::of_settings(&service()?, settings),
            Content::Instance(instance) => {
                let (service, names) = (service()?, RecordKey::parse(key).ok_or_else(unreadable)?);
                Self::Instance {
                    namespace: service.namespace().to_owned(),
                    service: service.grouped().to_owned(),
                    cluster: names.instance.cluster.to_owned(),
                    ip: names.instance.ip.to_owned(),
                    port: names.instance.port,
                    weight: instance.weight,
                    enabled: instance.enabled,
                    healthy: health == Health::Healthy,
                    app: instance.app.as_deref().map(str::to_owned),
                    metadata: pairs(&instance.metadata),
                }
            }
            Content::Operator(values) => {
                let names = key.strip_prefix(OPERATOR_MARK).and_then(RecordKey::parse);
                let (service, names) = (service()?, names.ok_or_else(unreadable)?);
                Self::OperatorValues {
                    namespace: service.namespace().to_owned(),
                    service: service.grouped().to_owned(),
                    instances: KindOfInstances::of(ServiceKind::of_instance(names.is_persistent)),
                    cluster: names.instance.cluster.to_owned(),
                    ip: names.instance.ip.to_owned(),
                    port: names.instance.port,
                    weight: values.weight,
                    enabled: values.enabled,
                    metadata: values.metadata.clone(),
                }
            }
            Content::Namespace(namespace) => Self::Namespace {
                id: key.to_owned(),
                name: namespace.name.to_string(),
                description: namespace.description.to_string(),
            },
            Content::User(hash) => {
                Self::User { name: key.to_owned(), password_hash: Secret(hash.to_string()) }
            }
            Content::Grant if tag == ROLES => {
                let (role, user) = read_role_key(key).ok_or_else(unreadable)?;
                Self::Role { role: role.to_owned(), user: user.to_owned() }
            }
            Content::Grant if tag == PERMISSIONS => {
                let (role, permission) = read_permission_key(key).ok_or_else(unreadable)?;
                Self::Permission {
                    role: role.to_owned(),
                    resource: permission.resource.to_string(),
                    action: permission.action.to_string(),
                }
            }
            Content::Grant | Content::Switch(_) | Content::Unknown(_) => return Err(unreadable()),
        }))
    }

    fn of_settings(service: &ServiceKey, settings: &ServiceSettings) -> Self {
        let cluster = |(name, cluster): (&String, &ClusterSettings)| ClusterItem {
            name: name.clone(),
            health_checker: Checker(cluster.checker.to_json()),
            check_port: u16::try_from(cluster.check_port).unwrap_or(0),
            use_instance_port: cluster.use_instance_port,
            metadata: pairs(&cluster.metadata),
        };
        Self::Service {
            namespace: service.namespace().to_owned(),
            service: service.grouped().to_owned(),
            protect_threshold: settings.protect_threshold,
            metadata: pairs(&settings.metadata),
            selector: match &settings.selector {
                Selector::None => None,
                Selector::Label { expression, .. } => Some(expression.clone()),
            },
            explicit: settings.explicit,
            instances: settings.kind.map(KindOfInstances::of),
            clusters: settings.clusters.iter().map(cluster).collect(),
        }
    }
}

impl KindOfInstances {
    fn of(kind: ServiceKind) -> Self {
        match kind {
            ServiceKind::Ephemeral => Self::Ephemeral,
            ServiceKind::Persistent => Self::Persistent,
        }
    }
}

fn pairs(metadata: &Metadata) -> Option<std::collections::BTreeMap<String, String>> {
    (!metadata.is_absent()).then(|| metadata.to_map())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were() {
        for key in [None, Some(String::new()), Some("r\nu".to_owned())] {
            let cursor = Cursor { slot: 7, tag: "public##g@@s é".into(), key };
            assert_eq!(Cursor::parse(&cursor.text()), Ok(cursor));
        }
        for bad in ["", "x", "W10", "é", "eyJhIjoxfQ"] {
            assert_eq!(Cursor::parse(bad), Err(BadCursor), "{bad}");
        }
    }

    #[test]
    fn what_only_a_later_release_knows_is_not_left_out_in_silence() {
        let unknown = Content::Unknown(Box::new([1]));
        let error = Item::of("public##g@@s", "!x", Health::Healthy, &unknown).unwrap_err();
        assert!(error.to_string().contains("public##g@@s"), "{error}");
        let switch = Content::Switch("true".into());
        assert_eq!(Item::of(SWITCHES, "a", Health::Healthy, &switch), Ok(None));
        Item::of("#new", "a", Health::Healthy, &switch).unwrap_err();
    }
}
