//! From items back to records, each where it belongs.

use std::collections::BTreeMap;

use distro_net::ValueCodec;
use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::{ClusterItem, Item, KindOfInstances};
use crate::registry::metadata_text::MAX_METADATA;
use crate::registry::{
    ClusterSettings, Content, ContentCodec, HealthChecker, Instance, Metadata, NAMESPACES,
    Namespace, OperatorValues, PERMISSIONS, ROLES, RegistryError, Selector, ServiceKind,
    ServiceSettings, USERS, Write, Writes, check_address, check_app, check_name, check_permission,
    is_password_hash, permission_key, role_key,
};

/// What an item comes to in the registry.
enum Wish {
    /// A record that is written as it stands.
    Record {
        tag: String,
        key: String,
        content: Content,
    },
    Settings {
        service: ServiceKey,
        settings: Box<ServiceSettings>,
    },
    Instance {
        service: ServiceKey,
        names: Names,
        instance: Box<Instance>,
        healthy: bool,
    },
}

/// Where an instance is, apart from its service.
struct Names {
    ip: String,
    port: u16,
    cluster: String,
}

impl Names {
    fn key(&self) -> InstanceKey<'_> {
        InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster }
    }
}

impl Writes {
    /// Makes a record what the item says. It is checked as if a client had sent it, but for its
    /// metadata, which may be as large as members can give each other. `by_hand` says that nothing
    /// checks the health of the instance: then it becomes that of the item.
    pub(crate) fn restore(
        &self,
        item: Item,
        by_hand: bool,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        match wish(item) {
            Err(error) => Write::Done(Err(error)),
            Ok(Wish::Record { tag, key, content }) => self.write_record(&tag, &key, Some(content)),
            Ok(Wish::Settings { service, settings }) => {
                self.change_settings(&service, move |_| Ok((*settings).clone()))
            }
            Ok(Wish::Instance { service, names, instance, healthy }) => {
                let written = self.register(&service, &names.key(), *instance, healthy, actor);
                if !by_hand {
                    return written;
                }
                let (writes, actor) = (self.clone(), actor());
                written.then(move |written| match written {
                    Err(error) => Write::Done(Err(error)),
                    // A registration leaves the health of what is there alone.
                    Ok(()) => {
                        let key = RecordKey::persistent(names.key());
                        writes.set_health(&service, &key, healthy, &|| actor.clone())
                    }
                })
            }
        }
    }

    /// Removes the record that an item is about. A service that still has instances goes back to
    /// the settings by default, and goes with the last of them.
    pub(crate) fn remove_restored(
        &self,
        item: Item,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        match wish(item) {
            Err(error) => Write::Done(Err(error)),
            Ok(Wish::Record { tag, key, .. }) => self.write_record(&tag, &key, None),
            Ok(Wish::Settings { service, .. }) => {
                match self.registry.instances_of(&service).is_none_or(|all| all.is_empty()) {
                    true => self.delete_service(&service, actor).map(|gone| gone.map(|_| ())),
                    false => self.change_settings(&service, |_| Ok(ServiceSettings::default())),
                }
            }
            Ok(Wish::Instance { service, names, .. }) => {
                self.deregister(&service, &RecordKey::persistent(names.key()), actor)
            }
        }
    }
}

/// # Errors
/// `Invalid` that says what cannot be stored.
fn wish(item: Item) -> Result<Wish, RegistryError> {
    let record = |tag: &str, key: String, content| Wish::Record { tag: tag.into(), key, content };
    Ok(match item {
        Item::Namespace { id, name, description } => {
            let content = Content::Namespace(Namespace::new("name", &name, &description)?);
            if id.is_empty() || id.chars().any(naming_model::is_unprintable) {
                return Err(RegistryError::illegal("id", "it is blank or cannot be seen"));
            }
            // The form is the same as in the name of a service.
            ServiceKey::parse(&id, "g@@s")?;
            record(NAMESPACES, id, content)
        }
        Item::Service {
            namespace,
            service,
            protect_threshold,
            metadata,
            selector,
            explicit,
            instances,
            clusters,
        } => {
            let settings = ServiceSettings {
                protect_threshold,
                metadata: read_metadata(metadata)?,
                selector: selector.map_or(Ok(Selector::None), Selector::labels_of)?,
                clusters: clusters.into_iter().map(cluster).collect::<Result<_, _>>()?,
                explicit,
                kind: instances.map(KindOfInstances::kind),
            };
            let settings = Box::new(checked(settings)?);
            Wish::Settings { service: ServiceKey::parse(&namespace, &service)?, settings }
        }
        Item::OperatorValues {
            namespace,
            service,
            instances,
            cluster,
            ip,
            port,
            weight,
            enabled,
            metadata,
        } => {
            let (service, names) = place(&namespace, &service, ip, port, cluster)?;
            let is_persistent = instances == KindOfInstances::Persistent;
            let id = RecordKey { instance: names.key(), is_persistent }.text();
            let values = OperatorValues { weight, enabled, metadata };
            let content = passed(Content::Operator(Box::new(values)))?;
            record(service.as_str(), RecordKey::operator_text(&id), content)
        }
        Item::Instance {
            namespace,
            service,
            cluster,
            ip,
            port,
            weight,
            enabled,
            healthy,
            app,
            metadata,
        } => {
            let (service, names) = place(&namespace, &service, ip, port, cluster)?;
            let mut instance = Instance::new(weight, read_metadata(metadata)?)?.into_persistent();
            instance.enabled = enabled;
            if let Some(app) = app {
                check_app(&app)?;
                instance = instance.with_app(&app)?;
            }
            Wish::Instance { service, names, instance: Box::new(instance), healthy }
        }
        Item::User { name, password_hash } => {
            check_name("name", &name)?;
            if !is_password_hash(&password_hash.0) {
                let reason = "it is no hash of bcrypt with a cost from 4 to 14";
                return Err(RegistryError::illegal("passwordHash", reason));
            }
            record(USERS, name, Content::User(password_hash.0.into()))
        }
        Item::Role { role, user } => {
            check_name("role", &role)?;
            check_name("user", &user)?;
            record(ROLES, role_key(&role, &user), Content::Grant)
        }
        Item::Permission { role, resource, action } => {
            check_name("role", &role)?;
            check_permission(&resource, &action)?;
            record(PERMISSIONS, permission_key(&role, &resource, &action), Content::Grant)
        }
    })
}

fn place(
    namespace: &str,
    service: &str,
    ip: String,
    port: u16,
    cluster: String,
) -> Result<(ServiceKey, Names), RegistryError> {
    check_address(&ip)?;
    naming_model::check_cluster_name(&cluster)?;
    let service = ServiceKey::parse(namespace, service)?;
    super::super::writes::check_service(&service)?;
    Ok((service, Names { ip, port, cluster }))
}

fn cluster(item: ClusterItem) -> Result<(String, ClusterSettings), RegistryError> {
    let ClusterItem { name, health_checker, check_port, use_instance_port, metadata } = item;
    let checker = HealthChecker::parse(&health_checker.0.to_string())?;
    if checker.to_json() != health_checker.0 {
        // What is read more leniently from clients would come back as something else.
        let reason = "it is none that this release knows";
        return Err(RegistryError::illegal("healthChecker", reason));
    }
    let settings = ClusterSettings {
        checker,
        check_port: i32::from(check_port),
        use_instance_port,
        metadata: read_metadata(metadata)?,
    };
    Ok((name, settings))
}

fn read_metadata(pairs: Option<BTreeMap<String, String>>) -> Result<Metadata, RegistryError> {
    pairs.map_or_else(|| Ok(Metadata::absent()), |pairs| Metadata::new(&pairs, MAX_METADATA))
}

/// What arrives at other members, who check everything.
fn passed(content: Content) -> Result<Content, RegistryError> {
    let mut bytes = Vec::new();
    ContentCodec.encode(&content, &mut bytes);
    ContentCodec.decode(&bytes).map_err(|error| RegistryError::invalid(error.to_string()))
}

fn checked(settings: ServiceSettings) -> Result<ServiceSettings, RegistryError> {
    match passed(Content::Service(settings.into()))? {
        Content::Service(settings) => Ok((*settings).clone()),
        _ => Err(RegistryError::invalid("these are no settings of a service")),
    }
}

impl KindOfInstances {
    fn kind(self) -> ServiceKind {
        match self {
            Self::Ephemeral => ServiceKind::Ephemeral,
            Self::Persistent => ServiceKind::Persistent,
        }
    }
}
