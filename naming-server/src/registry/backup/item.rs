//! One durable record, as it stands in a backup.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Metadata as a map; absent if nobody ever gave any.
type Pairs = BTreeMap<String, String>;

/// One durable record. The names of its fields are for ever: old backups have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub(crate) enum Item {
    /// What a namespace is called.
    Namespace { id: String, name: String, description: String },
    /// The settings of a service and of its clusters.
    Service {
        namespace: String,
        /// `group@@service`.
        service: String,
        protect_threshold: f32,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        metadata: Option<Pairs>,
        /// The expression of a label selector; absent if there is no selector.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        selector: Option<String>,
        /// Whether it stays when its last instance goes.
        explicit: bool,
        /// Which instances it may have, if that was said.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        instances: Option<KindOfInstances>,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        clusters: Vec<ClusterItem>,
    },
    /// What an operator set of an instance, beside it.
    OperatorValues {
        namespace: String,
        service: String,
        instances: KindOfInstances,
        cluster: String,
        ip: String,
        port: u16,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        weight: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        enabled: Option<bool>,
        /// By key: the value, or null for what is removed.
        #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
        metadata: BTreeMap<String, Option<String>>,
    },
    /// A persistent instance.
    Instance {
        namespace: String,
        service: String,
        cluster: String,
        ip: String,
        port: u16,
        weight: f64,
        enabled: bool,
        healthy: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        app: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        metadata: Option<Pairs>,
    },
    /// A user.
    User {
        name: String,
        /// As bcrypt made it of the password.
        password_hash: Secret,
    },
    /// That a user has a role.
    Role { role: String, user: String },
    /// That a role may do something.
    Permission { role: String, resource: String, action: String },
}

/// Settings of one cluster of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ClusterItem {
    pub(crate) name: String,
    /// As the API shows it.
    pub(crate) health_checker: Checker,
    pub(crate) check_port: u16,
    pub(crate) use_instance_port: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) metadata: Option<Pairs>,
}

/// A health checker as JSON. Beside its type all of it may be secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Checker(pub(crate) Value);

impl Checker {
    /// Its type, as `MYSQL`.
    pub(crate) fn kind(&self) -> &str {
        self.0.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a password is in it, which no hash can stand for: the check logs in by it.
    fn has_password(&self) -> bool {
        self.0.get("pwd").and_then(Value::as_str).is_some_and(|password| !password.is_empty())
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())
    }
}

/// Which instances are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KindOfInstances {
    /// Those that live by beats or connections.
    Ephemeral,
    /// Those that stay until they are deregistered.
    Persistent,
}

/// A text that is shown to nobody by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// What an item is about. Two items of one place are two states of one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemPlace {
    /// Its kind, as a position in [`Item::KINDS`]: the order in which they are restored.
    pub(crate) kind: usize,
    parts: Vec<String>,
}

impl fmt::Display for ItemPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", Item::KINDS[self.kind].0, self.parts.join(" "))
    }
}

impl Item {
    /// Kinds in the order in which they are restored, one and many. What an operator set comes
    /// before the instances, over which it is laid; rights come before those who get them.
    pub(crate) const KINDS: [(&'static str, &'static str); 7] = [
        ("namespace", "namespaces"),
        ("service", "services"),
        ("operator values of", "operator values"),
        ("instance", "persistent instances"),
        ("permission", "permissions"),
        ("role", "roles"),
        ("user", "users"),
    ];

    /// Position of its kind in [`Self::KINDS`].
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Namespace { .. } => 0,
            Self::Service { .. } => 1,
            Self::OperatorValues { .. } => 2,
            Self::Instance { .. } => 3,
            Self::Permission { .. } => 4,
            Self::Role { .. } => 5,
            Self::User { .. } => 6,
        }
    }

    /// Whether it is about who may do what.
    pub(crate) fn is_account(&self) -> bool {
        matches!(self, Self::Permission { .. } | Self::Role { .. } | Self::User { .. })
    }

    /// What it is about.
    pub(crate) fn place(&self) -> ItemPlace {
        let parts = match self {
            Self::Namespace { id, .. } => vec![id.clone()],
            Self::Service { namespace, service, .. } => vec![namespace.clone(), service.clone()],
            Self::OperatorValues { namespace, service, instances, cluster, ip, port, .. } => {
                let instances = match instances {
                    KindOfInstances::Ephemeral => "ephemeral",
                    KindOfInstances::Persistent => "persistent",
                };
                let names = [namespace, service, cluster, &format!("{ip}:{port}")];
                names.into_iter().cloned().chain([instances.to_owned()]).collect()
            }
            Self::Instance { namespace, service, cluster, ip, port, .. } => {
                vec![namespace.clone(), service.clone(), cluster.clone(), format!("{ip}:{port}")]
            }
            Self::User { name, .. } => vec![name.clone()],
            Self::Role { role, user } => vec![role.clone(), user.clone()],
            Self::Permission { role, resource, action } => {
                vec![role.clone(), resource.clone(), action.clone()]
            }
        };
        ItemPlace { kind: self.kind(), parts }
    }

    /// Whether a password is in it that is not kept as a hash: that of a MySQL check.
    pub(crate) fn has_plain_secret(&self) -> bool {
        match self {
            Self::Service { clusters, .. } => {
                clusters.iter().any(|cluster| cluster.health_checker.has_password())
            }
            _ => false,
        }
    }

    /// Whether both say the same. The health of an instance counts only `by_hand`, if nothing
    /// checks it: else the target finds out by itself.
    pub(crate) fn is_same(&self, other: &Self, by_hand: bool) -> bool {
        let (mut one, mut other) = (self.clone(), other.clone());
        for item in [&mut one, &mut other] {
            if let Self::Instance { weight, healthy, app, .. } = item {
                *healthy |= !by_hand;
                *weight = rounded(*weight);
                app.get_or_insert_with(String::new);
            }
            if let Self::OperatorValues { weight, .. } = item {
                *weight = weight.map(rounded);
            }
        }
        one == other
    }
}

/// JSON may give back a number of 17 digits as its neighbour.
fn rounded(weight: f64) -> f64 {
    const DIGITS: f64 = 1e9;
    (weight * DIGITS).round() / DIGITS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(checker: Value) -> Item {
        let cluster = json!({"name": "c", "healthChecker": checker, "checkPort": 81,
            "useInstancePort": false});
        let item = json!({"kind": "service", "namespace": "public", "service": "g@@s",
            "protectThreshold": 0.3, "explicit": true, "clusters": [cluster]});
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn passwords_show_in_no_debug_form() {
        let mysql = service(json!({"type": "MYSQL", "user": "u", "pwd": "hush", "cmd": "select"}));
        let user = Item::User { name: "u".into(), password_hash: Secret("hush".into()) };
        assert!(!format!("{mysql:?}{user:?}").contains("hush"));
        assert!(mysql.has_plain_secret() && !user.has_plain_secret());
        assert!(!service(json!({"type": "TCP"})).has_plain_secret());
    }

    #[test]
    fn fields_that_are_not_known_are_refused() {
        let read = |more: &str| {
            let text = format!(r#"{{"kind":"role","role":"r","user":"u"{more}}}"#);
            serde_json::from_str::<Item>(&text)
        };
        assert_eq!(read("").unwrap(), Item::Role { role: "r".into(), user: "u".into() });
        assert!(read(r#","since":1"#).unwrap_err().to_string().contains("since"));
        assert!(serde_json::from_str::<Item>(r#"{"kind":"dream"}"#).is_err());
    }

    #[test]
    fn health_counts_only_where_nothing_checks_it() {
        let instance = |healthy, weight| Item::Instance {
            namespace: "public".into(),
            service: "g@@s".into(),
            cluster: "c".into(),
            ip: "10.0.0.1".into(),
            port: 80,
            weight,
            enabled: true,
            healthy,
            app: None,
            metadata: None,
        };
        let (well, ill) = (instance(true, 1.0), instance(false, 1.0));
        assert!(well.is_same(&ill, false) && !well.is_same(&ill, true));
        assert!(!well.is_same(&instance(true, 1.1), false));
        assert_eq!(well.place(), ill.place());
        assert_eq!(well.place().to_string(), "instance public g@@s c 10.0.0.1:80");
    }
}
