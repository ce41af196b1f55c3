//! `/v1/ns/service`: services and their settings.

use std::collections::BTreeMap;

use naming_model::{DEFAULT_GROUP, GROUP_SEPARATOR};
use serde_json::{Value, json};

use super::Api;
use super::paging::{PAGE_SIZE, too_long};
use crate::http::{Answer, ApiError, Call, MOST_ANSWER_BYTES, Params, Reply, not_a_number};
use crate::naming::ServiceNames;
use crate::registry::{
    ClusterSettings, GroupFilter, Metadata, MetadataFilter, NamePattern, Page, Selector,
    ServiceSettings, clusters, settings,
};

impl Api {
    pub(super) fn create_service(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        service.check_characters()?;
        let threshold = match call.params.optional("protectThreshold") {
            None => 0.0,
            Some(text) => given_threshold(call.params)?.ok_or_else(|| no_threshold(&text))?,
        };
        let settings = self.service_settings(call.params, threshold)?;
        Ok(self.naming.create_service(&call.caller(), &service, settings).into_ok())
    }

    /// Replaces everything but the settings of the clusters; what is left out is cleared.
    pub(super) fn update_service(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        call.params.required("protectThreshold")?;
        // What cannot be read counts as 0, as in Nacos.
        let threshold = given_threshold(call.params)?.unwrap_or(0.0);
        let settings = self.service_settings(call.params, threshold)?;
        Ok(self.naming.update_service(&call.caller(), &service, settings).into_ok())
    }

    pub(super) fn delete_service(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        Ok(self.naming.delete_service(&call.caller(), &service).into_ok())
    }

    pub(super) fn service_detail(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let datum = self.naming.existing(&service)?;
        let detail = datum.read(|reader| {
            let settings = settings(&reader);
            let cluster = |(name, cluster): (&str, &ClusterSettings)| {
                json!({
                    "name": name,
                    "healthChecker": cluster.checker.to_json(),
                    "metadata": cluster.metadata.to_map(),
                })
            };
            let default = ClusterSettings::default();
            let clusters = clusters(&reader, &settings, &default).into_iter().map(cluster);
            json!({
                "name": service.service(),
                "namespaceId": service.namespace(),
                "protectThreshold": threshold_json(settings.protect_threshold),
                "metadata": settings.metadata.to_map(),
                "selector": settings.selector.to_json(),
                "groupName": service.group(),
                "clusters": clusters.collect::<Vec<_>>(),
            })
        });
        Ok(Reply::json(detail.to_string()))
    }

    /// Names of one group or, for the group `*`, of all.
    pub(super) fn list_services(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let params = call.params;
        let number = lenient_whole_number(&params.required("pageNo")?);
        let page = Page::new(number, lenient_whole_number(&params.required("pageSize")?));
        let namespace = call.namespace();
        let group = params.or("groupName", DEFAULT_GROUP);
        let group = if group == "*" { GroupFilter::All } else { GroupFilter::One(&group) };
        let filter = match params.optional("selector") {
            Some(text) => MetadataFilter::parse(&text)?,
            None => None,
        };
        let filter = filter.as_ref();
        let names = ServiceNames { namespace: &namespace, group, filter, page };
        let names = self.naming.list_services(&call.caller(), &names, MOST_ANSWER_BYTES)?;
        self.answers.json(names.ok_or_else(|| too_long(PAGE_SIZE))?)
    }

    /// Names without their groups, of one namespace or all.
    pub(super) fn service_names(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let expression = call.params.or("expr", "");
        let pattern = NamePattern::new(&expression);
        let namespaces = match call.params.optional("namespaceId") {
            Some(namespace) => vec![namespace.into_owned()],
            None => self.registry.index.namespaces(),
        };
        let _look = self.naming.look_at_all()?;
        let (mut services, mut bytes) = (BTreeMap::new(), 0);
        for namespace in namespaces {
            let mut names = Vec::new();
            let is_known = self.registry.index.visit(&namespace, |group, rest, _| {
                if pattern.is_in(&[group, rest].concat()) {
                    let name = rest.split(GROUP_SEPARATOR).next().unwrap_or_default();
                    // With quotes and comma.
                    bytes += name.len() + 3;
                    names.push(name.to_owned());
                }
                bytes <= MOST_ANSWER_BYTES
            });
            if bytes > MOST_ANSWER_BYTES {
                return Err(too_long("namespaceId"));
            }
            if is_known {
                names.sort_unstable();
                names.dedup();
                services.insert(namespace, names);
            }
        }
        let count = services.len();
        self.answers.json(json!({ "services": services, "count": count }).to_string())
    }

    pub(super) fn service_checksum(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let checksum = self.registry.service_checksum(&service).ok_or_else(|| {
            ApiError::not_found(format!("serviceName not found: {}", service.grouped()))
        })?;
        Ok(Reply::json(json!({ "checksum": *checksum }).to_string()))
    }

    pub(super) fn selector_types(&self) -> Reply {
        super::console::said(&json!(["label", "none"]))
    }

    /// The metadata parameter within the limit.
    pub(in crate::http) fn limited_metadata(
        &self,
        params: &Params<'_>,
    ) -> Result<Metadata, ApiError> {
        let map = self.registry.parse_metadata_map(&params.or("metadata", ""))?;
        Ok(Metadata::new(&map, self.registry.settings.max_metadata_bytes)?)
    }

    fn service_settings(
        &self,
        params: &Params<'_>,
        protect_threshold: f32,
    ) -> Result<ServiceSettings, ApiError> {
        Ok(ServiceSettings {
            protect_threshold,
            metadata: self.limited_metadata(params)?,
            selector: Selector::parse(&params.or("selector", ""))?,
            clusters: BTreeMap::new(),
            explicit: true,
            kind: None,
        })
    }
}

/// The threshold as JSON with as few digits as it takes.
pub(in crate::http) fn threshold_json(threshold: f32) -> Value {
    // Through its text: 0.3 as a longer float would be 0.30000001192092896.
    json!(threshold.to_string().parse::<f64>().unwrap_or_default())
}

/// The threshold of a request; `None` if it is no number.
///
/// # Errors
/// 400 if it is one that is no share. Nacos takes any number; above 1 it would show all instances
/// as healthy always, and `NaN` would break the JSON.
fn given_threshold(params: &Params<'_>) -> Result<Option<f32>, ApiError> {
    let Ok(threshold) = params.double("protectThreshold", 0.0) else { return Ok(None) };
    if !(0.0..=1.0).contains(&threshold) {
        let reason = format!("{threshold} is not within 0 to 1");
        return Err(ApiError::illegal("protectThreshold", reason));
    }
    // A negative zero would show.
    Ok(Some(threshold.abs() as f32))
}

fn no_threshold(text: &str) -> ApiError {
    let reason = not_a_number(text).message;
    ApiError::illegal("protectThreshold", format_args!("it is no number. {reason}"))
}

/// A whole number, 0 if it is none. One that is too large is cut: a page size of ten thousand
/// millions means "all".
fn lenient_whole_number(text: &str) -> i64 {
    text.parse::<i128>().map_or(0, |number| {
        i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_keep_their_digits() {
        let text = |threshold| threshold_json(threshold).to_string();
        assert_eq!([0.0, 0.3, 0.7, 1.0, 0.125].map(text), ["0.0", "0.3", "0.7", "1.0", "0.125"]);
        assert_eq!(text(1e-7), "1e-7");
    }

    #[test]
    fn page_numbers_are_read_leniently() {
        let cases = [("3", 3), ("+3", 3), ("-3", -3), ("x", 0), ("", 0), ("1.5", 0), ("٣", 0)];
        for (text, number) in cases {
            assert_eq!(lenient_whole_number(text), number, "{text}");
        }
        assert_eq!(lenient_whole_number("99999999999999999999"), i64::MAX);
        assert_eq!(lenient_whole_number("-99999999999999999999"), i64::MIN);
    }
}
