//! Settings that count while the server runs, and how two sets of settings differ.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Config, Hidden};

/// Keys, or sections, whose changes count at once. Files that settings name (certificates, keys,
/// secrets, lists of members) are read again by themselves.
pub(crate) const LIVE: &[&str] = &[
    "auth.previous_token_key_file",
    "auth.token_key",
    "auth.token_key_file",
    "cluster.members",
    "dns.max_connections",
    "dns.max_connections_per_source",
    "dns.max_questions_per_second_per_source",
    "dns.max_records",
    "dns.max_udp_bytes",
    "dns.idle_timeout_ms",
    "dns.trusted_networks",
    "dns.ttl_s",
    "dns.user",
    "grpc.max_connections",
    "grpc.max_connections_per_source",
    "grpc.max_setups_per_second_per_source",
    "health.check_networks",
    "http.max_connections",
    "http.max_connections_per_source",
    "limits.beats_per_second_per_source",
    "limits.exempt_networks",
    "limits.reads_per_second_per_source",
    "limits.writes_per_second_per_source",
    "log.level",
    "push.client_networks",
    "registry.max_instance_bytes",
    "registry.max_instances",
];

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) key: String,
    /// As it was and as it is, as TOML; what must not be shown is not.
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Difference {
    /// Whether it counts while the server runs.
    pub(crate) fn is_live(&self) -> bool {
        LIVE.contains(&&*self.key)
    }
}

impl Config {
    /// What differs in `other`, in the order of the keys.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let (before, after) = (self.texts(), other.texts());
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let secrets = self.secrets().into_iter().zip(other.secrets());
        let changed_secrets: Vec<_> = secrets
            .filter(|((_, before), (_, after))| before != after)
            .map(|((key, _), _)| key)
            .collect();
        let text = |of: &BTreeMap<String, String>, key: &str| {
            of.get(key).map_or_else(|| "not set".to_owned(), Clone::clone)
        };
        keys.into_iter()
            .map(|key| Difference {
                before: text(&before, key),
                after: text(&after, key),
                key: key.clone(),
            })
            .filter(|it| it.before != it.after || changed_secrets.contains(&&*it.key))
            .collect()
    }

    /// All settings by key. Secrets are hidden.
    fn texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        // Every setting has a TOML form.
        if let Ok(table) = Table::try_from(self) {
            flatten("", &table, &mut texts);
        }
        texts
    }

    /// What is hidden among them.
    fn secrets(&self) -> [(&'static str, &Hidden); 5] {
        [
            ("auth.token_key", &self.auth.token_key),
            ("auth.identity_value", &self.auth.identity_value),
            ("cluster.secret", &self.cluster.secret),
            ("cluster.nacos.identity_value", &self.cluster.nacos.identity_value),
            ("cluster.java2.identity_value", &self.cluster.java2.identity_value),
        ]
    }
}

fn flatten(prefix: &str, table: &Table, texts: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(table) => flatten(&key, table, texts),
            value => {
                texts.insert(key, value.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_and_secrets_are_not_shown() {
        let before = Config::default();
        let mut after = before.clone();
        after.http.max_connections = 7;
        after.grpc.port = Some(9);
        after.auth.token_key = Hidden("s3cret".to_owned());
        after.cluster.tls.certificate = "a.pem".to_owned();
        let differences = before.differences(&after);
        let shown: Vec<_> = differences
            .iter()
            .map(|it| (&*it.key, &*it.before, &*it.after, it.is_live()))
            .collect();
        assert_eq!(
            shown,
            [
                ("auth.token_key", "\"\"", "\"(hidden)\"", true),
                ("cluster.tls.certificate", "\"\"", "\"a.pem\"", false),
                ("grpc.port", "not set", "9", false),
                ("http.max_connections", "16384", "7", true),
            ]
        );
        let mut again = after.clone();
        again.auth.token_key = Hidden("an0ther".to_owned());
        let differences = after.differences(&again);
        assert_eq!(differences.len(), 1);
        assert!(!format!("{differences:?}").contains("an0ther"));
        assert_eq!(again.differences(&again), []);
    }

    #[test]
    fn every_live_setting_exists() {
        let texts = Config::default().texts();
        for key in LIVE {
            assert!(texts.contains_key(*key), "{key}");
        }
        assert!(LIVE.is_sorted_by_key(|key| key.split_once('.').map(|(section, _)| section)));
    }

    #[test]
    fn the_documentation_lists_what_is_live() {
        let text = include_str!("../../../docs/configuration.md");
        let (_, section) =
            text.split_once("## Settings that change while the server runs").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let mut live = LIVE.to_vec();
        named.sort_unstable();
        live.sort_unstable();
        assert_eq!(named, live);
    }
}
