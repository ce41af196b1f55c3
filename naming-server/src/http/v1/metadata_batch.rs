//! `/v1/ns/instance/metadata/batch`: the metadata of several instances at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use naming_model::{DEFAULT_CLUSTER, InstanceKey, RecordKey, ServiceKey};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Api;
use crate::http::{Answer, ApiError, Call, ListError, Params, Reply, read_list};
use crate::naming::NamingError;
use crate::registry::{Host, Metadata, MetadataChange, Write, hosts};

/// Instances that one request may be about.
pub(in crate::http) const MOST_TARGETS: usize = 10_000;
/// Bytes of the given metadata, counted once for each instance that gets it.
const MOST_BYTES: usize = 64 << 20;

/// An instance by its names and kind.
#[derive(Debug)]
pub(in crate::http) struct Target {
    pub(in crate::http) ip: String,
    pub(in crate::http) port: u16,
    pub(in crate::http) cluster: String,
    pub(in crate::http) is_persistent: bool,
}

/// A change to the metadata of several instances of a service.
pub(in crate::http) struct Batch {
    pub(in crate::http) service: ServiceKey,
    pub(in crate::http) given: BTreeMap<String, String>,
    /// Whether the keys are set, or else removed.
    pub(in crate::http) merge: bool,
    /// Whether it outlasts the next registrations whatever the settings say.
    pub(in crate::http) is_kept: bool,
}

impl Target {
    pub(in crate::http) fn key(&self) -> RecordKey<'_> {
        let instance = InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster };
        RecordKey { instance, is_persistent: self.is_persistent }
    }
}

impl Api {
    /// Merges keys into the metadata of several instances, or removes them. What does not exist
    /// is passed over; the answer lists what was changed.
    pub(super) fn change_metadata_batch(
        &self,
        call: &Call<'_>,
        merge: bool,
    ) -> Result<Answer, ApiError> {
        let service = call.service()?;
        let given = self.registry.parse_metadata_map(&call.params.required("metadata")?)?;
        let targets = self.batch_targets(call.params, &service)?;
        let batch = Batch { service, given, merge, is_kept: false };
        let changed = self.write_metadata(call, batch, targets)?;
        Ok(changed.map(|changed| Reply::from(changed.map(|changed| updated(&changed)))).into())
    }

    /// Changes the metadata of these instances. The record keys of those that were there
    /// come back.
    pub(in crate::http) fn write_metadata(
        &self,
        call: &Call<'_>,
        Batch { service, given, merge, is_kept }: Batch,
        (parameter, targets): (&'static str, Vec<Target>),
    ) -> Result<Write<Result<Vec<String>, NamingError>>, ApiError> {
        let limit = self.registry.settings.max_metadata_bytes;
        // What does not fit beside nothing does not fit beside anything.
        let bytes = Metadata::new(&given, limit)?.as_json().len();
        check_bytes(parameter, targets.len(), bytes)?;
        if merge {
            // All or nothing; each write asks again, as others write meanwhile.
            self.registry.check_growth(targets.len().saturating_mul(bytes))?;
        }
        let given = Arc::new(given);
        let change = match merge {
            true => MetadataChange::Merge(given),
            false => MetadataChange::Remove(given),
        };
        let targets = targets.iter().map(|target| target.key().text()).collect();
        Ok(self.naming.change_metadata(&call.caller(), &service, targets, change, is_kept))
    }

    /// Whom a request is about, and the parameter that says so.
    fn batch_targets(
        &self,
        params: &Params<'_>,
        service: &ServiceKey,
    ) -> Result<(&'static str, Vec<Target>), ApiError> {
        const KIND: &str = "consistencyType";
        match params.optional(KIND).as_deref() {
            Some("ephemeral") => Ok((KIND, self.targets_of_kind(service, false)?)),
            Some("persist") => Ok((KIND, self.targets_of_kind(service, true)?)),
            Some(_) => Ok((KIND, Vec::new())),
            None => Ok((INSTANCES, listed_targets(&params.or(INSTANCES, ""))?)),
        }
    }

    pub(in crate::http) fn targets_of_kind(
        &self,
        service: &ServiceKey,
        is_persistent: bool,
    ) -> Result<Vec<Target>, ApiError> {
        let Some(datum) = self.registry.find(service) else { return Ok(Vec::new()) };
        let target = |host: Host<'_>| Target {
            ip: host.key.ip.to_owned(),
            port: host.key.port,
            cluster: host.key.cluster.to_owned(),
            is_persistent,
        };
        let is_meant = |host: &Host<'_>| host.instance.is_persistent == is_persistent;
        datum.read(|reader| {
            let meant = || hosts(&reader).filter(is_meant);
            if meant().nth(MOST_TARGETS).is_some() {
                let reason = format_args!(
                    "it means {} instances, the limit of one request is {MOST_TARGETS}",
                    meant().count()
                );
                return Err(ApiError::illegal("consistencyType", reason));
            }
            Ok(meant().map(target).collect())
        })
    }
}

pub(in crate::http) const INSTANCES: &str = "instances";

fn check_bytes(parameter: &str, targets: usize, bytes: usize) -> Result<(), ApiError> {
    let all = targets.saturating_mul(bytes);
    if all <= MOST_BYTES {
        return Ok(());
    }
    let reason = format_args!(
        "{targets} instances with {bytes} bytes of metadata each are {all} bytes, the limit of \
         one request is {MOST_BYTES}"
    );
    Err(ApiError::illegal(parameter, reason))
}

/// The answer with the record keys of those that were changed.
fn updated(changed: &[String]) -> Reply {
    Reply::json(json!({ "updated": names_of(changed) }).to_string())
}

/// The names by which answers call instances with these record keys.
pub(in crate::http) fn names_of(changed: &[String]) -> Vec<String> {
    let named = |key: RecordKey<'_>| {
        let kind = if key.is_persistent { "persist" } else { "ephemeral" };
        format!("{}:{kind}", key.instance.datum_key())
    };
    let keys = changed.iter().filter_map(|id| RecordKey::parse(id));
    keys.map(named).collect()
}

/// The instances of the `instances` parameter; none if it is no list.
///
/// # Errors
/// 400 for a list that is too long.
pub(in crate::http) fn listed_targets(text: &str) -> Result<Vec<Target>, ApiError> {
    match read_list::<&RawValue>(text.as_bytes(), MOST_TARGETS) {
        Ok(items) => Ok(items.iter().filter_map(|item| listed_target(item.get())).collect()),
        Err(error @ ListError::TooLong(_)) => Err(ApiError::illegal(INSTANCES, error)),
        Err(ListError::Unreadable(_)) => Ok(Vec::new()),
    }
}

/// An item of the list, if it names an instance.
pub(in crate::http) fn listed_target(item: &str) -> Option<Target> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        #[serde(borrow)]
        ip: Cow<'a, str>,
        #[serde(borrow)]
        port: &'a RawValue,
        #[serde(default, borrow)]
        cluster_name: Option<&'a RawValue>,
        #[serde(default, borrow)]
        ephemeral: Option<&'a RawValue>,
    }
    // serde would read a list as the fields in order.
    let item: Item<'_> = item.starts_with('{').then(|| serde_json::from_str(item).ok())??;
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let is_ephemeral = match item.ephemeral.map(RawValue::get) {
        Some("false") => false,
        Some(other) if other.starts_with('"') => {
            text(item.ephemeral?).is_some_and(|text| text.eq_ignore_ascii_case("true"))
        }
        _ => true,
    };
    let port = match text(item.port) {
        Some(text) => text.parse().ok()?,
        None => item.port.get().parse().ok()?,
    };
    let cluster = item.cluster_name.and_then(text).filter(|name| !name.trim().is_empty());
    let cluster = cluster.unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
    let ip = Some(item.ip.into_owned()).filter(|ip| RecordKey::is_address(ip))?;
    Some(Target { ip, port, cluster, is_persistent: !is_ephemeral })
}
