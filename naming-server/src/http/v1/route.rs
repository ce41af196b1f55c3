//! The route table.

use crate::http::Call;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    InstanceList,
    InstanceBeat,
    InstanceRegister,
    InstanceDeregister,
    InstanceUpdate,
    InstancePatch,
    InstanceDetail,
    InstanceStatuses,
    MetadataBatchUpdate,
    MetadataBatchDelete,
    LegacyList,
    LegacyBeat,
    LegacyNames,
}

/// The route of a request, if there is one. Methods that Nacos does not offer on a path are no
/// route either.
pub(super) fn find_route(call: &Call<'_>) -> Option<Route> {
    let method = call.method.as_str();
    if let Some(path) = call.path.strip_prefix("/v1/ns/") {
        return instance_route(method, path).or_else(|| naming_route(method, path));
    }
    None
}

/// The instance API, which also answers below its old name `api`.
fn instance_route(method: &str, path: &str) -> Option<Route> {
    let rest = path.strip_prefix("instance").or_else(|| path.strip_prefix("api"))?;
    Some(match (method, rest) {
        ("GET", "/list") => Route::InstanceList,
        ("PUT", "/beat") => Route::InstanceBeat,
        ("POST", "") => Route::InstanceRegister,
        ("DELETE", "") => Route::InstanceDeregister,
        ("PUT", "") => Route::InstanceUpdate,
        ("PATCH", "") => Route::InstancePatch,
        ("GET", "") => Route::InstanceDetail,
        ("GET", "/statuses") => Route::InstanceStatuses,
        ("PUT", "/metadata/batch") => Route::MetadataBatchUpdate,
        ("DELETE", "/metadata/batch") => Route::MetadataBatchDelete,
        _ => return None,
    })
}

fn naming_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET", "api/srvIPXT") => Route::LegacyList,
        ("GET", "api/clientBeat") => Route::LegacyBeat,
        ("GET", "api/allDomNames") => Route::LegacyNames,
        _ => return None,
    })
}
