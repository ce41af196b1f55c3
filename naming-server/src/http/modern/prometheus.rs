//! Service discovery for Prometheus: `/prometheus`, `/prometheus/namespaceId/{id}` and
//! `/prometheus/namespaceId/{id}/service/{name}`, in the form of its HTTP discovery.

use std::collections::BTreeMap;

use naming_model::ServiceKey;
use serde_json::json;

use super::error::{Code, Fault};
use crate::http::v1::Api;
use crate::http::{Answer, Call, MOST_ANSWER_BYTES, Wanted};
use crate::registry::{Host, NamingDatum, hosts};

/// What of the metadata may say how Prometheus asks: other names that begin so are its own, and a
/// client must not send it elsewhere.
const STEERING: [&str; 4] =
    ["__metrics_path__", "__scheme__", "__scrape_interval__", "__scrape_timeout__"];
/// Parameters of the request that Prometheus makes may be said, too.
const PARAMETER: &str = "__param_";

/// The instances of all namespaces.
pub(super) fn all(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    let _look = api.naming().look_at_all()?;
    let mut targets = Targets::new();
    for (service, datum) in api.registry.services() {
        targets.push(&service, &datum)?;
    }
    targets.answer(api)
}

/// The instances of a namespace, or of the services of one name in all its groups.
pub(super) fn some(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let wanted = Wanted::of(call.path).ok_or_else(|| Fault::not_found("no such path"))?;
    let _look = api.naming().look_at_all()?;
    let mut found = Vec::new();
    api.registry.index.visit(&wanted.namespace, |_, name, datum| {
        if wanted.service.as_deref().is_none_or(|service| service == name) {
            found.push(datum.clone());
        }
        true
    });
    let mut targets = Targets::new();
    for datum in found {
        if let Some(service) = ServiceKey::from_tag(datum.tag()) {
            targets.push(&service, &datum)?;
        }
    }
    targets.answer(api)
}

/// Targets as a JSON array.
struct Targets(String);

impl Targets {
    fn new() -> Self {
        Self("[".to_owned())
    }

    fn push(&mut self, service: &ServiceKey, datum: &NamingDatum) -> Result<(), Fault> {
        let Self(out) = self;
        datum.read(|reader| {
            for host in hosts(&reader) {
                if out.len() > MOST_ANSWER_BYTES {
                    break;
                }
                if out.len() > 1 {
                    out.push(',');
                }
                let target =
                    json!({ "targets": [address(&host)], "labels": labels(&host, service) });
                out.push_str(&target.to_string());
            }
        });
        if out.len() > MOST_ANSWER_BYTES {
            let reason = format!(
                "the targets take more than the {MOST_ANSWER_BYTES} bytes of one answer; ask for \
                 /prometheus/namespaceId/{{id}}/service/{{name}}"
            );
            return Err(Fault::bad(Code::ParameterInvalid, reason));
        }
        Ok(())
    }

    fn answer(self, api: &Api) -> Result<Answer, Fault> {
        let Self(mut json) = self;
        json.push(']');
        Ok(api.answers.json(json)?.into())
    }
}

fn address(host: &Host<'_>) -> String {
    let (ip, port) = (host.key.ip, host.key.port);
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The labels of a target. Of two keys that make the same name the first counts, and none takes the
/// place of what this server says.
fn labels(host: &Host<'_>, service: &ServiceKey) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in host.instance.metadata.to_map() {
        if let Some(name) = label_name(&key) {
            labels.entry(name).or_insert(value);
        }
    }
    let own = [
        ("__meta_clusterName", host.key.cluster.to_owned()),
        ("__meta_nacos_namespace", service.namespace().to_owned()),
        ("__meta_nacos_group", service.group().to_owned()),
        ("__meta_nacos_service", service.service().to_owned()),
        ("__meta_nacos_cluster", host.key.cluster.to_owned()),
        ("__meta_nacos_healthy", host.healthy.to_string()),
        ("__meta_nacos_enabled", host.instance.enabled.to_string()),
    ];
    labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    labels
}

/// A key of the metadata as the name of a label: letters, digits and `_`, not a digit first. `None`
/// for what Prometheus keeps for itself.
fn label_name(key: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = key.chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    let is_steering = STEERING.contains(&&*name) || name.starts_with(PARAMETER);
    let is_own = name.starts_with("__") && !is_steering;
    Some(name).filter(|name| !name.is_empty() && !is_own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_labels_are_valid_whatever_the_key() {
        let cases = [
            ("app.name", Some("app_name")),
            ("a-b", Some("a_b")),
            ("weird/key é", Some("weird_key__")),
            ("1st", Some("_1st")),
            ("__metrics_path__", Some("__metrics_path__")),
            ("__param_module", Some("__param_module")),
            ("__address__", None),
            ("__meta_nacos_service", None),
            ("", None),
        ];
        for (key, name) in cases {
            assert_eq!(label_name(key).as_deref(), name, "{key}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_key_the_name_is_one_or_none(key in "(?s).{0,12}") {
            if let Some(name) = label_name(&key) {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                prop_assert!(name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit());
                let is_allowed = STEERING.contains(&&*name) || name.starts_with(PARAMETER);
                prop_assert!(!name.starts_with("__") || is_allowed);
            }
        }
    }
}
