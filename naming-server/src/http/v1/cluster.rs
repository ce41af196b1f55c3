//! `/v1/ns/cluster`: settings of the clusters of a service.

use naming_model::check_cluster_name;

use super::Api;
use crate::checks::{check_request, is_made};
use crate::http::{Answer, ApiError, Call, Params};
use crate::registry::{ClusterSettings, HealthChecker, RegistryError};
use crate::text::cut;

impl Api {
    pub(super) fn update_cluster(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let params = call.params;
        params.required("clusterName")?;
        let service = call.service()?;
        // Nacos complains of this first, and it spares the rest.
        if self.registry.find(&service).is_none() {
            let text = format!("service not found:{}", service.grouped());
            return Err(RegistryError::Missing(text).into());
        }
        let (name, cluster) = cluster_form(self, call)?;
        Ok(self.naming.set_cluster(&call.caller(), &service, name, cluster).into_ok())
    }
}

/// The name and settings of a cluster as a request gives them.
pub(in crate::http) fn cluster_form(
    api: &Api,
    call: &Call<'_>,
) -> Result<(String, ClusterSettings), ApiError> {
    let params = call.params;
    let name = params.required("clusterName")?;
    let cluster = ClusterSettings {
        check_port: check_port(params)?,
        use_instance_port: {
            params.required("useInstancePort4Check")?;
            params.flag_lenient("useInstancePort4Check", false)
        },
        checker: checker(params)?,
        metadata: api.limited_metadata(params)?,
    };
    check_cluster_name(&name)?;
    Ok((name.into_owned(), cluster))
}

/// A health checker that this server can carry out.
fn checker(params: &Params<'_>) -> Result<HealthChecker, ApiError> {
    let checker = HealthChecker::parse(&params.required("healthChecker")?)?;
    if !is_made(&checker) {
        let reason = format_args!("this server makes no checks of type {checker:?}");
        return Err(ApiError::illegal("healthChecker", reason));
    }
    match &checker {
        HealthChecker::Http { path, headers, .. } => check_request(path, headers)
            .map_err(|error| ApiError::illegal("healthChecker", format_args!("{error}")))?,
        HealthChecker::Mysql { cmd, .. } if cmd.is_empty() => {
            return Err(ApiError::illegal("healthChecker", "it has no cmd"));
        }
        HealthChecker::Tcp | HealthChecker::Mysql { .. } | HealthChecker::None => {}
    }
    Ok(checker)
}

fn check_port(params: &Params<'_>) -> Result<i32, ApiError> {
    let text = params.required("checkPort")?;
    text.parse::<u16>().map(i32::from).map_err(|_| {
        let text = cut(&text, 64);
        ApiError::illegal("checkPort", format_args!("\"{text}\" is not within 0 to 65535"))
    })
}
